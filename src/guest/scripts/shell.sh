#!/bin/bash
# shell.sh [PROJECT [COMMAND …]]: enters the dev shell of PROJECT, without evaluation and without
# network. Without COMMAND it talks to a person. Without PROJECT there must be just one.
#
#   shell.sh PROJECT -c TEXT       runs TEXT as the shell's own language
#   shell.sh PROJECT -- COMMAND …  runs COMMAND, whatever it is called
set -euo pipefail
shells=/nix/var/devbox/shells
profiles=/nix/var/nix/profiles/devbox

refuse() {
  printf 'devbox: %s\nhint: %s\n' "$1" "$2" >&2
  exit 5
}

if (($# == 0)); then
  found=()
  for link in "$profiles"/*; do
    [[ $link == *-link || ! -e $link ]] || found+=("${link##*/}")
  done
  ((${#found[@]} == 1)) || refuse "this box has ${#found[@]} environments: ${found[*]}" "name one: devbox-shell PROJECT"
  set -- "${found[0]}"
fi
project=$1
shift

mountpoint -q /nix || refuse "the store image is not mounted" "devbox status says why"
env=$(readlink -f "$profiles/$project") || env=
[[ -e $env ]] || refuse "\`$project\` has no environment on this box" "devbox up brings it"
script=$shells/${env##*/}.sh
[[ -r $script ]] || refuse "the shell script of ${env##*/} is missing" "devbox up writes it again"

# A driver that came late, or was replaced without a reboot: what the kernel says now, and said when it was looked at.
now='' then=''
[[ ! -r /run/devbox/driver.of ]] || now=$(</run/devbox/driver.of)
[[ ! -r /run/devbox/driver.made ]] || then=$(</run/devbox/driver.made)
if [[ $now != "$then" ]]; then
  echo "devbox: the NVIDIA driver has changed: looking at it anew" >&2
  sudo -n systemctl start devbox-driver.service || echo "devbox: that failed: CUDA may not work" >&2
fi

run_bash=/bin/bash talk_bash=/bin/bash
# shellcheck source=/dev/null
. "$shells/${env##*/}.conf"

export DEVBOX_PROJECT=$project DEVBOX_ENVIRONMENT=$env DEVBOX_SHELL_SCRIPT=$script
# Also called through the link `devbox-shell`.
self=$(readlink -f "${BASH_SOURCE[0]}")
enter=${self%/*}/enter.sh
if (($# == 0)); then
  exec "$talk_bash" --rcfile "$enter" -i
elif [[ $1 == -c ]]; then
  # shellcheck disable=SC2016 # for the shell that is started
  exec "$run_bash" --noprofile --norc -c '. "$1"; eval "$2"' devbox "$enter" "${2-}"
else
  [[ $1 != -- ]] || shift
  # shellcheck disable=SC2016 # for the shell that is started
  exec "$run_bash" --noprofile --norc -c '. "$1"; shift; exec -- "$@"' devbox "$enter" "$@"
fi
