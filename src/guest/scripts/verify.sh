#!/bin/bash
# verify.sh PROJECT FINGERPRINT [--deep]: what is current for PROJECT, as Nix registered it, whether all of it is there,
# and with --deep whether every file of it is what was registered. Changes nothing. Run as root; prints one JSON document,
# whose listing is empty where it has this FINGERPRINT.
STEP=verify
. "${0%/*}/lib.sh"
. "${0%/*}/work.sh"
err=$(mktemp)
trap 'rm -f "$err"' EXIT
project=$1 expected=$2 deep=${3-}

# shellcheck disable=SC2016 # for people
mountpoint -q /nix ||
  refuse volume "the store image of this box is not mounted" '`devbox store status` says why, `devbox up` tries again'
current=$(current_of "$project")
# shellcheck disable=SC2016 # for people
[[ -n $current ]] || refuse differs "the project \`$project\` has no environment on this box" '`devbox up` brings it'
link=$profiles/$project-$current-link
env=$(readlink "$link")
manifest=$(manifest_of "$project" "$current" "$env")

# What is registered may have gone all the same.
gone=() print='' paths=0 bytes=0 lines=''
if nix-store --check-validity "$env" 2>"$err"; then
  lines=$(listing "$env")
  read -r paths bytes < <(awk '{ bytes += $3 } END { printf "%d %d\n", NR, bytes }' <<<"$lines")
  print=$(printf '%s\n' "$lines" | sha256sum | cut -d' ' -f1)
else
  gone+=("$env")
fi
while read -r path _; do
  [[ -z $path || -e $path || -L $path ]] || gone+=("$path")
done <<<"$lines"
[[ -e $env || ${#gone[@]} -gt 0 ]] || gone+=("$env")

script=
[[ ! -r $shells/${env##*/}.sh ]] || script=$(sha256sum <"$shells/${env##*/}.sh" | cut -d' ' -f1)

# look_at PATH: whether its files are what was registered; what Nix says where they are not.
look_at() {
  local said
  if said=$(nix-store --verify-path "$1" 2>&1); then
    printf 'whole %s\n' "$1"
  else
    printf 'damaged %s %s\n' "$1" "${said//$'\n'/ }"
  fi
}
export -f look_at
# shellcheck disable=SC2016 # for the shells that are started
each='look_at "$1"'

damaged_json='' began=$SECONDS
if [[ $deep == --deep && -n $print ]]; then
  declare -A size=()
  while read -r path _ many; do size[$path]=$many; done <<<"$lines"
  size[$env]=$(nix-store --query --size "$env")
  total=$((bytes + size[$env])) done=0 sep=''
  progress 0 "$total" bytes "reading every file"
  # The largest first, so that no processor is left with one at the end.
  while read -r verdict path why; do
    done=$((done + ${size[$path]}))
    progress "$done" "$total" bytes "${path#/nix/store/*-}"
    if [[ $verdict == damaged && " ${gone[*]} " != *" $path "* ]]; then
      damaged_json+="$sep{\"path\":$(json "$path"),\"why\":$(json "$why")}"
      sep=,
    fi
  done < <(
    for path in "${!size[@]}"; do printf '%s %s\n' "${size[$path]}" "$path"; done | sort --numeric-sort --reverse |
      cut -d' ' -f2 |
      xargs --max-procs="$(nproc)" --replace bash -c "$each" _ {}
  )
fi

shown=
[[ $print == "$expected" ]] || shown=$lines
answer=$(
  printf '{"result":"done","generation":%d,"environment":%s,"fingerprint":%s,"paths":%d,"bytes":%d,' \
    "$current" "$(json "$env")" "$(json "$print")" "$paths" "$bytes"
  printf '"manifest":%s,"script":"%s","gone":%s,"deep":%s,"seconds":%d,"damaged":[%s],"listing":[' \
    "$(json "$manifest")" "$script" "$(list "${gone[@]}")" "$([[ $deep == --deep ]] && echo true || echo false)" \
    "$((SECONDS - began))" "$damaged_json"
  awk 'NF { printf "%s\"%s\"", sep, $0; sep = "," }' <<<"$shown"
  printf ']}'
)
tell "$answer"
