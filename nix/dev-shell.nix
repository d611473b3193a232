# To work on devbox itself.
{ lib, mkShell, stdenv, devbox, cargo-deny, cargo-insta, clippy, rust-analyzer, rustfmt, shellcheck, e2fsprogs, iproute2, mmdebstrap, util-linux }:
mkShell {
  inputsFrom = [ devbox ];
  packages = [ cargo-deny cargo-insta clippy rust-analyzer rustfmt shellcheck ]
    # What local boxes need, next to the host's systemd-nspawn.
    ++ lib.optionals stdenv.hostPlatform.isLinux [ e2fsprogs iproute2 mmdebstrap util-linux ];
}
