#!/usr/bin/env bash
# Puts a static bash and busybox where the example's flake looks for them.
#
# Usage: scripts/fetch-hello-tools.sh [FLAKE_FOLDER] [MACHINE]
#        (default: examples/hello, and this machine as `uname -m` names it)
#
# The binaries come from Debian's and Ubuntu's packages `bash-static` and `busybox-static`: the installed ones for
# this machine, for another one those of Debian's mirrors, unpacked and never installed. A binary is replaced only
# when it differs, so that nothing is rebuilt for nothing.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
flake=${1:-$root/examples/hello}
machine=${2:-$(uname -m)}
suite=bookworm
mirror=${DEVBOX_DEBIAN_MIRROR:-http://deb.debian.org/debian}

fail() {
    echo "fetch-hello-tools: $*" >&2
    exit 1
}

[[ $(uname -s) == Linux ]] || fail "this system is $(uname -s); static Linux programs are made on Linux only"
[[ -f $flake/flake.nix ]] || fail "\`$flake\` has no \`flake.nix\`"

folder=$flake/bin/$machine-linux
mkdir -p "$folder"

# put PATH NAME: copies a program, by rename, where it differs.
put() {
    local path=$1 name=$2
    if ! cmp -s "$path" "$folder/$name"; then
        install -m 0755 "$path" "$folder/.$name.new"
        mv "$folder/.$name.new" "$folder/$name"
    fi
}

# installed PROGRAM NAME PACKAGE: copies the static PROGRAM of this machine to NAME.
installed() {
    local program=$1 name=$2 package=$3 path
    path=$(command -v "$program") || fail "\`$program\` is missing: install the package \`$package\`"
    # ldd fails on a static program; a dynamic busybox would find no libraries in the store.
    if ldd "$path" >/dev/null 2>&1; then
        fail "\`$path\` is not static: install the package \`$package\`"
    fi
    put "$path" "$name"
}

# An apt of its own, as dpkg of this machine is to know no other architecture: a source, a state and a cache of it,
# in $work. APT_CONFIG is read first, before anything of this machine.
foreign_apt() {
    local architecture=$1 keyring=/usr/share/keyrings/debian-archive-keyring.gpg
    [[ -e $keyring ]] || fail "\`$keyring\` is missing: install the package \`debian-archive-keyring\`"
    mkdir -p "$work"/{state/lists/partial,cache/archives/partial,parts}
    : >"$work/status"
    echo "deb [signed-by=$keyring] $mirror $suite main" >"$work/sources.list"
    cat >"$work/apt.conf" <<APT
APT::Architecture "$architecture";
APT::Architectures { "$architecture"; };
Acquire::Languages "none";
Dir::State "$work/state/";
Dir::State::status "$work/status";
Dir::Cache "$work/cache/";
Dir::Etc::SourceList "$work/sources.list";
Dir::Etc::SourceParts "$work/parts/";
Dir::Etc::Preferences "/dev/null";
Dir::Etc::PreferencesParts "$work/parts/";
Dir::Etc::TrustedParts "$work/parts/";
APT
    export APT_CONFIG=$work/apt.conf
    if (($(id -u) == 0)); then
        # apt's own user can't look into a folder of root's.
        echo 'APT::Sandbox::User "root";' >>"$work/apt.conf"
    fi
}

# foreign ARCHITECTURE: fetches both programs of another machine.
foreign() {
    local architecture=$1 deb
    if [[ -x $folder/bash && -x $folder/busybox ]]; then
        return
    fi
    work=$(mktemp -d)
    trap 'rm -rf "$work"' EXIT
    foreign_apt "$architecture"
    apt-get update -qq || fail "can't reach \`$mirror\`"
    (cd "$work" && apt-get download -qq bash-static busybox-static) || fail "can't fetch the packages"
    for deb in "$work"/*.deb; do
        dpkg-deb --extract "$deb" "$work/unpacked"
    done
    put "$(find "$work/unpacked" -type f -path "*/bin/bash-static")" bash
    put "$(find "$work/unpacked" -type f -path "*/bin/busybox")" busybox
}

case $machine in
    "$(uname -m)")
        installed bash-static bash bash-static
        installed busybox busybox busybox-static
        ;;
    aarch64) foreign arm64 ;;
    x86_64) foreign amd64 ;;
    *) fail "\`$machine\` is neither aarch64 nor x86_64" ;;
esac
