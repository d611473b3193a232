#!/usr/bin/env bash
# The tests on QEMU guests: kernels of their own on a real NFS server, whose power goes. Opt-in: the processor is
# emulated, so it takes about half an hour. The guests' Debian is made once, by mmdebstrap, and kept in `target`.
#
# Usage: scripts/test-vm.sh [PART OF A TEST'S NAME...]
# DEVBOX_VM_SEED  repeats the random moments of another run, which says its own
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# What cargo runs the tests by.
if [[ ${1-} == --room ]]; then
    shift
    if ((EUID != 0)); then
        exec scripts/as-root.sh scripts/test-vm.sh --room "$@"
    fi
    target=${CARGO_TARGET_DIR:-target}
    tests/sim/vm/make.sh "$(realpath "$target")/tmp/cache/devbox/vm" >/dev/null
    # Not `/tmp`, which may be memory; and short, for the sockets in it.
    TMPDIR=$(mktemp -d /var/tmp/devbox-vm.XXXXXX)
    export TMPDIR
    trap 'rm -rf --one-file-system "$TMPDIR"' EXIT
    # Processes, mounts and a network of their own: port 22 of every local address is free there, and whatever the tests
    # start ends with them, however they end.
    # The second address is for the resolver, which knows none where there is 127.0.0.1 alone.
    # shellcheck disable=SC2016 # for the shell inside
    unshare --pid --fork --kill-child --mount --propagation private --mount-proc --net sh -euc '
        ip link set lo up
        ip address add 127.0.0.2/32 dev lo
        code=0
        "$@" || code=$?
        exit "$code"' sh "$@"
    exit
fi

scripts/fetch-hello-tools.sh
host=$(rustc -vV | sed -n 's/^host: //p')
host=${host^^}
export "CARGO_TARGET_${host//[-.]/_}_RUNNER=scripts/test-vm.sh --room"
said=$(mktemp)
trap 'rm -f "$said"' EXIT
status=0
# Two at once: a guest that boots keeps one core busy, and half of the time it waits.
cargo test --locked --test vm -- --ignored --nocapture --test-threads=2 "$@" 2>&1 | tee "$said" || status=$?
passed=$(sed -nE 's/^test result: .* ([0-9]+) passed;.*/\1/p' "$said")
failed=$(sed -nE 's/^test result: .* ([0-9]+) failed;.*/\1/p' "$said")
# Tests that came to no result have not passed.
if [[ -z $failed ]] || ((status != 0 && failed == 0)); then
    failed=1
fi
if grep -q '^table: ' "$said"; then
    printf '| fault | tries | lost | what the user saw |\n|---|---|---|---|\n'
    sed -n 's/^table: //p' "$said"
fi
echo "it took $((SECONDS / 60)) min $((SECONDS % 60)) s"
echo "${passed:-0} passed, $failed failed"
((failed == 0))
