#!/bin/bash
# activate.sh PROJECT ENV < MANIFEST and SHELL SCRIPT: makes ENV the current environment of
# PROJECT: a generation of its profile, which is a GC root, and the script that enters it.
# The first line of the input is the manifest. Run as root; prints the generation.
STEP=activate
. "${0%/*}/lib.sh"
. "${0%/*}/recover.sh"
trap - ERR
project=$1 env=$2
name=${env##*/}

# Exit status 74 (EX_IOERR): what was copied is not safely on the volume.
if ! why=$(store_health); then
  echo "$why" >&2
  exit 74
fi

remember_synced

IFS= read -r manifest
mkdir -p "$shells" "$profiles"
cat >"$shells/$name.sh.new"
mv "$shells/$name.sh.new" "$shells/$name.sh"

# The dev shell runs under its own bash where it has one, and talks to a person through one
# that can edit lines.
run_bash=/bin/bash talk_bash=/bin/bash
while read -r path; do
  [[ -x $path/bin/bash ]] || continue
  run_bash=$path/bin/bash
  if [[ $("$path/bin/bash" -c 'type -t bind') == builtin ]]; then
    talk_bash=$path/bin/bash
    [[ $path != *-bash-interactive-* ]] || break
  fi
done < <(nix-store --query --requisites "$env")
printf 'run_bash=%q\ntalk_bash=%q\n' "$run_bash" "$talk_bash" >"$shells/$name.conf.new"
mv "$shells/$name.conf.new" "$shells/$name.conf"

nix-env --quiet --profile "$profiles/$project" --set "$env"
link=$(readlink "$profiles/$project")
generation=${link%-link}
generation=${generation##*-}

kept=$manifests/$project
mkdir -p "$kept"
printf '%s\n' "$manifest" >"$kept/$generation.json.new"
listing "$env" >"$kept/$generation.paths.new"
# The list first: where there is a manifest, there is one.
mv "$kept/$generation.paths.new" "$kept/$generation.paths"
mv "$kept/$generation.json.new" "$kept/$generation.json"
# Its patchelf may have come with this environment.
systemctl start devbox-driver.service
echo "$generation"
