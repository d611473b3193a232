# shellcheck shell=bash disable=SC2034,SC2154 # names of lib.sh and work.sh, for the scripts that source this
# Copies of the store image on its volume: clones where its filesystem can, else sparse. Sourced after work.sh, never
# run.
snapshots=$DEVBOX_VOLUME/devbox/snapshots/$DEVBOX_SYSTEM
# What thaw.sh has to undo when this work ends before it has done so itself.
frozen=$run/frozen.${INVOCATION_ID-by-hand}
copying=$run/copying.${INVOCATION_ID-by-hand}

# snapshot_name WHY: a name that no snapshot has.
snapshot_name() {
  local name stamp try=1
  stamp=$(date -u +%Y%m%d-%H%M%S)
  name=$1$stamp
  while [[ -e $snapshots/$name.img ]]; do
    try=$((try + 1))
    name=$1$stamp-$try
  done
  printf '%s' "$name"
}

# tidy_snapshots: what was cut off. Only who has the lease makes any, so nobody else is at it.
tidy_snapshots() {
  local file name
  mkdir -p "$snapshots"
  rm -f "$snapshots"/*.new.*
  for file in "$snapshots"/*.img; do
    # A restore that was cut off before it had replaced the image: a second name of the image, and no copy of it.
    if [[ $file -ef $image ]]; then rm -f "$file"; fi
  done
  for file in "$snapshots"/*.json; do
    name=${file%.json}
    [[ ! -e $file || -e $name.img ]] || rm -f "$file"
  done
}

freeze() {
  : >"$frozen"
  # Most of what is not written yet, while others may still write.
  sync -f /nix && fsfreeze --freeze /nix
}

thaw() {
  [[ ! -e $frozen ]] || fsfreeze --unfreeze /nix
  rm -f "$frozen"
}

# copy_image FROM TO: sets `how`, and `took` in milliseconds. Where it fails it says why in `down_because`, and nothing
# of it is left. `check_room FROM` goes before it.
copy_image() {
  local code=0 began=${EPOCHREALTIME/[.,]/}
  printf '%s' "$2" >"$copying"
  how=reflink
  if ! cp --reflink=always "$1" "$2" 2>"$err"; then
    how=copy
    if [[ -n $no_room ]]; then
      down_because=$no_room
      code=1
    else
      copy_sparse "$1" "$2" || code=$?
    fi
  fi
  ((code == 0)) || rm -f "$2"
  rm -f "$copying"
  took=$(((${EPOCHREALTIME/[.,]/} - began) / 1000))
  return "$code"
}

copy_sparse() {
  local total pid code=0
  total=$(real_size "$1")
  cp --reflink=auto --sparse=always "$1" "$2" 2>"$err" &
  pid=$!
  while kill -0 "$pid" 2>"$run/untold"; do
    [[ ! -e $2 ]] || progress "$(real_size "$2")" "$total" bytes "copying the store image"
    sleep 0.1
  done
  wait "$pid" || code=$?
  ((code == 0)) || down_because=$(last_line "$err")
  return "$code"
}

# check_room FROM: sets `no_room` where a copy of it does not fit onto the volume, unless that can clone.
check_room() {
  local need have
  need=$(real_size "$1")
  have=$(df_of avail "$DEVBOX_VOLUME")
  no_room=
  ((need < have)) || no_room="a copy of it takes $(human "$need"), and the volume has $(human "$have") free"
}

# environments: what is current, as a JSON list; the store must be mounted.
environments() {
  local sep='' all project number path manifest print
  all=$(each_generation)
  printf '['
  while read -r project number path; do
    [[ -n $project && $(current_of "$project") == "$number" ]] || continue
    manifest=$(manifest_of "$project" "$number" "$path")
    print=$(sed -n 's/.*"fingerprint":"\([^"]*\)".*/\1/p' <<<"$manifest")
    printf '%s{"project":%s,"generation":%d,"environment":%s,"fingerprint":%s}' \
      "$sep" "$(json "$project")" "$number" "$(json "$path")" "$(json "$print")"
    sep=,
  done <<<"$all"
  printf ']'
}

# describe NAME WHY ENVIRONMENTS HOW SIZE: writes what a snapshot is, beside it.
describe() {
  printf '{"name":%s,"why":%s,"system":%s,"made":%s,"box":%s,"launch":%s,"how":%s,"size":%d,"environments":%s}\n' \
    "$(json "$1")" "$(json "$2")" "$(json "$DEVBOX_SYSTEM")" "$(json "$(date -u +%FT%TZ)")" "$(json "$DEVBOX_BOX")" \
    "$(json "$DEVBOX_LAUNCH")" "$(json "$4")" "$5" "$3" >"$snapshots/$1.json.new.$DEVBOX_LAUNCH" &&
    sync "$snapshots/$1.json.new.$DEVBOX_LAUNCH" &&
    mv "$snapshots/$1.json.new.$DEVBOX_LAUNCH" "$snapshots/$1.json"
}

# take_snapshot NAME WHY: of the image, frozen where it is mounted; otherwise the lease must be ours. Where it fails it
# says why in `down_because`.
take_snapshot() {
  local new=$snapshots/$1.img.new.$DEVBOX_LAUNCH now='[]' code=0
  # What it takes there is known once it is there.
  if mountpoint -q /nix && ! sync -f /nix 2>"$err"; then
    down_because="the store can't be written: $(last_line "$err")"
    return 1
  fi
  check_room "$image"
  if mountpoint -q /nix; then
    now=$(environments)
    doing "freezing the store"
    freeze 2>"$err" || {
      down_because="it can't be frozen: $(last_line "$err")"
      thaw
      return 1
    }
    copy_image "$image" "$new" || code=$?
    thaw || {
      down_because="the store stays frozen: a reboot of the box thaws it"
      return 1
    }
  else
    copy_image "$image" "$new" || code=$?
  fi
  ((code == 0)) || return "$code"
  doing "waiting until all of it is on the volume"
  if ! { sync "$new" && describe "$1" "$2" "$now" "$how" "$(stat --format %s "$new")" &&
    mv -T "$new" "$snapshots/$1.img" && sync "$snapshots"; } 2>"$err"; then
    down_because=$(last_line "$err")
    rm -f "$new"
    return 1
  fi
}
