# A dev shell with CUDA, PyTorch and FlashAttention, for GH200 (aarch64-linux) and H100 (x86_64-linux).
#
# All of it is paths in /nix/store, down to CUDA's own libraries. Only the driver is the box's: it belongs to its
# kernel. `flake.lock` says which nixpkgs it is made of; `nix flake update` takes a newer one.
{
  description = "CUDA, PyTorch and FlashAttention for GH200 and H100";

  inputs.nixpkgs.url = "github:NixOS/nixpkgs/nixos-26.05";

  outputs =
    { self, nixpkgs }:
    let
      inherit (nixpkgs) lib;

      # What is in the shell: more goes into these lists. https://search.nixos.org/packages has the names.
      # PyTorch is `torch`, compiled from source. Never `torch-bin`, a wheel of PyPI's: for arm64 it is without CUDA.
      pythonPackages = ps: [
        ps.numpy
        ps.torch
      ];
      gpuPackages = ps: [
        ps.flash-attn
      ];
      programs = pkgs: [
        pkgs.git
      ];

      # What the GPU code is compiled for: the one choice to make.
      #
      # [ ]        nixpkgs' default: every generation of GPUs that its CUDA supports. That is what public caches build,
      #            so PyTorch can come from one (`[caches]` in devbox.toml). A cache has what it built of the very
      #            revision in flake.lock, and cache.nixos-cuda.org has nothing for aarch64-linux.
      # [ "9.0" ]  Hopper alone, which GH200 and H100 are. No cache has that: PyTorch and what it needs of GPU code are
      #            compiled once, which takes hours on a few cores and long enough on many. They are smaller then, and
      #            the volume keeps them. The better choice too where the caches have nothing, since each generation
      #            is compiled by itself. `devbox up --dry-run` says what would be compiled.
      cudaCapabilities = [ ];

      # nixpkgs with CUDA. Not `legacyPackages`: that has nixpkgs' default settings, without CUDA.
      withCuda =
        system:
        let
          pkgs = import nixpkgs {
            inherit system;
            overlays = [ overlay ];
            config = {
              # What can use CUDA is built with it.
              cudaSupport = true;
              # CUDA is not free software, which Nix refuses unless told otherwise. This is nixpkgs' own list of
              # NVIDIA's licences for CUDA, cuDNN and so on. Other software that is not free stays refused.
              allowUnfreePredicate = pkgs._cuda.lib.allowUnfreeCudaPredicate;
              inherit cudaCapabilities;
            };
          };
        in
        pkgs;

      # What is changed in nixpkgs. No cache has FlashAttention with these changes: it is compiled once.
      overlay = final: prev: {
        pythonPackagesExtensions = prev.pythonPackagesExtensions ++ [
          (pyFinal: pyPrev: {
            flash-attn = pyPrev.flash-attn.overridePythonAttrs (old: {
              env = (old.env or { }) // {
                # FlashAttention's setup.py minds neither `cudaCapabilities` nor the TORCH_CUDA_ARCH_LIST that nixpkgs
                # makes of it. Left alone it compiles everything four times, for four generations.
                FLASH_ATTN_CUDA_ARCHS = "90";
                # Left alone it also tries to download a wheel first. In Nix's sandbox that fails; without a sandbox it
                # would not, and you would have something else than you asked for. nixpkgs sets FORCE_BUILD, which
                # setup.py does not know.
                FLASH_ATTENTION_FORCE_BUILD = "TRUE";
              };
              # Behind what nixpkgs does there, which sets both and would win over `env`: it starts a job for each core.
              # A job takes up to 9 GB, so that those of the 64 cores of a GH200 would take more than its memory.
              preConfigure = (old.preConfigure or "") + ''
                export NVCC_THREADS=2
                MAX_JOBS=$(awk '/^MemAvailable:/ { print int($2 / 9000000) }' /proc/meminfo)
                if ((MAX_JOBS > NIX_BUILD_CORES)); then MAX_JOBS=$NIX_BUILD_CORES; fi
                if ((MAX_JOBS < 1)); then MAX_JOBS=1; fi
                export MAX_JOBS
                echo "flash-attn: $MAX_JOBS jobs at a time"
              '';
            });
          })
        ];
      };

      shell =
        pkgs: python: more:
        # The kernel of a GH200 has pages of 64 KiB. jemalloc has their size compiled in: one that was made for 4 KiB ends
        # with "Unsupported system page size" there. nixpkgs makes it for 64 KiB on arm64, and should that change, it
        # is said here and not found out on the box.
        assert lib.assertMsg (
          !pkgs.stdenv.hostPlatform.isAarch64 || lib.elem "--with-lg-page=16" pkgs.jemalloc.configureFlags
        ) "jemalloc is not made for pages of 64 KiB: it needs `--with-lg-page=16` among its `configureFlags`";
        pkgs.mkShell {
          packages = [ python ] ++ programs pkgs ++ more;
          # The same for the jemalloc that some Rust programs bring along, where they are compiled in this shell.
          JEMALLOC_SYS_WITH_LG_PAGE = "16";
        };

      # For the box.
      cudaShell =
        system:
        let
          pkgs = withCuda system;
          python = pkgs.python3.withPackages (ps: pythonPackages ps ++ gpuPackages ps);
        in
        shell pkgs python [
          # Imports both, prints versions, computes something with FlashAttention; `checks` in devbox.toml runs it.
          (pkgs.writeShellScriptBin "check-cuda" ''
            exec ${python}/bin/python3 ${./check_cuda.py} "$@"
          '')
        ];

      # Without a GPU, to work on the code: PyTorch for the processor, which cache.nixos.org has.
      cpuShell =
        system:
        let
          pkgs = nixpkgs.legacyPackages.${system};
        in
        shell pkgs (pkgs.python3.withPackages pythonPackages) [ ];
    in
    {
      overlays.default = overlay;

      devShells =
        # `default` is what `devbox up` brings to the box; `nix develop .#cpu` is for where you sit.
        lib.genAttrs [ "aarch64-linux" "x86_64-linux" ] (system: {
          default = cudaShell system;
          cpu = cpuShell system;
        })
        // {
          aarch64-darwin = rec {
            cpu = cpuShell "aarch64-darwin";
            default = cpu;
          };
        };
    };
}
