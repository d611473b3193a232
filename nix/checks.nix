# `nix flake check`: what needs neither root nor a box.
{ pkgs, devbox }:
{
  inherit devbox;

  clippy = devbox.overrideAttrs (old: {
    pname = "devbox-clippy";
    nativeBuildInputs = old.nativeBuildInputs ++ [ pkgs.clippy ];
    buildPhase = "cargo clippy --locked --offline -- -D warnings";
    installPhase = "touch $out";
  });

  scripts = pkgs.runCommand "devbox-scripts" { nativeBuildInputs = [ pkgs.shellcheck ]; } ''
    cp -R ${../.} source && cd source
    find src scripts tests examples -name '*.sh' -exec shellcheck {} +
    touch "$out"
  '';
}
