{ lib, rustPlatform, makeWrapper, installShellFiles, stdenv, nix, openssh }:
let
  manifest = (lib.importTOML ../Cargo.toml).package;
in
rustPlatform.buildRustPackage {
  pname = manifest.name;
  inherit (manifest) version;

  # What the build reads, so that an edit of anything else rebuilds nothing.
  src = lib.fileset.toSource {
    root = ../.;
    fileset = lib.fileset.unions [ ../Cargo.toml ../Cargo.lock ../src ./templates ];
  };
  cargoLock.lockFile = ../Cargo.lock;

  nativeBuildInputs = [ makeWrapper installShellFiles ];

  # The tests start boxes, which a build sandbox does not let them: `make test` runs them.
  doCheck = false;

  # The user's own Nix and ssh come first; these are for who has none on PATH.
  postInstall = ''
    wrapProgram "$out/bin/devbox" --suffix PATH : ${lib.makeBinPath [ nix openssh ]}
  '' + lib.optionalString (stdenv.buildPlatform.canExecute stdenv.hostPlatform) ''
    installShellCompletion --cmd devbox \
      --bash <("$out/bin/devbox" completions bash) \
      --fish <("$out/bin/devbox" completions fish) \
      --zsh <("$out/bin/devbox" completions zsh)
  '';

  meta = {
    inherit (manifest) description;
    license = lib.licenses.mit;
    mainProgram = "devbox";
    platforms = lib.platforms.linux ++ lib.platforms.darwin;
  };
}
