#!/bin/bash
# quiesce.sh [SECONDS]: ends work on the box, unmounts home and store, syncs, gives the lease
# back. Refuses, having touched nothing, while somebody uses them, or the store has met errors; but with SECONDS, what is
# busy is told, asked to end, and ended after so long, and errors are no hindrance. Run as root.
# Prints one JSON document: {"result":"ended","had":true} (`had`: whether home or store were mounted)
# or {"result":"busy","by":[…]} or {"result":"failed",…}.
STEP=quiesce
. "${0%/*}/lib.sh"
trap - ERR
grace=${1-}
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
if mountpoint -q /nix && ! why=$(store_health) && [[ -z $grace ]]; then
  printf '{"result":"damaged","why":%s}\n' "$(json "$why")"
  exit 0
fi

mapfile -t busy < <(holders)
if ((${#busy[@]})) && [[ -z $grace ]]; then
  printf '{"result":"busy","by":%s}\n' "$(describe "${busy[@]}")"
  exit 0
fi
# Who is logged in hears of it, busy or not.
echo "devbox: this box is brought to rest and ended now" | wall
# Until nobody is busy any more; fails when the time is up.
await_end() {
  local until=$((SECONDS + $1))
  while ((${#busy[@]})); do
    ((SECONDS < until)) || return 1
    sleep 0.2
    mapfile -t busy < <(holders)
  done
}
if ((${#busy[@]})); then
  for pid in "${busy[@]}"; do
    signal=TERM
    # An interactive shell ignores that, and heeds a hang-up.
    ignored=$(sed -n 's/^SigIgn:\t//p' "/proc/$pid/status" 2>/dev/null) || continue # it ended by itself
    ((0x${ignored:-0} & 1 << 14)) && signal=HUP
    kill -"$signal" "$pid" 2>/dev/null || continue
  done
  if ! await_end "$grace"; then
    for pid in "${busy[@]}"; do
      kill -KILL "$pid" 2>/dev/null || continue
    done
    await_end 5 || give_up "these can't be ended"
  fi
fi

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
  timeout 120 sync -f "$DEVBOX_VOLUME" || give_up "the volume did not sync within two minutes"
fi
systemctl stop devbox.target devbox-home.service devbox-store.service || give_up "the units did not stop"
printf '{"result":"ended","had":%s}\n' "$had"
