#!/usr/bin/env bash
# The same project from laptops with other versions of Nix: up, run, verify, down with Debian's Nix of each suite. The
# fingerprint must be the same every time, and the first one's `devbox.lock` is what all others are held against.
# `make test-nix` builds devbox first.
#
# Usage: scripts/test-nix-versions.sh [SUITE...]     (default: bookworm, trixie, sid, which have 2.8, 2.26, 2.34)
#
# Each Nix lives in a root filesystem of its own, made once by mmdebstrap and kept in the cache, and
# has a store of its own; devbox itself runs here, in a mount namespace where /nix is that store.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
if ((EUID != 0)); then
    exec "$root/scripts/as-root.sh" "$root/scripts/test-nix-versions.sh" "$@"
fi
(($#)) || set -- bookworm trixie sid

# Inside the namespace: the story with one Nix, given by its root filesystem. Prints version and fingerprint.
if [[ $1 == --inside ]]; then
    nix_root=$2
    sandbox=$root/target/test-nix
    mount --bind "$nix_root/nix" /nix
    for folder in /proc /dev /tmp; do
        mount --rbind "$folder" "$nix_root$folder"
    done
    mkdir -p "$nix_root$root" "$sandbox/bin"
    mount --bind "$root" "$nix_root$root"
    for tool in nix nix-store; do
        # shellcheck disable=SC2016 # for the script that is written
        printf '#!/bin/sh\nexec chroot %q env -C "$PWD" %s "$@"\n' "$nix_root" "$tool" >"$sandbox/bin/$tool"
        chmod +x "$sandbox/bin/$tool"
    done
    # The folder is emptied by tidy, so the tools are put aside.
    export PATH=$nix_root/tools:$PATH
    mkdir -p "$nix_root/tools"
    mv "$sandbox"/bin/* "$nix_root/tools/"
    # shellcheck source=sandbox.sh
    . "$root/scripts/sandbox.sh"
    tidy
    lock=$3
    {
        nix --version
        locked=()
        if [[ -e $lock ]]; then
            cp "$lock" "$sandbox/hello/devbox.lock"
            devbox lock --check
            locked=(--locked)
        fi
        devbox up --yes "${locked[@]}"
        devbox run -- hello </dev/null
        devbox verify --deep
        # Nobody but `lock --update` changes it, and that has nothing to change.
        devbox lock --update
        [[ -e $lock ]] || cp "$sandbox/hello/devbox.lock" "$lock"
        cmp "$lock" "$sandbox/hello/devbox.lock"
    } >&2
    echo "$(nix --version): $(fingerprint)"
    devbox down --yes >&2
    tidy
    exit 0
fi

cache=${XDG_CACHE_HOME:-$HOME/.cache}/devbox/test-nix
mkdir -p "$cache" /nix
passed=0 failed=0 fingerprints=()
locks=$(mktemp -d)
trap 'rm -rf "$locks"' EXIT
for suite in "$@"; do
    made=$cache/$suite
    if [[ ! -e $made/etc/nix/nix.conf ]]; then
        rm -rf --one-file-system "$made"
        # sid's release file is not always as fresh as apt would like.
        mmdebstrap --mode=root --variant=essential --include=nix-bin,openssh-client,ca-certificates \
            --aptopt='Acquire::Check-Valid-Until "false"' "$suite" "$made"
        mkdir -p "$made/nix" "$made/etc/nix"
        # Root builds as itself there: the root filesystem is a box of its own already.
        printf 'build-users-group =\nsandbox = false\n' >"$made/etc/nix/nix.conf"
    fi
    if told=$(unshare --mount --propagation private "$0" --inside "$made" "$locks/devbox.lock"); then
        echo "$suite: $told"
        fingerprints+=("${told##* }")
        passed=$((passed + 1))
    else
        echo "$suite: failed" >&2
        failed=$((failed + 1))
    fi
done
if (($(printf '%s\n' "${fingerprints[@]}" | sort -u | wc -l) > 1)); then
    echo "the fingerprints differ" >&2
    failed=$((failed + 1))
fi
echo "$passed passed, $failed failed"
((failed == 0))
