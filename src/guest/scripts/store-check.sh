#!/bin/bash
# store-check.sh [--repair]: looks at the store image: at every store path where it is mounted, at its filesystem where
# it is not. Run as root; prints one JSON document.
#
# --repair: what a cache has is fetched anew, what can't be is thrown away with what refers to it. An image that is not
# mounted is copied before anything in it changes, repaired, mounted, and then looked at like any other.
STEP=store-check
. "${0%/*}/lib.sh"
. "${0%/*}/work.sh"
. "${0%/*}/lease.sh"
. "${0%/*}/recover.sh"
. "${0%/*}/copies.sh"
repair=${1-}

mountpoint -q "$DEVBOX_VOLUME" || refuse volume "nothing is mounted at $DEVBOX_VOLUME" "the volume is not attached to this box; devbox down, then devbox up"
begin "store check${repair:+ $repair}"

# fsck OPTION …: e2fsck on the image. Sets `code`, and what it said in `fsck_said`, shortened.
fsck() {
  code=0
  doing "e2fsck"
  e2fsck -f "$@" "$image" >"$run/fsck.log" 2>&1 || code=$?
  mapfile -t fsck_said < <(sed -e "s|^$image: ||" -e '/^e2fsck [0-9]/d' -e '/^Pass [0-9]/d' -e '/^[[:space:]]*$/d' "$run/fsck.log")
  if ((${#fsck_said[@]} > 12)); then
    fsck_said=("${fsck_said[@]:0:10}" "and $((${#fsck_said[@]} - 10)) lines more, in $run/fsck.log on the box")
  fi
}

fsck_json=null kept=null
if ! mountpoint -q /nix; then
  # shellcheck disable=SC2016 # for people
  [[ -e $image ]] || refuse volume "there is no store image $image" '`devbox up` makes one'
  lease_now
  undo=lease_over
  replayed=true
  # What can't be read says nothing: e2fsck finds another copy of it.
  superblock "$image" || doing "the superblock can't be read"
  [[ $(field 'Filesystem features') != *needs_recovery* ]] || replayed=false
  if [[ $repair != --repair ]]; then
    fsck -n
    undo=
    lease_over
    tell "{\"result\":\"done\",\"mounted\":false,\"fsck\":{\"code\":$code,\"replayed\":$replayed,\"said\":$(list "${fsck_said[@]}")}}"
    exit 0
  fi

  tidy_snapshots
  kept=$(snapshot_name before-repair-)
  # shellcheck disable=SC2016 # for people
  take_snapshot "$kept" before-repair ||
    refuse volume "nothing was repaired, for the image could not be copied first: $down_because" \
      '`devbox store snapshot --delete NAME` makes room on the volume; `devbox store list` shows what there is'
  # shellcheck disable=SC2016 # for people
  back='`devbox store restore '$kept'` brings it back as it was; `devbox store list` shows other snapshots'
  blocks=$(field 'Block count') block=$(field 'Block size')
  want=$((${blocks:-0} * ${block:-0}))
  # What a truncated image has lost reads as zeros, so that the rest can be told from it.
  if (($(stat --format %s "$image") < want)); then
    truncate --size "$want" "$image"
  fi
  # What one round repairs may show more to the next.
  first=() rounds=0
  while fsck -y && ((code == 1 && rounds < 3)); do
    ((rounds)) || first=("${fsck_said[@]}")
    rounds=$((rounds + 1))
  done
  if ((code > 1)); then
    evidence=("${fsck_said[@]}")
    refuse volume "e2fsck can't repair the store image (exit status $code)" "$back"
  fi
  ((rounds)) || first=("${fsck_said[@]}")
  fsck_json="{\"code\":$((rounds > 0)),\"replayed\":true,\"said\":$(list "${first[@]}")}"
  sync "$image"
  undo=
  lease_over
  doing "mounting the store image"
  bring_up || refuse volume "the store image was repaired, and still does not come up: $down_because" "$back"
  kept=$(json "$kept")
fi

# Nix can't look at what can't be written.
# shellcheck disable=SC2016 # for people
why=$(store_errors) || refuse volume "$why" '`devbox down --force`, then `devbox up`: e2fsck looks at the store image then'
# Where the daemon may write meanwhile, what comes or goes is not of interest.
valid=$(valid_paths)
total=$(awk 'NF' <<<"$valid" | wc -l)
errors=$(kernel_errors)

# verify [--repair]: every store path. Sets `damaged`, by name, with what Nix says of it, and `code`.
declare -A damaged=()
verify() {
  local line looked=0 path
  damaged=() code=0
  while IFS= read -r line; do
    case $line in
      "checking contents of '"*)
        looked=$((looked + 1))
        ((looked % 20)) || progress "$looked" "$total" items "checking contents"
        ;;
      "status "*) code=${line#status } ;;
      *" was modified!"* | *" disappeared"* | error:*)
        if [[ $line =~ (/nix/store/[0-9a-z]{32}-[0-9A-Za-z+._?=-]+) ]]; then
          path=${BASH_REMATCH[1]}
          damaged[$path]=${damaged[$path]-$line}
        else
          evidence+=("$line")
        fi
        ;;
    esac
  done < <(
    trap - ERR
    set +e
    nix-store --verify --check-contents --verbose "$@" 2>&1
    echo "status $?"
  )
}

thrown=() repaired=() lost_json='' unfit=false
began=$SECONDS
if [[ $repair == --repair ]]; then
  [[ ,$(findmnt --noheadings --first-only --output OPTIONS /nix), != *,ro,* ]] || unfit=true
fi
if [[ $repair == --repair && $unfit == false ]]; then
  verify --repair
  bad=()
  for path in "${!damaged[@]}"; do
    # What has left Nix's database by now was gone from the store, and nothing referred to it.
    if ! nix-store --check-validity "$path" 2>"$err" || ! nix-store --verify-path "$path" 2>"$err"; then
      bad+=("$path")
    else
      repaired+=("$path")
    fi
  done
  still=()
  for path in "${bad[@]}"; do
    ! nix-store --check-validity "$path" 2>"$err" || still+=("$path")
  done
  if ((${#still[@]})); then
    doing "throwing away ${#still[@]} damaged store paths and what refers to them"
    throw_away "${still[@]}" >"$err" 2>&1 ||
      refuse volume "damaged store paths can't be thrown away: $(last_line "$err")"
  fi
  all=$(each_generation) sep=''
  while read -r project number path; do
    [[ -n $project && ! -e $path ]] || continue
    lost_json+="$sep{\"project\":$(json "$project"),\"generation\":$number}"
    sep=,
  done <<<"$all"
  remember_synced
else
  verify
fi

# By name, each with what Nix says of it.
damaged_json() {
  local sep='' path
  for path in "${!damaged[@]}"; do
    printf '%s{"path":%s,"why":%s}' "$sep" "$(json "$path")" "$(json "${damaged[$path]}")"
    sep=,
  done
}
if [[ ,$(findmnt --noheadings --first-only --output OPTIONS /nix), != *,ro,* ]]; then
  wrong=${#damaged[@]}
  [[ $repair != --repair ]] || wrong=0
  printf '{"at":%s,"paths":%d,"damaged":%d}\n' "$(json "$(date -u +%FT%TZ)")" "$total" "$wrong" >/nix/var/devbox/checked.json
fi
damaged_json=$(damaged_json)
answer=$(
  printf '{"result":"done","mounted":true,"fsck":%s,"kept":%s,"errors":%d,"paths":%d,"code":%d,"seconds":%d,"damaged":[%s],' \
    "$fsck_json" "$kept" "$errors" "$total" "$code" "$((SECONDS - began))" "$damaged_json"
  printf '"said":%s,"read_only":%s,"repaired":%s,"thrown":%s,"lost":[%s]}' "$(list "${evidence[@]}")" "$unfit" \
    "$(list "${repaired[@]}")" "$(list "${thrown[@]}")" "$lost_json"
)
tell "$answer"
