#!/bin/bash
# store-status.sh: all there is to say of the store image of this box and of what else the volume keeps. Changes
# nothing. Run as root; prints one JSON document.
STEP=store-status
. "${0%/*}/lib.sh"
. "${0%/*}/work.sh"
. "${0%/*}/lease.sh"

# epoch WORDS: the seconds of a date of dumpe2fs; null for none.
epoch() { date --date="$1" +%s 2>"$run/untold" || printf null; }

mountpoint -q "$DEVBOX_VOLUME" || refuse volume "nothing is mounted at $DEVBOX_VOLUME" "the volume is not attached to this box; devbox down, then devbox up"

filesystem=null device='' mounted=false errors=0
if mountpoint -q /nix; then
  mounted=true
  device=$(store_device)
  errors=$(kernel_errors)
  filesystem=$(printf '{"size":%s,"used":%s,"free":%s}' "$(df_of size /nix)" "$(df_of used /nix)" "$(df_of avail /nix)")
fi

looked=null of_image=null
if [[ -e $image ]]; then
  of_image=$(printf '{"size":%s,"real":%s}' "$(stat --format %s "$image")" "$(real_size "$image")")
  # The image of a mounted store may be behind what the kernel knows.
  if superblock "${device:-$image}"; then
    looked=$(printf '{"state":%s,"checked":%s,"mounted":%s,"replayed":%s}' "$(json "$(field 'Filesystem state')")" \
      "$(epoch "$(field 'Last checked')")" "$(epoch "$(field 'Last mount time')")" \
      "$([[ $mounted == false && $(field 'Filesystem features') == *needs_recovery* ]] && echo false || echo true)")
  fi
fi

read -r kind fstype < <(lease_kind)
checked=null
[[ $mounted == false ]] || checked=$(text_of /nix/var/devbox/checked.json)
status='{"steps":[]}'
[[ ! -e $run/status.json ]] || status=$(<"$run/status.json")

generations() {
  local sep='' project number path current there
  while read -r project number path; do
    [[ -n $project ]] || continue
    current=false there=false
    [[ $(current_of "$project") != "$number" ]] || current=true
    [[ ! -e $path ]] || there=true
    printf '%s{"project":%s,"generation":%d,"current":%s,"environment":%s,"there":%s,"made":%s,"manifest":%s}' \
      "$sep" "$(json "$project")" "$number" "$current" "$(json "$path")" "$there" \
      "$(stat --format %Y "$profiles/$project-$number-link")" "$(json "$(manifest_of "$project" "$number" "$path")")"
    sep=,
  done <<<"$1"
}

images() {
  local sep='' file name
  for file in "$stores"/*.img; do
    [[ -e $file ]] || continue
    name=${file##*/}
    printf '%s{"system":%s,"size":%s,"real":%s,"holder":%s}' "$sep" "$(json "${name%.img}")" \
      "$(stat --format %s "$file")" "$(real_size "$file")" "$(text_of "${file%.img}.holder")"
    sep=,
  done
}

all=$(each_generation)
generations=$(generations "$all")
images=$(images)
count=0 real=0
for file in "$DEVBOX_VOLUME/devbox/snapshots/$DEVBOX_SYSTEM"/*.img; do
  [[ -e $file ]] || continue
  count=$((count + 1))
  real=$((real + $(real_size "$file")))
done

answer=$(
  printf '{"result":"done","system":%s,"box":%s,"launch":%s,"path":%s,"mounted":%s,"errors":%d,"image":%s,"filesystem":%s,' \
    "$(json "$DEVBOX_SYSTEM")" "$(json "$DEVBOX_BOX")" "$(json "$DEVBOX_LAUNCH")" "$(json "$image")" "$mounted" \
    "$errors" "$of_image" "$filesystem"
  printf '"superblock":%s,"volume":{"path":%s,"type":%s,"size":%s,"free":%s},"lease":%s,"holder":%s,"checked":%s,' \
    "$looked" "$(json "$DEVBOX_VOLUME")" "$(json "$fstype")" "$(df_of size "$DEVBOX_VOLUME")" \
    "$(df_of avail "$DEVBOX_VOLUME")" "$(json "$kind")" "$(text_of "$holder")" "$checked"
  printf '"status":%s,"snapshots":{"count":%d,"real":%d},"generations":[%s],"images":[%s]}' \
    "$status" "$count" "$real" "$generations" "$images"
)
tell "$answer"
