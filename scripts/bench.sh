#!/usr/bin/env bash
# What the user waits for, on a real box on this machine: whole processes, seconds, median of RUNS.
#
# Usage: scripts/bench.sh [RUNS]     (default: 5; `make bench` builds devbox first)
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
if ((EUID != 0)); then
    exec "$root/scripts/as-root.sh" "$root/scripts/bench.sh" "$@"
fi
runs=${1:-5}
sandbox=$root/target/bench
# shellcheck source=sandbox.sh
. "$root/scripts/sandbox.sh"

# timed CMD...: runs it, its output only shown when it fails; sets `took`, in microseconds.
timed() {
    local from=${EPOCHREALTIME/[.,]/} log=$sandbox/log
    if ! "$@" >"$log" 2>&1 </dev/null; then
        cat "$log" >&2
        fail "\`$*\` failed"
    fi
    took=$((${EPOCHREALTIME/[.,]/} - from))
}

# report WHAT MICROSECONDS...: one line with median, least, most.
report() {
    local what=$1 sorted
    shift
    mapfile -t sorted < <(printf '%s\n' "$@" | sort -n)
    printf '%-44s' "$what"
    for took in "${sorted[$#/2]}" "${sorted[0]}" "${sorted[$#-1]}"; do
        printf ' %4d.%03d' $((took / 1000000)) $((took / 1000 % 1000))
    done
    printf '\n'
}

# measure WHAT CMD...: RUNS times the same.
measure() {
    local what=$1 all=()
    shift
    for ((run = 0; run < runs; run++)); do
        timed "$@"
        all+=("$took")
    done
    report "$what" "${all[@]}"
}

"$root/scripts/fetch-hello-tools.sh"
tidy
printf '%-44s %8s %8s %8s\n' "seconds, $runs runs" median least most
measure "devbox --help" devbox --help

timed devbox up --yes
report "devbox up, new volume (1 run)" "$took"
measure "devbox up, the box is current" devbox up --yes
measure "devbox status" devbox status
measure "devbox run -- true" devbox run -- true

ups=() downs=()
for ((run = 0; run < runs; run++)); do
    timed devbox down --yes
    downs+=("$took")
    timed devbox up --yes
    ups+=("$took")
done
report "devbox down" "${downs[@]}"
report "devbox up, relaunch" "${ups[@]}"

tidy
rm -rf --one-file-system "$sandbox"
