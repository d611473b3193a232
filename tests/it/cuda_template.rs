//! The template `cuda-torch`: what it asks nixpkgs for, and its check, with modules that stand for torch and flash_attn.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::flake::{Checkout, HERE};
use crate::support::{Run, TestEnv, host, host_run, repository};

const FLAKE: &str = "nix/templates/cuda-torch/flake.nix";
/// A shell's packages by name, down through its Python.
const PACKAGES: &str = "shell: builtins.listToAttrs (map (p: { inherit (p) name; value = {
    env = p.env or { }; preConfigure = p.preConfigure or \"\"; drv = p.drvPath; };
  }) (shell.nativeBuildInputs ++ builtins.concatMap (p: p.propagatedBuildInputs or [ ]) shell.nativeBuildInputs))";

fn shell(checkout: &Checkout, system: &str, name: &str) -> Run {
    let flake = checkout.template("cuda-torch", &format!("devShells.{system}.{name}"));
    checkout.nix(&["eval", "--json"], &flake, &["--apply", PACKAGES])
}

/// What is called so in a shell.
#[track_caller]
fn package(packages: &Value, name: &str) -> Value {
    let all = packages.as_object().unwrap();
    let found = all.iter().find(|(key, _)| key.contains(name));
    found.unwrap_or_else(|| panic!("no `{name}` in {packages}")).1.clone()
}

#[test]
fn the_shells_are_what_they_say() {
    let checkout = Checkout::new();
    for system in ["aarch64-linux", "x86_64-linux"] {
        let cuda = shell(&checkout, system, "default").ok().json();
        let flash = package(&cuda, "-flash-attention-");
        assert_eq!(flash["env"]["FLASH_ATTN_CUDA_ARCHS"], "90");
        assert_eq!(flash["env"]["FLASH_ATTENTION_FORCE_BUILD"], "TRUE");
        // What nixpkgs sets beside it stays.
        assert_eq!(flash["env"]["FLASH_ATTENTION_SKIP_CUDA_BUILD"], "FALSE");
        let torch = package(&cuda, "-torch-");
        assert!(torch["preConfigure"].as_str().unwrap().contains("9.0;10.0"), "all generations: {torch}");
        package(&cuda, "check-cuda");

        let cpu = shell(&checkout, system, "cpu").ok().json();
        assert_eq!(package(&cpu, "-torch-")["preConfigure"], "");
        assert!(!cpu.to_string().contains("flash") && !cpu.to_string().contains("check-cuda"), "{cpu}");
    }
    let (mac, cpu) =
        (shell(&checkout, "aarch64-darwin", "default"), shell(&checkout, "aarch64-darwin", "cpu"));
    assert_eq!(mac.ok().json(), cpu.ok().json());
    checkout.nix(&["flake", "check", "--no-build"], &checkout.template("cuda-torch", ""), &[]).ok();
    checkout.nix(&["flake", "check", "--no-build"], &checkout.template("minimal", ""), &[]).ok();

    // The other choice: Hopper alone.
    let before = package(&shell(&checkout, HERE, "default").ok().json(), "-torch-");
    checkout.edit(FLAKE, "cudaCapabilities = [ ];", "cudaCapabilities = [ \"9.0\" ];");
    let after = package(&shell(&checkout, HERE, "default").ok().json(), "-torch-");
    assert!(after["preConfigure"].as_str().unwrap().contains("TORCH_CUDA_ARCH_LIST=\"9.0\""), "{after}");
    assert_ne!(before["drv"], after["drv"]);
}

/// The caps hold against what nixpkgs itself exports: its script is run, and ours behind it.
#[test]
fn flash_attention_is_compiled_by_as_many_jobs_as_have_memory() {
    let checkout = Checkout::new();
    let packages = shell(&checkout, HERE, "default").ok().json();
    let flash = package(&packages, "-flash-attention-");
    let script =
        format!("set -eu\n{}\necho $MAX_JOBS $NVCC_THREADS", flash["preConfigure"].as_str().unwrap());
    let last = |cores: &str| {
        let said = host("env", &[&format!("NIX_BUILD_CORES={cores}"), "bash", "-c", &script]);
        said.lines().last().unwrap().to_owned()
    };
    assert_eq!(last("1"), "1 2");
    let total = fs::read_to_string("/proc/meminfo").unwrap();
    let total: u64 = total.split_whitespace().nth(1).unwrap().parse().unwrap();
    let (jobs, threads) = (last("100000"), "2");
    let (jobs, got) = jobs.split_once(' ').unwrap();
    assert!((1..=(total / 9_000_000).max(1)).contains(&jobs.parse().unwrap()), "{jobs} jobs in {total} kB");
    assert_eq!(got, threads);
}

#[test]
fn what_would_go_wrong_on_the_box_goes_wrong_here() {
    let slips = [
        ("cudaSupport =", "cudaSuport =", "does not know `cudaSuport`"),
        ("ps.flash-attn\n", "ps.flash-attention\n", "attribute 'flash-attention' missing"),
        ("ps.torch\n", "ps.torch-bin\n", "attribute 'torch-bin' missing"),
        ("env = (old.env", "environment = (old.env", "does not know `environment`"),
        ("preConfigure = (old", "preconfigure = (old", "does not know `preconfigure`"),
        ("pkgs._cuda.lib.allow", "pkgs._cuda.allow", "attribute 'allowUnfreeCudaPredicate' missing"),
        ("packages = [ python ]", "package = [ python ]", "does not know `package`"),
        // NVIDIA's licences are allowed, and no other.
        (
            "allowUnfreePredicate = pkgs._cuda.lib.allowUnfreeCudaPredicate;",
            "",
            "unfree license (`CUDA EULA`)",
        ),
        ("pkgs.git\n", "pkgs.git pkgs.not-free\n", "unfree license (`unfree`)"),
    ];
    let checkout = Checkout::new();
    for (from, to, says) in slips {
        let right = fs::read_to_string(checkout.path(FLAKE)).unwrap();
        checkout.edit(FLAKE, from, to);
        let run = shell(&checkout, HERE, "default");
        assert!(run.code != 0 && run.stderr.contains(says), "{from}: {}", run.stderr);
        fs::write(checkout.path(FLAKE), right).unwrap();
    }
    // A jemalloc for pages of 4 KiB.
    let file = "../nixpkgs/pkgs/default.nix";
    checkout.edit(file, "\"--with-lg-page=16\"", "\"--with-lg-page=14\"");
    let run = shell(&checkout, "aarch64-linux", "default");
    assert!(run.code != 0 && run.stderr.contains("not made for pages of 64 KiB"), "{}", run.stderr);
    shell(&checkout, "x86_64-linux", "default").ok();
}

/// What a machine has, as the check sees it.
struct Machine {
    env: TestEnv,
}

impl Machine {
    /// All is well: a driver, a GPU, torch and flash_attn.
    fn new() -> Self {
        let machine = Self { env: TestEnv::empty() };
        machine.put(
            "driver/version",
            "NVRM version: NVIDIA UNIX Open Kernel Module for aarch64  580.1\nGCC 13\n",
        );
        machine.put("driver/lib/libcuda.so.1", "");
        copy_modules(&machine.env.path("modules"));
        machine
    }

    fn put(&self, name: &str, text: &str) {
        let file = self.env.path(name);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, text).unwrap();
    }

    /// Runs the template's own check. `changes` are of the modules' settings.
    fn check(&self, changes: &Value) -> Run {
        let script = repository().join("nix/templates/cuda-torch/check_cuda.py");
        // Only where the driver is said to be is another place.
        let text = fs::read_to_string(script).unwrap();
        let there = |name: &str| self.env.path(name).to_str().unwrap().to_owned();
        let moved = text
            .replace("/run/opengl-driver/lib", &there("driver/lib"))
            .replace("/proc/driver/nvidia/version", &there("driver/version"));
        assert_ne!(text, moved);
        self.put("check_cuda.py", &moved);
        let modules = format!("PYTHONPATH={}", there("modules"));
        let changes = format!("FAKE={changes}");
        host_run(
            "env",
            &[&modules, &changes, "PYTHONDONTWRITEBYTECODE=1", "python3", &there("check_cuda.py")],
        )
    }
}

fn copy_modules(to: &Path) {
    let from = repository().join("tests/fixtures/torch");
    host("cp", &["-R", from.to_str().unwrap(), to.to_str().unwrap()]);
}

#[test]
fn the_check_says_what_there_is() {
    let run = Machine::new().check(&json!({})).ok();
    assert_eq!(run.stderr, "");
    for line in [
        "torch        9.9, CUDA 12.9, from ",
        "driver       NVIDIA UNIX Open Kernel Module for aarch64  580.1",
        "GPU          Pretend GH200, sm_90; torch is made for sm_80 sm_90",
        "flash_attn   8.8",
        "attention    (2, 256, 8, 64), at most 1.0e-03 from the formula",
        "check-cuda: FlashAttention works",
    ] {
        assert!(run.stdout.contains(line), "`{line}` is not in:\n{}", run.stdout);
    }
}

#[test]
fn the_check_says_why_not() {
    let cases = [
        (json!({"torch": null}), "torch can't be imported", "is this the dev shell's Python?"),
        (json!({"cuda": null}), "this torch was built without CUDA", "not `torch-bin`"),
        (
            json!({"init": "CUDA driver version is insufficient"}),
            "the GPU can't be used: CUDA driver version is insufficient",
            "new enough for CUDA 12.9",
        ),
        (json!({"flash_attn": null}), "flash_attn can't be imported", "from one nixpkgs"),
        (
            json!({"forward": "no kernel image is available for execution on the device"}),
            "FlashAttention's forward pass failed: no kernel image",
            "FLASH_ATTN_CUDA_ARCHS` in flake.nix, here \"90\"",
        ),
        (json!({"difference": 0.5}), "5.0e-01 away from what the formula gives", "devbox verify --deep"),
        (json!({"difference": "nan"}), "nan away from what the formula gives", "devbox verify --deep"),
    ];
    let machine = Machine::new();
    for (changes, what, hint) in cases {
        let run = machine.check(&changes).code(1);
        let said = run.says(&["check-cuda: ", what, "hint: ", hint]);
        assert!(!said.stdout.contains("works") && !said.stderr.contains("Traceback"), "{changes}: {said:?}");
    }
    fs::remove_file(machine.env.path("driver/lib/libcuda.so.1")).unwrap();
    machine.check(&json!({})).code(1).says(&["the driver's libraries are not in", "devbox-driver"]);
    fs::remove_file(machine.env.path("driver/version")).unwrap();
    let none = machine.check(&json!({})).code(1).says(&["this machine has no NVIDIA driver"]);
    assert!(none.stdout.contains("driver       none"), "{}", none.stdout);
}
