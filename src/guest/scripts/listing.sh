#!/bin/bash
# listing.sh PROJECT WHICH: the store paths of a generation of PROJECT as the volume remembers them: of generation number
# WHICH, or of one whose fingerprint that is. Changes nothing. Run as root; prints one JSON document.
STEP=listing
. "${0%/*}/lib.sh"
. "${0%/*}/work.sh"
err=$(mktemp)
trap 'rm -f "$err"' EXIT
project=$1 wanted=$2

mountpoint -q "$DEVBOX_VOLUME" ||
  refuse volume "nothing is mounted at $DEVBOX_VOLUME" "the volume is not attached to this box; devbox down, then devbox up"

# found N: the answer.
found() {
  local answer
  answer=$(
    printf '{"result":"done","generation":%d,"manifest":%s,"listing":[' "$1" "$(json "$(cat "$manifests/$project/$1.json")")"
    awk 'NF { printf "%s\"%s\"", sep, $0; sep = "," }' "$manifests/$project/$1.paths"
    printf ']}'
  )
  tell "$answer"
  exit 0
}

if [[ ${#wanted} == 64 ]]; then
  for file in "$manifests/$project"/*.json; do
    [[ -e ${file%.json}.paths ]] || continue
    ! grep --quiet --fixed-strings "\"fingerprint\":\"$wanted\"" "$file" || found "$(basename "$file" .json)"
  done
  tell '{"result":"done","generation":0,"manifest":"","listing":[]}'
  exit 0
fi

[[ ! -e $manifests/$project/$wanted.paths ]] || found "$wanted"
all=$(each_generation)
current=$(current_of "$project")
path=
while read -r of number to; do
  [[ $of == "$project" ]] || continue
  mark=
  [[ $number != "$current" ]] || mark=', current'
  evidence+=("generation $number$mark")
  [[ $number != "$wanted" ]] || path=$to
done <<<"$all"
# shellcheck disable=SC2016 # for people
[[ -n $path ]] || refuse usage "there is no generation $wanted of the project \`$project\`" '`devbox store status` shows what there is'
evidence=()
# An older devbox made it, and wrote no list.
# shellcheck disable=SC2016 # for people
nix-store --check-validity "$path" 2>"$err" ||
  refuse volume "generation $wanted of \`$project\` is not whole any more: $(last_line "$err")" '`devbox store check` tells more'
answer=$(
  printf '{"result":"done","generation":%d,"manifest":%s,"listing":[' "$wanted" "$(json "$(manifest_of "$project" "$wanted" "$path")")"
  listing "$path" | awk '{ printf "%s\"%s\"", sep, $0; sep = "," }'
  printf ']}'
)
tell "$answer"
