#!/usr/bin/env bash
# Puts a static bash and busybox of this machine where the example's flake looks for them.
#
# Usage: scripts/fetch-hello-tools.sh [FLAKE_FOLDER]     (default: examples/hello)
#
# The binaries come from Debian's and Ubuntu's packages `bash-static` and `busybox-static`; a binary
# is replaced only when it differs, so that nothing is rebuilt for nothing.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
flake=${1:-$root/examples/hello}

fail() {
    echo "fetch-hello-tools: $*" >&2
    exit 1
}

[[ $(uname -s) == Linux ]] || fail "this system is $(uname -s); static Linux programs are made on Linux only"
[[ -f $flake/flake.nix ]] || fail "\`$flake\` has no \`flake.nix\`"

folder=$flake/bin/$(uname -m)-linux
mkdir -p "$folder"

# put PROGRAM NAME PACKAGE: copies the static PROGRAM to NAME, by rename.
put() {
    local program=$1 name=$2 package=$3 path
    path=$(command -v "$program") || fail "\`$program\` is missing: install the package \`$package\`"
    # ldd fails on a static program; a dynamic busybox would find no libraries in the store.
    if ldd "$path" >/dev/null 2>&1; then
        fail "\`$path\` is not static: install the package \`$package\`"
    fi
    if ! cmp -s "$path" "$folder/$name"; then
        install -m 0755 "$path" "$folder/.$name.new"
        mv "$folder/.$name.new" "$folder/$name"
    fi
}

put bash-static bash bash-static
put busybox busybox busybox-static
