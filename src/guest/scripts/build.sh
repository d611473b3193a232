#!/bin/bash
# build.sh PROJECT DRV JOBS CORES: realises the dev shell whose own derivation is DRV, which is on the box already. That
# goes on in a unit of its own though the connection may end; asked again for the same, this shows how it goes on, asked
# for another, ends it. Run as root. Nix's log comes on standard error, as it writes it for programs. On standard output:
# a line `ENV COUNT`, COUNT lines of registrations of its closure, and the script that enters it.
STEP=build
. "${0%/*}/lib.sh"
trap - ERR
cd /
project=$1 drv=$2 jobs=$3 cores=$4
here=$run/build/$project
unit=devbox-build-$project.service

if [[ ${5-} == --run ]]; then
  code=0
  # The links are roots: what is built is kept from the garbage collector until it is made current.
  NIX_REMOTE=daemon nix --extra-experimental-features 'nix-command flakes' print-dev-env "$drv" \
    --profile "$here/env" --log-format internal-json --max-jobs "$jobs" --cores "$cores" \
    >"$here/script" 2>"$here/log" || code=$?
  echo "$code" >"$here/code.new"
  mv "$here/code.new" "$here/code"
  exit 0
fi

works() { [[ $(systemctl show --property=ActiveState --value "$unit") == active ]]; }

# Two at once would be in each other's way; the second then sees what the first began.
mkdir -p "$run/build"
exec 7>"$run/build/$project.lock"
flock 7
asked="$drv $jobs $cores"
if ! works || [[ ! -e $here/asked || $(<"$here/asked") != "$asked" ]]; then
  ! works || systemctl stop "$unit"
  rm -rf "$here"
  mkdir -p "$here"
  : >"$here/log"
  echo "$asked" >"$here/asked"
  systemd-run --quiet --collect --unit="$unit" --description="devbox builds the dev shell of $project" \
    --property=RuntimeMaxSec=86400 --setenv=PATH="$PATH" "$0" "$@" --run
fi
flock --unlock 7

pid=$(systemctl show --property=MainPID --value "$unit")
if ((pid > 0)); then
  tail --lines=+1 --follow --sleep-interval=0.1 --pid="$pid" "$here/log" >&2
else
  cat "$here/log" >&2
fi
# It writes its exit status last.
for ((try = 0; try < 50; try++)); do
  [[ ! -e $here/code ]] || break
  works || ((try < 10)) || break
  sleep 0.1
done
if [[ ! -e $here/code ]]; then
  echo "the build on the box was ended" >&2
  exit 75
fi
code=$(<"$here/code")
((code == 0)) || exit 76

env=$(readlink -e "$here/env")
nix-store --query --requisites "$env" | xargs nix-store --dump-db >"$here/registrations"
printf '%s %d\n' "$env" "$(wc -l <"$here/registrations")"
cat "$here/registrations" "$here/script"
