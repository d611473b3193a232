# A stand-in for nixpkgs: two static programs, and just enough to make packages and dev shells with them.
#
# Each derivation refers to the narrow paths that it needs, never to the whole folder, so that an
# edit of an unrelated file changes no store path.
{ system }:
let
  # Static bash and busybox. They are not in git: `scripts/fetch-hello-tools.sh` puts them here.
  folder = ./bin + "/${system}";
  tools =
    if builtins.pathExists (folder + "/bash") && builtins.pathExists (folder + "/busybox")
    then file "hello-tools" folder
    else throw "`bin/${system}/bash` or `bin/${system}/busybox` is missing: run `scripts/fetch-hello-tools.sh`";

  # Builds here take milliseconds: asking a cache, or another machine, would be the slow part.
  local = { inherit system; allowSubstitutes = false; preferLocalBuild = true; };

  # One file or folder as a store path of its own.
  file = name: path: builtins.path { inherit name path; };
in
rec {
  inherit file;

  # A package: `attrs` are its variables, `script` fills `$out`.
  package = name: attrs: script: derivation ({ PATH = "${base}/bin"; } // local // attrs // {
    inherit name;
    builder = "${tools}/bash";
    args = [ "-euo" "pipefail" "-c" script ];
  });

  # A dev shell. It is never built itself: Nix runs its environment through a script of its own, and keeps that.
  shell = name: attrs: derivation (local // attrs // {
    inherit name stdenv;
    builder = "${tools}/bash"; # must be called `bash`
    args = [ "-c" "echo 'this is a dev shell: enter it with `nix develop`' >&2; exit 1" ];
    outputs = [ "out" ]; # as a variable, which Nix's script reads
  });

  # bash, and the everyday commands as links to busybox.
  base = package "hello-base" { PATH = "${tools}"; } ''
    busybox mkdir -p "$out/bin"
    busybox ln -s ${tools}/bash ${tools}/busybox "$out/bin"
    for applet in sh basename cat chmod cp cut date dirname env find grep head id ln ls mkdir \
      mktemp mv printf readlink rm sed sha256sum sort tail tee tr uname wc; do
      busybox ln -s ${tools}/busybox "$out/bin/$applet"
    done
  '';

  # The part of nixpkgs' stdenv that Nix asks for: a `setup` that lays out the environment.
  stdenv = package "stdenv" { source = file "setup.sh" ./setup.sh; } ''
    mkdir -p "$out"
    cp "$source" "$out/setup"
  '';
}
