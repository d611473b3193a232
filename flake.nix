{
  description = "Rent a GPU box that feels like your own laptop";

  # How the pin in `flake.lock` was checked: tests/fixtures/nixpkgs/README.md.
  inputs.nixpkgs.url = "github:NixOS/nixpkgs/nixos-26.05";

  # Only routes: what is behind each name is in `nix/`.
  outputs = { self, nixpkgs }:
    let
      systems = [ "x86_64-linux" "aarch64-linux" "x86_64-darwin" "aarch64-darwin" ];
      forEach = f: nixpkgs.lib.genAttrs systems (system: f nixpkgs.legacyPackages.${system} self.packages.${system});
    in
    {
      packages = forEach (pkgs: own: {
        devbox = pkgs.callPackage ./nix/package.nix { };
        default = own.devbox;
      });

      apps = forEach (pkgs: own: rec {
        devbox = {
          type = "app";
          program = "${own.devbox}/bin/devbox";
          meta = { inherit (own.devbox.meta) description; };
        };
        default = devbox;
      });

      devShells = forEach (pkgs: own: { default = pkgs.callPackage ./nix/dev-shell.nix { inherit (own) devbox; }; });

      checks = forEach (pkgs: own: import ./nix/checks.nix { inherit pkgs; inherit (own) devbox; });

      overlays.default = final: prev: { devbox = final.callPackage ./nix/package.nix { }; };

      templates = import ./nix/templates // { default = self.templates.minimal; };
    };
}
