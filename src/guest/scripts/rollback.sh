#!/bin/bash
# rollback.sh PROJECT [N]: makes an earlier generation of PROJECT current; without N the one before the current.
# Nothing is fetched, nothing is built. Run as root; prints one JSON document.
STEP=rollback
. "${0%/*}/lib.sh"
. "${0%/*}/work.sh"
project=$1 wanted=${2-}

need_store
begin rollback
before=$(current_of "$project")
all=$(each_generation)
numbers=() path=
while read -r of number to; do
  [[ $of == "$project" ]] || continue
  numbers+=("$number")
  made=$(manifest_of "$project" "$number" "$to" | sed -n 's/.*"made":"\([^"]*\)".*/\1/p')
  mark=
  [[ $number != "$before" ]] || mark=', current'
  [[ -z $made ]] || made="$(date -u --date="$made" '+%F %H:%M') UTC"
  evidence+=("generation $number: ${made:-made at an unknown time}$mark")
done <<<"$all"
# shellcheck disable=SC2016 # for people
((${#numbers[@]})) || refuse usage "there is no generation of the project \`$project\` in this store" '`devbox up` makes one'
if [[ -z $wanted ]]; then
  for number in "${numbers[@]}"; do
    ((number >= before)) || wanted=$number
  done
  [[ -n $wanted ]] || refuse usage "there is no generation before the current one of the project \`$project\`, $before"
fi
while read -r of number to; do
  [[ "$of $number" != "$project $wanted" ]] || path=$to
done <<<"$all"
# shellcheck disable=SC2016 # for people
[[ -n $path ]] || refuse usage "there is no generation $wanted of the project \`$project\`" '`devbox rollback N` takes one of these'
evidence=()

# Before anything changes: it must be what it was.
# shellcheck disable=SC2016 # for people
up='`devbox up` brings the environment of the flake'
nix-store --check-validity "$path" 2>"$err" ||
  refuse volume "generation $wanted of \`$project\` is not whole any more: $(last_line "$err")" "$up"
[[ -r $shells/${path##*/}.sh && -r $shells/${path##*/}.conf ]] ||
  refuse volume "the shell script of generation $wanted of \`$project\` is missing" "$up"
read -r paths bytes print < <(fingerprint "$path")
# The fingerprint leaves the environment's own path out.
paths=$((paths + 1)) bytes=$((bytes + $(nix-store --query --size "$path")))
manifest=$(manifest_of "$project" "$wanted" "$path")
remembered=$(sed -n 's/.*"fingerprint":"\([^"]*\)".*/\1/p' <<<"$manifest")
if [[ -n $remembered && $remembered != "$print" ]]; then
  evidence=("then  $remembered" "now   $print")
  refuse differs "generation $wanted of \`$project\` is not what it was" "$up"
fi

if [[ $wanted != "$before" ]]; then
  nix-env --quiet --profile "$profiles/$project" --switch-generation "$wanted" 2>"$err" ||
    refuse volume "can't switch to generation $wanted of \`$project\`: $(last_line "$err")" "$up"
  sync -f /nix
fi
answer=$(
  printf '{"result":"done","project":%s,"generation":%d,"before":%d,"environment":%s,"fingerprint":%s,' \
    "$(json "$project")" "$wanted" "$before" "$(json "$path")" "$(json "$print")"
  printf '"paths":%d,"bytes":%d,"manifest":%s}' "$paths" "$bytes" "$(json "$manifest")"
)
tell "$answer"
