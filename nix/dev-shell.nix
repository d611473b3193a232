# To work on devbox itself.
{
  lib,
  mkShell,
  stdenv,
  devbox,
  cargo,
  cargo-deny,
  cargo-insta,
  clippy,
  e2fsprogs,
  git,
  iproute2,
  mmdebstrap,
  python3,
  rust-analyzer,
  rustfmt,
  shellcheck,
  util-linux,
}:
mkShell {
  inputsFrom = [ devbox ];
  packages = [ cargo cargo-deny cargo-insta clippy git python3 rust-analyzer rustfmt shellcheck ]
    # What local boxes need, next to the host's systemd-nspawn.
    ++ lib.optionals stdenv.hostPlatform.isLinux [ e2fsprogs iproute2 mmdebstrap util-linux ];
}
