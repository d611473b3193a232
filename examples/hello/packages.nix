# A tiny distribution: two static programs, and everything else made with them.
#
# Each derivation refers to the narrow paths that it needs, never to the whole folder, so that an
# edit of an unrelated file changes no store path.
{ system }:
let
  # Static bash and busybox. They are not in git: `scripts/fetch-hello-tools.sh` puts them here.
  folder = ./bin + "/${system}";
  tools =
    if builtins.pathExists (folder + "/bash") && builtins.pathExists (folder + "/busybox")
    then builtins.path { path = folder; name = "hello-tools"; }
    else throw "`bin/${system}/bash` or `bin/${system}/busybox` is missing: run `scripts/fetch-hello-tools.sh`";

  # Builds here take milliseconds: asking a cache, or another machine, would be the slow part.
  local = { inherit system; allowSubstitutes = false; preferLocalBuild = true; };

  package = name: attrs: script: derivation (local // attrs // {
    inherit name;
    builder = "${tools}/bash";
    args = [ "-euc" script ];
    PATH = if attrs ? PATH then attrs.PATH else "${base}/bin";
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

  # Data, without any program.
  greeting = package "greeting" { source = builtins.path { path = ./greeting.txt; name = "greeting.txt"; }; } ''
    mkdir -p "$out/share"
    cp "$source" "$out/share/greeting.txt"
  '';

  hello = package "hello" { source = builtins.path { path = ./hello.sh; name = "hello.sh"; }; } ''
    mkdir -p "$out/bin"
    {
      echo "#!${base}/bin/bash"
      echo "greeting=${greeting}/share/greeting.txt"
      cat "$source"
    } >"$out/bin/hello"
    chmod +x "$out/bin/hello"
  '';

  # `hello` and a companion, as one package.
  hello-all = package "hello-all" { } ''
    mkdir -p "$out/bin"
    ln -s ${hello}/bin/hello "$out/bin/hello"
    printf '#!%s\nexec %s | %s\n' ${base}/bin/sh ${hello}/bin/hello "${base}/bin/tr a-z A-Z" >"$out/bin/hello-loud"
    chmod +x "$out/bin/hello-loud"
  '';

  # The part of nixpkgs' stdenv that Nix asks for: a `setup` that lays out the environment.
  stdenv = package "stdenv" { source = builtins.path { path = ./setup.sh; name = "setup.sh"; }; } ''
    mkdir -p "$out"
    cp "$source" "$out/setup"
  '';

  # Never built itself: Nix runs this derivation's environment through its own script, and keeps that.
  shell = derivation (local // {
    name = "hello-shell";
    inherit stdenv;
    builder = "${tools}/bash"; # must be called `bash`
    args = [ "-c" "echo 'this is a dev shell: enter it with nix develop' >&2; exit 1" ];
    outputs = [ "out" ]; # as a variable, which Nix's script reads
    buildInputs = [ hello-all base ];
    HELLO_LANGUAGE = "en";
    shellHook = ''
      export HELLO_SHELL=entered
    '';
  });
in
{
  inherit base greeting hello hello-all shell;
}
