#!/bin/bash
# quiesce.sh [SECONDS]: ends work on the box, unmounts home and store, syncs, gives the lease
# back. Refuses, having touched nothing, while somebody uses them, or the store has met errors; but with SECONDS, what is
# busy is told, asked to end, and ended after so long, and errors are no hindrance. Run as root.
# Prints one JSON document: {"result":"ended","had":true,"whole":true} (`had`: whether home or store were mounted;
# `whole`: whether the store has met no errors)
# or {"result":"busy","by":[…]} or {"result":"failed",…}.
STEP=quiesce
. "${0%/*}/lib.sh"
. "${0%/*}/lease.sh"
. "${0%/*}/busy.sh"
trap - ERR
grace=${1-}
home=$(getent passwd "$DEVBOX_USER" | cut -d: -f6)
cd /

give_up() {
  look "$home" /nix
  printf '{"result":"failed","why":%s,"by":%s}\n' "$(json "$1")" "$(describe "${busy[@]}")"
  exit 0
}

# A command that works on the store is busy too. That of `restore` has the store brought to rest itself.
if [[ -z ${DEVBOX_WORK-} && -e $run/work.lock ]]; then
  exec 7>>"$run/work.lock"
  # What is not over by then is cut off, as a power loss would.
  if ! flock --timeout "${grace:-0}" 7 && [[ -z $grace ]]; then
    read -r pid what <"$run/work"
    printf '{"result":"busy","by":[{"pid":%d,"user":"root","command":%s}]}\n' "$pid" "$(json "devbox $what")"
    exit 0
  fi
fi

had=false whole=true
if mountpoint -q /nix || mountpoint -q "$home"; then had=true; fi
if mountpoint -q /nix && ! why=$(store_health); then
  whole=false
  if [[ -z $grace ]]; then
    printf '{"result":"damaged","why":%s}\n' "$(json "$why")"
    exit 0
  fi
fi

look "$home" /nix
if ((${#busy[@]})) && [[ -z $grace ]]; then
  printf '{"result":"busy","by":%s}\n' "$(describe "${busy[@]}")"
  exit 0
fi
# Who is logged in hears of it, busy or not.
tell_people "devbox: this box is brought to rest and ended now${grace:+; what still runs in $grace s is killed}"
if ((${#busy[@]})); then
  end_users "$grace" "$home" /nix || give_up "these can't be ended"
fi

systemctl stop devbox-nix-daemon.service || give_up "the Nix daemon did not stop"
for mount in "$home" /nix; do
  unmount "$mount" 25 || give_up "$why"
done
# Without its volume the box has nothing that outlives it.
if mountpoint -q "$DEVBOX_VOLUME"; then
  timeout 120 sync -f "$DEVBOX_VOLUME" || give_up "the volume did not sync within two minutes"
fi
systemctl stop devbox.target devbox-home.service devbox-store.service ||
  give_up "$(sed -n 's/.*"state":"failed","detail":"\([^"]*\)".*/\1/p' "$run"/steps/*.json | tail -n 1)"
# Of units that failed nobody has given it back.
reclaim || give_up "another box has taken the lease"
printf '{"result":"ended","had":%s,"whole":%s}\n' "$had" "$whole"
