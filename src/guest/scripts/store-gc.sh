#!/bin/bash
# store-gc.sh KEEP [dry]: of each project the newest KEEP generations stay, and the current one; then what nothing
# refers to goes, and the volume gets the room back. Run as root; prints one JSON document.
STEP=store-gc
. "${0%/*}/lib.sh"
. "${0%/*}/work.sh"
. "${0%/*}/recover.sh"
keep=$1 dry=${2-}
nix_profile=/nix/var/nix/profiles/devbox-nix

need_store
begin "store gc"
# What is built in the home has its GC roots there.
home=$(getent passwd "$DEVBOX_USER" | cut -d: -f6)
# shellcheck disable=SC2016 # for people
mountpoint -q "$home" ||
  refuse guest "the home is not mounted: what it refers to in the store would be taken for rubbish" '`devbox up` mounts it'

doing "looking for what nothing refers to"
all=$(each_generation)
declare -A count=() seen=() stays=()
while read -r project _; do
  [[ -z $project ]] || count[$project]=$((${count[$project]-0} + 1))
done <<<"$all"
rolled=() links=() rolled_json='' sep=''
while read -r project number path; do
  [[ -n $project ]] || continue
  seen[$project]=$((${seen[$project]-0} + 1))
  # One whose paths were thrown away is of no use to anybody.
  if [[ $(current_of "$project") == "$number" ]] || { ((seen[$project] > count[$project] - keep)) && [[ -e $path ]]; }; then
    stays[${path##*/}]=yes
    continue
  fi
  rolled+=("$project $number")
  links+=("$profiles/$project-$number-link")
  rolled_json+="$sep{\"project\":$(json "$project"),\"generation\":$number}"
  sep=,
done <<<"$all"
# Of the box's own Nix only the one in use is of any.
for link in "$nix_profile"-*-link; do
  [[ ! -L $link || $(readlink "$nix_profile") == "${link##*/}" ]] || links+=("$link")
done

# dead_paths: what would go without the links.
dead_paths() {
  local -A going=()
  local link path
  local -a roots=() drvs=()
  for link in "${links[@]}"; do going[$link]=yes; done
  while read -r link path; do
    [[ -n ${going[$link]-} ]] || roots+=("$path")
  done < <(nix-store --gc --print-roots 2>"$err" | sed -n 's/^\(.*\) -> \(\/nix\/store\/.*\)$/\1 \2/p')
  printf '%s\n' "${roots[@]}" | xargs --no-run-if-empty nix-store --query --requisites | LC_ALL=C sort --unique >"$run/live"
  # As Nix has it by default: what a living path was built by lives too, where it is there.
  mapfile -t drvs < <(xargs --no-run-if-empty nix-store --query --deriver <"$run/live" | LC_ALL=C sort --unique |
    while read -r path; do [[ ! -e $path ]] || echo "$path"; done)
  if ((${#drvs[@]})); then
    printf '%s\n' "${drvs[@]}" | xargs nix-store --query --requisites >>"$run/live"
  fi
  comm -23 <(valid_paths) <(LC_ALL=C sort --unique "$run/live")
}
dead=$(dead_paths)
doomed=0 bytes=0
if [[ -n $dead ]]; then
  doomed=$(wc -l <<<"$dead")
  bytes=$(xargs nix-store --query --size <<<"$dead" | awk '{ sum += $1 } END { printf "%d", sum }')
fi

# room: what the store takes in its filesystem, and on the volume; what that has free.
room() {
  sync -f /nix
  sync -f "$DEVBOX_VOLUME"
  printf '{"store":%d,"volume":%d,"free":%d}' "$(df_of used /nix)" "$(real_size "$image")" "$(df_of avail "$DEVBOX_VOLUME")"
}
before=$(room)
if [[ $dry == dry ]]; then
  tell "{\"result\":\"done\",\"rolled\":[$rolled_json],\"paths\":$doomed,\"bytes\":$bytes,\"before\":$before}"
  exit 0
fi

for one in "${rolled[@]}"; do
  read -r project number <<<"$one"
  doing "$project: generation $number rolls off"
  nix-env --quiet --profile "$profiles/$project" --delete-generations "$number" 2>"$err" ||
    refuse volume "can't delete generation $number of \`$project\`: $(last_line "$err")"
done
[[ ! -e $nix_profile ]] || nix-env --quiet --profile "$nix_profile" --delete-generations old
scripts=0
for file in "$shells"/*.sh; do
  name=$(basename "$file" .sh)
  [[ -e $file && -z ${stays[$name]-} ]] || continue
  rm -f "$file" "$shells/$name.conf"
  scripts=$((scripts + 1))
done
for file in "$manifests"/*/*.json; do
  [[ -e $file ]] || continue
  project=$(basename "$(dirname "$file")") number=$(basename "$file" .json)
  path=$(readlink "$profiles/$project-$number-link") || path=
  [[ -n $path && -n $(manifest_of "$project" "$number" "$path") ]] || rm -f "$file" "${file%.json}.paths"
done

gone=0 code=0
while IFS= read -r line; do
  case $line in
    "deleting '/nix/store/"*)
      gone=$((gone + 1))
      ((gone % 20)) || progress "$gone" "$((doomed > gone ? doomed : gone))" items "deleting"
      ;;
    "status "*) code=${line#status } ;;
    *) evidence=("$line") ;;
  esac
done < <(
  trap - ERR
  set +e
  nix-store --gc 2>&1
  echo "status $?"
)
((code == 0)) || refuse volume "Nix's garbage collector failed"
left=$(valid_paths)
left=$(comm -12 <(echo "$dead") <(echo "$left") | awk 'NF' | wc -l)

doing "giving the room back to the volume"
sync -f /nix
trimmed=null untrimmed=''
if fstrim --verbose /nix >"$run/fstrim" 2>"$err"; then
  trimmed=$(sed -n 's/.*(\([0-9]*\) bytes).*/\1/p' "$run/fstrim")
else
  untrimmed=$(last_line "$err")
fi
after=$(room)
# They keep what the image no longer has.
snapshots=0
for file in "$DEVBOX_VOLUME/devbox/snapshots/$DEVBOX_SYSTEM"/*.img; do
  [[ ! -e $file ]] || snapshots=$((snapshots + 1))
done
answer=$(
  printf '{"result":"done","rolled":[%s],"paths":%d,"bytes":%d,"scripts":%d,"trimmed":%s,"untrimmed":%s,"snapshots":%d,' \
    "$rolled_json" "$((doomed - left))" "$bytes" "$scripts" "${trimmed:-null}" "$(json "$untrimmed")" "$snapshots"
  printf '"before":%s,"after":%s}' "$before" "$after"
)
tell "$answer"
