#!/usr/bin/env bash
# What the user waits for, on a real box on this machine: whole processes, seconds, median of RUNS.
#
# Usage: benches/up.sh [RUNS]     (default: 5; `make bench` builds devbox first)
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
if ((EUID != 0)); then
    exec "$root/scripts/as-root.sh" "$root/benches/up.sh" "$@"
fi
runs=${1:-5}
sandbox=$root/target/bench
# shellcheck source=../scripts/sandbox.sh
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

tidy
printf '%-44s %8s %8s %8s\n' "seconds, $runs runs" median least most
measure "devbox --help" devbox --help

timed devbox up --yes
report "devbox up, new volume (1 run)" "$took"
measure "devbox up, the box is current" devbox up --yes
measure "devbox status" devbox status
# What a user would type instead: the floor of one command over a connection of its own.
measure "devbox run -- true" devbox run -- true
measure "ssh hello true (a new connection)" ssh -F "$HOME/.ssh/devbox/hello.conf" hello true

# relaunch: `up` from nothing, and a first command in the dev shell. Sets `up_took`, and `shell_took`
# from the first banner of the box's sshd to the end of that command, in microseconds.
relaunch() {
    local events=$sandbox/events from banner address='' line
    from=${EPOCHREALTIME/[.,]/}
    devbox --json up --yes >"$events" 2>/dev/null </dev/null &
    local up=$!
    until [[ -n $address ]]; do
        address=$(sed -nE 's/.*waiting for ssh at ([0-9.]+).*/\1/p' "$events" | head -n 1)
        sleep 0.01
    done
    until { exec 3<>"/dev/tcp/$address/22"; } 2>/dev/null; do sleep 0.01; done
    read -r -t 10 line <&3
    exec 3<&-
    [[ $line == SSH-2.0-* ]] || fail "no ssh banner from $address: $line"
    banner=${EPOCHREALTIME/[.,]/}
    wait "$up" || fail "the relaunch failed: $(tail -n 1 "$events")"
    up_took=$((${EPOCHREALTIME/[.,]/} - from))
    devbox run -- true </dev/null
    shell_took=$((${EPOCHREALTIME/[.,]/} - banner))
}

ups=() downs=() shells=()
for ((run = 0; run < runs; run++)); do
    timed devbox down --yes
    downs+=("$took")
    relaunch
    ups+=("$up_took")
    shells+=("$shell_took")
done
report "devbox down" "${downs[@]}"
report "devbox up, relaunch" "${ups[@]}"
report "  from the ssh banner to a command" "${shells[@]}"

tidy
rm -rf --one-file-system "$sandbox"
