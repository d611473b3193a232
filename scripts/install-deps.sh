#!/usr/bin/env bash
# Installs what the demo and the tests need, where it is missing. Quick when nothing is.
#
# Debian and Ubuntu: with apt-get. Elsewhere: says what is missing, and fails.
set -euo pipefail
PATH=$PATH:/usr/sbin:/sbin

packages=() missing=()

# need PACKAGE WHAT TEST...: unless TEST succeeds, WHAT is missing, and PACKAGE has it.
need() {
    local package=$1 what=$2
    shift 2
    if ! "$@"; then
        packages+=("$package")
        missing+=("$what")
    fi
}
has() { command -v "$1" >/dev/null; }
exists() { [[ -e $1 ]]; }
# Debian's `busybox` without `-static` needs libraries, which a store path does not have.
static_busybox() { has busybox && ! ldd "$(command -v busybox)" >/dev/null 2>&1; }
# Root builds as other users: `nix-setup-systemd` makes them, as does Nix's own installer.
builders() { getent group nixbld >/dev/null; }

case $(uname -s) in
    Linux) ;;
    *)
        echo "deps: local boxes need Linux, and this is $(uname -s)" >&2
        exit 1
        ;;
esac

need systemd-container systemd-nspawn has systemd-nspawn
need mmdebstrap mmdebstrap has mmdebstrap
need debian-archive-keyring "Debian's archive keys" exists /usr/share/keyrings/debian-archive-keyring.gpg
need iproute2 ip has ip
need e2fsprogs mke2fs has mke2fs
need openssh-client ssh has ssh
need mount losetup has losetup
need util-linux flock has flock
need zstd zstd has zstd
need nix-bin nix has nix
need nix-setup-systemd "the group nixbld" builders
need bash-static bash-static has bash-static
need busybox-static "a static busybox" static_busybox
need patchelf patchelf has patchelf
need shellcheck shellcheck has shellcheck
need git git has git
need python3 python3 has python3
need binutils strip has strip
need gcc "a C linker (cc)" has cc
need libc6-dev "the C library's start files" exists /usr/include/stdlib.h
need ca-certificates "CA certificates" exists /etc/ssl/certs/ca-certificates.crt

if ((${#packages[@]} > 0)); then
    if has apt-get && has dpkg; then
        echo "deps: installing ${packages[*]}"
        install=(env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "${packages[@]}")
        as_root=$(dirname "${BASH_SOURCE[0]}")/as-root.sh
        # The package lists may be absent or old: refreshed when they don't do.
        if ! "$as_root" "${install[@]}" -qq; then
            "$as_root" apt-get update
            "$as_root" "${install[@]}"
        fi
    else
        {
            echo "deps: this machine has no apt-get; please install:"
            printf '  %s\n' "${missing[@]}"
            echo "or, with Nix: nix run .#devbox -- up"
        } >&2
        exit 1
    fi
fi

if ! has cargo; then
    {
        echo "deps: cargo is missing. Rust 1.88 or newer is needed:"
        echo "  see https://rustup.rs"
    } >&2
    exit 1
fi
