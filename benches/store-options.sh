#!/usr/bin/env bash
# What the store image costs by loop and mount options: the image on the filesystem of FOLDER, interleaved, RUNS rounds.
# Needs root, and about 3 GB in FOLDER. One line of JSON for each case on stdout, a table on stderr.
#
# Usage: benches/store-options.sh [FOLDER] [RUNS]     (default: target/bench-store, 5)
#
#   small   unpack 3000 files of 1 to 40 KB in 300 folders, then sync: a closure of many paths
#   large   write one file of 512 MiB, then sync: a torch
#   drop    delete both, then sync: what discard costs
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
if ((EUID != 0)); then
    exec "$root/scripts/as-root.sh" "$root/benches/store-options.sh" "$@"
fi
folder=${1:-$root/target/bench-store} runs=${2:-5}
mkdir -p "$folder"
work=$(mktemp -d "$folder/run.XXXXXX")
image=$work/image at=$work/at loop=
end() {
    mountpoint -q "$at" && umount "$at"
    [[ -z $loop ]] || losetup --detach "$loop"
    rm -rf --one-file-system "$work"
}
trap end EXIT
mkdir "$at" "$work/small"
for ((n = 0; n < 300; n++)); do
    mkdir "$work/small/$n"
    for ((m = 0; m < 10; m++)); do
        head -c $((1000 + RANDOM * 39000 / 32768)) /dev/urandom >"$work/small/$n/$m"
    done
done
tar --create --file="$work/small.tar" --directory="$work" small
head -c 512M /dev/urandom >"$work/large"

# name | direct I/O | mount options
cases=(
    "as-it-is|on|noatime,discard,errors=remount-ro,data_err=abort"
    "errors-unseen|on|noatime,discard"
    "no-direct-io|off|noatime,discard"
    "no-discard|on|noatime"
    "nodelalloc|on|noatime,discard,nodelalloc"
    "commit-30|on|noatime,discard,commit=30"
    "data-journal|on|noatime,discard,data=journal"
)
declare -A times
# timed WHAT CMD...: adds microseconds to `times[WHAT]`.
timed() {
    local what=$1 from=${EPOCHREALTIME/[.,]/}
    shift
    "$@"
    times[$what]+=" $((${EPOCHREALTIME/[.,]/} - from))"
}
small() { tar --extract --file="$work/small.tar" --directory="$at" && sync -f "$at"; }
large() { cp "$work/large" "$at/large" && sync -f "$at"; }
drop() { rm -rf "$at/small" "$at/large" && sync -f "$at"; }

for ((run = 0; run < runs; run++)); do
    for case in "${cases[@]}"; do
        IFS='|' read -r name direct options <<<"$case"
        rm -f "$image"
        truncate --size 20G "$image"
        mkfs.ext4 -q -F -m 0 -E lazy_itable_init=1,lazy_journal_init=1,nodiscard "$image"
        loop=$(losetup --find --show --direct-io="$direct" "$image")
        mount -t ext4 -o "$options" "$loop" "$at"
        # The sources come from the page cache, in every case.
        cat "$work/small.tar" "$work/large" >/dev/null
        timed "$name small" small
        timed "$name large" large
        timed "$name drop" drop
        umount "$at"
        losetup --detach "$loop"
        loop=
    done
done

median() {
    local sorted
    mapfile -t sorted < <(printf '%s\n' "$@" | sort -n)
    echo "${sorted[$#/2]}"
}
printf '%-14s %9s %9s %9s   (seconds, median of %d; in brackets: to as-it-is)\n' case small large drop "$runs" >&2
for case in "${cases[@]}"; do
    name=${case%%|*}
    printf '%-14s' "$name" >&2
    json="{\"bench\":\"store-options\",\"case\":\"$name\""
    for what in small large drop; do
        # shellcheck disable=SC2086 # numbers between blanks
        took=$(median ${times[$name $what]}) base=$(median ${times[as-it-is $what]})
        printf ' %d.%03d (%d.%02d)' $((took / 1000000)) $((took / 1000 % 1000)) $((took / base)) $((took * 100 / base % 100)) >&2
        json+=",\"${what}_s\":$((took / 1000000)).$(printf %06d $((took % 1000000)))"
    done
    printf '\n' >&2
    echo "$json}"
done
