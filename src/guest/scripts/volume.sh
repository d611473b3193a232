#!/bin/bash
# The volume must be a mount point: a plain folder of that name would be the box's own disk,
# and what is written there is lost at terminate.
STEP=1-volume
. "${0%/*}/lib.sh"

report running "waiting for the volume at $DEVBOX_VOLUME"
until mountpoint -q -- "$DEVBOX_VOLUME"; do
  ((SECONDS < DEVBOX_VOLUME_WAIT)) ||
    fail "nothing is mounted at $DEVBOX_VOLUME after $DEVBOX_VOLUME_WAIT s" \
      "the volume is not attached to this box; devbox down, then devbox up"
  sleep 0.1
done

read -r type source < <(findmnt --noheadings --first-only --output FSTYPE,SOURCE --target "$DEVBOX_VOLUME")
probe=$(mktemp "$DEVBOX_VOLUME/.devbox-probe.XXXXXX" 2>"$run/volume.err") ||
  fail "the volume at $DEVBOX_VOLUME can't be written: $(last_line "$run/volume.err")" \
    "make the volume writable, then devbox down, devbox up"
rm -f "$probe"

base=$DEVBOX_VOLUME/devbox
mkdir -p "$base/stores" "$base/generations" 2>"$run/volume.err" ||
  fail "can't make folders on the volume: $(last_line "$run/volume.err")"
if [[ ! -e $base/layout ]]; then
  echo 1 >"$base/layout.new"
  mv "$base/layout.new" "$base/layout"
fi
read -r layout <"$base/layout"
[[ $layout == 1 ]] ||
  fail "the volume has layout \`$layout\`, this version of devbox knows layout 1" "use the newer devbox that wrote it"

report 'done' "$type from $source"
