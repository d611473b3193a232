#!/bin/bash
# store-restore.sh NAME [discard]: puts a copy of a snapshot in the place of the store image, which becomes a snapshot
# itself unless it is to be discarded. Where this does not work out, the image of before is back in its place. Run as
# root; prints one JSON document: that of quiesce.sh where the box does not come to rest.
STEP=store-restore
. "${0%/*}/lib.sh"
. "${0%/*}/work.sh"
. "${0%/*}/lease.sh"
. "${0%/*}/copies.sh"
name=$1 discard=${2-}
from=$snapshots/$name.img
new=$image.new.$DEVBOX_LAUNCH

mountpoint -q "$DEVBOX_VOLUME" || refuse volume "nothing is mounted at $DEVBOX_VOLUME" "the volume is not attached to this box; devbox down, then devbox up"
begin "store restore"
# shellcheck disable=SC2016 # for people
[[ -e $from && ! $from -ef $image ]] ||
  refuse usage "there is no snapshot \`$name\` of the $DEVBOX_SYSTEM store" '`devbox store list` shows what there is'
check_room "$from"

now='[]'
! mountpoint -q /nix || now=$(environments)
doing "bringing the store to rest"
answer=$(DEVBOX_WORK=restore "${0%/*}/quiesce.sh")
if [[ $answer != *'"result":"ended"'* ]]; then
  tell "$answer"
  exit 0
fi

# From here on everything is started again, however this ends.
undo=up_again
up_again() {
  rm -f "$new"
  doing "starting the store again"
  bring_up || evidence+=("the store does not come up again: $down_because")
}
lease_now
undo=give_up
give_up() {
  lease_over
  up_again
}
tidy_snapshots
# shellcheck disable=SC2016 # for people
copy_image "$from" "$new" ||
  refuse volume "the snapshot was not copied: $down_because; the store is as it was" '`devbox store gc` and `devbox store snapshot --delete NAME` make room on the volume'
doing "checking the copy"
code=0
e2fsck -f -p "$new" >"$err" 2>&1 || code=$?
if ((code >= 4)); then
  mapfile -t evidence < <(sed -e "s|^$new: ||" -e '/^[[:space:]]*$/d' "$err" | sed -n 1,10p)
  refuse volume "the snapshot \`$name\` is damaged itself; the store is as it was"
fi
sync "$new"

# A second name for the image of before, so that there is an image at every moment.
kept=$(snapshot_name before-restore-)
if [[ -e $image ]]; then
  size=$(stat --format %s "$image")
  ln -T "$image" "$snapshots/$kept.img"
fi
mv -T "$new" "$image"
sync "$stores"
lease_over
undo=
doing "mounting the store image"
came=yes
bring_up || came=
doing "checking the store"
if [[ -n $came ]] && ! nix-store --verify 2>"$err"; then
  came=
  down_because="Nix's database is damaged: $(last_line "$err")"
fi
if [[ -z $came ]]; then
  [[ -e $snapshots/$kept.img ]] ||
    refuse volume "the snapshot \`$name\` does not come up: $down_because; there was no store image before it"
  systemctl stop devbox-nix-daemon.service devbox-nix.service devbox-home.service devbox-store.service devbox.target
  lease_now
  mv -T "$snapshots/$kept.img" "$image"
  sync "$stores"
  lease_over
  why=$down_because
  bring_up || refuse volume "neither the snapshot \`$name\` nor the store of before comes up: $why; then: $down_because"
  refuse volume "the snapshot \`$name\` does not come up: $why; the store of before is back"
fi
if [[ ! -e $snapshots/$kept.img ]]; then
  kept=
elif [[ $discard == discard ]]; then
  rm -f "$snapshots/$kept.img"
  kept=
else
  describe "$kept" before-restore "$now" rename "$size"
fi
back=$(environments)
answer=$(
  printf '{"result":"done","name":%s,"kept":%s,"how":%s,"milliseconds":%d,"before":%s,"environments":%s}' \
    "$(json "$name")" "$([[ -n $kept ]] && json "$kept" || printf null)" "$(json "$how")" "$took" "$now" "$back"
)
tell "$answer"
