#!/bin/bash
# The user's home is a folder of the volume, seeded once from the box's own.
#
#   home.sh         seeds and mounts
#   home.sh stop    unmounts
STEP=3-home
. "${0%/*}/lib.sh"
err=$run/home.err
# On the first boot cloud-init may be just about to make the user.
until home=$(getent passwd "$DEVBOX_USER"); do
  ((SECONDS < 60)) || fail "there is no user $DEVBOX_USER on this box" "take an image that cloud-init gives that user"
  sleep 0.05
done
home=$(cut -d: -f6 <<<"$home")
kept=$DEVBOX_VOLUME/devbox/home

if [[ ${1-} == stop ]]; then
  . "${0%/*}/busy.sh"
  withdraw
  release "$home" || fail "can't unmount $home: $why"
  exit 0
fi

came=kept
if [[ ! -d $kept ]]; then
  report running "seeding the home"
  new=$kept.new.$DEVBOX_LAUNCH
  # The keys of this launch stay with this launch: see authorized_keys.d in the ssh configuration.
  if ! { rm -rf "$kept".new.* && cp --archive "$home" "$new" && rm -f "$new/.ssh/authorized_keys" &&
    sync -f "$new" && mv -T "$new" "$kept"; } 2>"$err"; then
    rm -rf "$new"
    fail "can't seed the home on the volume: $(last_line "$err")"
  fi
  came=seeded
fi
mountpoint -q "$home" || mount --bind "$kept" "$home" 2>"$err" || fail "can't mount the home: $(last_line "$err")"
report 'done' "$home, $came"
