{ system }:
let
  kit = import ./kit.nix { inherit system; };
  inherit (kit) base file package;
in
rec {
  # Data, without any program.
  greeting = package "greeting" { source = file "greeting.txt" ./greeting.txt; } ''
    mkdir -p "$out/share"
    cp "$source" "$out/share/greeting.txt"
  '';

  # A program that needs it.
  hello = package "hello" { source = file "hello.sh" ./hello.sh; } ''
    mkdir -p "$out/bin"
    {
      echo "#!${base}/bin/bash"
      echo "greeting=${greeting}/share/greeting.txt"
      cat "$source"
    } >"$out/bin/hello"
    chmod +x "$out/bin/hello"
  '';

  # Both of them, and a companion.
  hello-all = package "hello-all" { } ''
    mkdir -p "$out/bin"
    ln -s ${hello}/bin/hello "$out/bin/hello"
    printf '#!%s\n%s | %s a-z A-Z\n' ${base}/bin/bash ${hello}/bin/hello ${base}/bin/tr >"$out/bin/hello-loud"
    chmod +x "$out/bin/hello-loud"
  '';

  shell = kit.shell "hello-shell" {
    buildInputs = [ hello-all base ];
    HELLO_LANGUAGE = "en";
    shellHook = ''
      export HELLO_SHELL=entered
    '';
  };
}
