#!/usr/bin/env bash
# A box of another processor than this machine's: arm64 under qemu-user, its dev shell built on the box, locked, ended, and
# the next box identical. `make test-arm64` builds devbox first. Opt-in: the root filesystem takes minutes to make, once.
#
# Usage: scripts/test-arm64.sh     The last line is `N passed, N failed`.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
if ((EUID != 0)); then
    exec "$root/scripts/as-root.sh" "$root/scripts/test-arm64.sh"
fi
PATH=$PATH:/usr/sbin:/sbin
if [[ $(uname -m) != x86_64 ]]; then
    echo "test-arm64: this machine is $(uname -m); the test is for x86_64" >&2
    exit 1
fi

# What `devbox doctor` asks for.
if ! command -v qemu-aarch64-static arch-test >/dev/null; then
    command -v apt-get >/dev/null || { echo "test-arm64: install qemu-user-static and arch-test" >&2; exit 1; }
    DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends qemu-user-static arch-test
fi
binfmt=/proc/sys/fs/binfmt_misc
[[ -e $binfmt/register ]] || mount -t binfmt_misc binfmt_misc "$binfmt"
if ! grep -q '^flags:.*O.*C.*F' "$binfmt/qemu-aarch64"; then
    [[ ! -e $binfmt/qemu-aarch64 ]] || echo -1 >"$binfmt/qemu-aarch64"
    sed 's/[A-Z]*$/OCPF/' /usr/lib/binfmt.d/qemu-aarch64.conf >"$binfmt/register"
fi

sandbox=$root/target/test-arm64
# shellcheck source=sandbox.sh
. "$root/scripts/sandbox.sh"
export DEVBOX_LOCAL_ARCH=aarch64 DEVBOX_BOX_BOOT_TIMEOUT=20min
tidy
"$root/scripts/fetch-hello-tools.sh" "$sandbox/hello" aarch64
# Of this run alone, so that neither this machine nor the box has it already.
date +"Built at %s.%N." >"$sandbox/hello/greeting.txt"

passed=0 failed=0
# check WHAT CMD...: counts.
check() {
    local what=$1
    shift
    if "$@"; then
        echo "ok: $what"
        passed=$((passed + 1))
    else
        echo "FAILED: $what" >&2
        failed=$((failed + 1))
    fi
}
said() { grep -qF -- "$1" "$sandbox/said"; }
absent() { ! nix-store --check-validity "$1" 2>/dev/null; }
built_nothing() { ! grep -q 'build there.* built, ' "$sandbox/said"; }
equal() { [[ $1 == "$2" ]]; }
# told CMD...: what it says is shown, and kept for `said`.
told() { "$@" </dev/null 2>&1 | tee "$sandbox/said"; }

say "what would be done"
told devbox up --dry-run
check "this machine can't build it, and that is said" said "not for aarch64-linux"

say "up: an arm64 box, which builds the dev shell (made for the first time, its root filesystem takes minutes)"
SECONDS=0
told devbox up --yes
echo "up took $SECONDS s"
check "the box built it" said "build there"
check "the box is arm64" equal "$(devbox run -- uname -m </dev/null)" aarch64
check "the dev shell works" equal "$(devbox run -- hello </dev/null | head -n 1)" "$(cat "$sandbox/hello/greeting.txt")"
first=$(fingerprint)
check "the lock has it" grep -q "$first" "$sandbox/hello/devbox.lock"
check "the lock is for arm64" grep -q '^\[aarch64-linux\]' "$sandbox/hello/devbox.lock"
check "verify, every file read" devbox verify --deep
output=$(sed -nE 's/^output = "(.*)"/\1/p' "$sandbox/hello/devbox.lock")
check "nothing of it is on this machine" absent "$output"
devbox down --yes

say "up again: the next box has the same bytes, and nothing is built"
SECONDS=0
told devbox up --yes --locked --fetch
echo "up took $SECONDS s"
check "the fingerprint is the same" equal "$(fingerprint)" "$first"
check "nothing was built" built_nothing
check "verify, every file read" devbox verify --deep
check "--fetch brought it to this machine" nix-store --check-validity "$output"
devbox down --yes
check "nothing runs" equal "$(devbox status --json | grep -c '"name"')" 0
tidy

echo "$passed passed, $failed failed"
((failed == 0))
