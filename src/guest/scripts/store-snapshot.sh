#!/bin/bash
# Snapshots of the store image. Run as root; prints one JSON document.
#
#   store-snapshot.sh take [NAME]
#   store-snapshot.sh list
#   store-snapshot.sh delete NAME
STEP=store-snapshot
. "${0%/*}/lib.sh"
. "${0%/*}/work.sh"
. "${0%/*}/lease.sh"
. "${0%/*}/copies.sh"

mountpoint -q "$DEVBOX_VOLUME" || refuse volume "nothing is mounted at $DEVBOX_VOLUME" "the volume is not attached to this box; devbox down, then devbox up"

# snapshot NAME: one as JSON. `in_use` tells a second name of the image from a copy of it.
snapshot() {
  local file=$snapshots/$1.img
  printf '{"name":%s,"size":%d,"real":%d,"made":%d,"about":%s}' "$(json "$1")" "$(stat --format %s "$file")" \
    "$(real_size "$file")" "$(stat --format %Y "$file")" "$(text_of "$snapshots/$1.json")"
}

no_such() {
  local file
  for file in "$snapshots"/*.img; do
    [[ ! -e $file ]] || evidence+=("$(basename "$file" .img)")
  done
  # shellcheck disable=SC2016 # for people
  refuse usage "there is no snapshot \`$1\` of the $DEVBOX_SYSTEM store" '`devbox store list` shows what there is'
}

case $1 in
  list)
    all='' sep=''
    for file in "$snapshots"/*.img; do
      [[ -e $file && ! $file -ef $image ]] || continue
      one=$(snapshot "$(basename "$file" .img)")
      all+=$sep$one
      sep=,
    done
    tell "{\"result\":\"done\",\"snapshots\":[$all],\"free\":$(df_of avail "$DEVBOX_VOLUME")}"
    ;;
  delete)
    begin "store snapshot --delete"
    [[ -e $snapshots/$2.img ]] || no_such "$2"
    before=$(df_of avail "$DEVBOX_VOLUME")
    # What it was goes last: a snapshot without it is still one.
    rm -f "$snapshots/$2.img"
    rm -f "$snapshots/$2.json"
    sync -f "$snapshots"
    tell "{\"result\":\"done\",\"deleted\":$(json "$2"),\"before\":$before,\"free\":$(df_of avail "$DEVBOX_VOLUME")}"
    ;;
  take)
    begin "store snapshot"
    # shellcheck disable=SC2016 # for people
    [[ -e $image ]] || refuse volume "there is no store image $image" '`devbox up` makes it'
    leased=
    if ! mountpoint -q /nix; then
      lease_now
      leased=yes
    fi
    tidy_snapshots
    name=${2-}
    [[ -n $name ]] || name=$(snapshot_name '')
    # shellcheck disable=SC2016 # for people
    [[ ! -e $snapshots/$name.img ]] ||
      refuse usage "there is a snapshot \`$name\` already" '`devbox store snapshot --delete NAME` deletes one; without a name it gets one of its own'
    # shellcheck disable=SC2016 # for people
    take_snapshot "$name" asked || refuse volume "the store image was not copied: $down_because" \
      '`devbox store gc` and `devbox store snapshot --delete NAME` make room on the volume'
    # Of a copy it can be told whether it is whole; what was deleted and still open is cleared away in it.
    doing "checking the copy"
    whole=true code=0
    e2fsck -f -p "$snapshots/$name.img" >"$err" 2>&1 || code=$?
    ((code < 4)) || whole=false
    [[ -z $leased ]] || lease_over
    one=$(snapshot "$name")
    tell "{\"result\":\"done\",\"snapshot\":$one,\"whole\":$whole,\"milliseconds\":$took,\"free\":$(df_of avail "$DEVBOX_VOLUME")}"
    ;;
esac
