# `nix flake check`: what needs neither root nor a box.
{ pkgs, devbox }:
let
  inherit (pkgs) lib;

  scripts = lib.fileset.toSource {
    root = ../.;
    fileset = lib.fileset.unions [
      (lib.fileset.fileFilter (file: file.hasExt "sh") ../.)
      ../.ci/run
      ../.shellcheckrc
    ];
  };
in
{
  inherit devbox;

  clippy = devbox.overrideAttrs (old: {
    pname = "devbox-clippy";
    nativeBuildInputs = old.nativeBuildInputs ++ [ pkgs.clippy ];
    buildPhase = "cargo clippy --locked --offline -- -D warnings";
    installPhase = "touch $out";
  });

  scripts = pkgs.runCommand "devbox-scripts" { nativeBuildInputs = [ pkgs.shellcheck ]; } ''
    cd ${scripts}
    find . -name '*.sh' -exec shellcheck .ci/run {} +
    touch "$out"
  '';
}
