#!/bin/bash
# store-grow.sh BYTES: makes the store image larger while it is in use. Run as root; prints one JSON document.
STEP=store-grow
. "${0%/*}/lib.sh"
. "${0%/*}/work.sh"
bytes=$1

need_store
begin "store grow"
device=$(store_device)
superblock "$device" || refuse volume "can't read the superblock of the store image: $(last_line "$err")"
# Of the filesystem, not of the file: one that an interrupted attempt left longer is grown to its end.
block=$(field 'Block size')
before=$(($(field 'Block count') * block))
# shellcheck disable=SC2016 # for people
((bytes >= before)) || refuse usage "the store has $(human "$before") already, and can't be made smaller" \
  'it is sparse: `devbox store gc` gives back to the volume what is not used'
deferred=false
if ((bytes > before)); then
  if ((bytes > $(stat --format %s "$image"))); then
    truncate --size "$bytes" "$image" 2>"$err" ||
      refuse volume "can't make the store image $image longer: $(last_line "$err")" "the volume's filesystem may not take files of that size"
    sync "$image"
  fi
  losetup --set-capacity "$device" 2>"$err" ||
    refuse volume "can't make the loop device of the store image longer: $(last_line "$err")"
  # shellcheck disable=SC2016 # for people
  if resize2fs "$device" "$((bytes / 1024))K" >"$err" 2>&1; then
    sync -f /nix
    superblock "$device" || refuse volume "can't read the superblock of the store image: $(last_line "$err")"
  elif grep --quiet 'Permission denied to resize' "$err"; then
    # A container whose root may not do all that root may. store.sh grows it when it mounts it next.
    deferred=true
  else
    mapfile -t evidence <"$err"
    refuse volume "the filesystem of the store image did not grow" 'nothing is lost: `devbox store grow` with the same size tries again'
  fi
fi
after=$(($(field 'Block count') * block))
printf -v answer '{"result":"done","before":%d,"after":%d,"used":%d,"free":%d,"real":%d,"volume_free":%d,"promised":%d,"deferred":%s}' \
  "$before" "$after" "$(df_of used /nix)" "$(df_of avail /nix)" "$(real_size "$image")" "$(df_of avail "$DEVBOX_VOLUME")" \
  "$(stat --format %s "$image")" "$deferred"
tell "$answer"
