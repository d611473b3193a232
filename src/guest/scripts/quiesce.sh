#!/bin/bash
# quiesce.sh [--force]: ends work on the box, unmounts home and store, syncs, gives the lease
# back. Refuses, having touched nothing, while somebody uses them, unless told. Run as root.
# Prints one JSON document: {"result":"ended","had":true} (`had`: whether home or store were mounted)
# or {"result":"busy","by":[…]} or {"result":"failed",…}.
STEP=quiesce
. "${0%/*}/lib.sh"
trap - ERR
force=${1-}
home=$(getent passwd "$DEVBOX_USER" | cut -d: -f6)
cd /

# Process ids that hold a file of the home or the store: working folder, program, open file, or mapping.
holders() {
  {
    find /proc/[0-9]*/cwd /proc/[0-9]*/exe /proc/[0-9]*/root /proc/[0-9]*/fd -maxdepth 1 \
      \( -lname "$home" -o -lname "$home/*" -o -lname '/nix' -o -lname '/nix/*' \) -printf '%p\n' 2>/dev/null
    grep --files-with-matches --no-messages --fixed-strings ' /nix/' /proc/[0-9]*/maps
  } | cut -d/ -f3 | sort --unique --numeric-sort | while read -r pid; do
    # The daemon is ours to end.
    if ! grep --quiet --no-messages devbox-nix-daemon.service "/proc/$pid/cgroup"; then
      echo "$pid"
    fi
  done
}

describe() {
  local sep='' pid user command
  printf '['
  for pid in "$@"; do
    # What ends meanwhile is not busy any more.
    command=$(tr '\0' ' ' <"/proc/$pid/cmdline" 2>/dev/null) || continue
    user=$(stat --format %U "/proc/$pid" 2>/dev/null) || continue
    printf '%s{"pid":%d,"user":%s,"command":%s}' "$sep" "$pid" "$(json "$user")" "$(json "${command:0:80}")"
    sep=,
  done
  printf ']'
}

give_up() {
  mapfile -t busy < <(holders)
  printf '{"result":"failed","why":%s,"by":%s}\n' "$(json "$1")" "$(describe "${busy[@]}")"
  exit 0
}

had=false
if mountpoint -q /nix || mountpoint -q "$home"; then had=true; fi
if mountpoint -q /nix && ! why=$(store_health) && [[ $force != --force ]]; then
  printf '{"result":"damaged","why":%s}\n' "$(json "$why")"
  exit 0
fi

mapfile -t busy < <(holders)
if ((${#busy[@]})) && [[ $force != --force ]]; then
  printf '{"result":"busy","by":%s}\n' "$(describe "${busy[@]}")"
  exit 0
fi
for signal in TERM KILL; do
  ((${#busy[@]})) || break
  for pid in "${busy[@]}"; do
    kill -"$signal" "$pid" 2>/dev/null || continue # it ended by itself
  done
  for ((try = 0; try < 25; try++)); do
    mapfile -t busy < <(holders)
    ((${#busy[@]})) || break 2
    sleep 0.2
  done
done

systemctl stop devbox-nix-daemon.service || give_up "the Nix daemon did not stop"
for mount in "$home" /nix; do
  for ((try = 0; ; try++)); do
    mountpoint -q "$mount" || break
    if why=$(umount "$mount" 2>&1); then break; fi
    ((try < 25)) || give_up "$why"
    sleep 0.2
  done
done
# Without its volume the box has nothing that outlives it.
if mountpoint -q "$DEVBOX_VOLUME"; then
  sync -f "$DEVBOX_VOLUME" || give_up "the volume did not sync"
fi
systemctl stop devbox.target devbox-home.service devbox-store.service || give_up "the units did not stop"
printf '{"result":"ended","had":%s}\n' "$had"
