#!/bin/bash
# checked.sh PROJECT [STATE KEY [COMMAND]]: remembers how the checks of PROJECT stand, until the next boot: `running`,
# `passed` or `failed` for what KEY stands for. Without STATE nothing is remembered. Run as root.
STEP=checked
. "${0%/*}/lib.sh"
trap - ERR
kept=$run/checks/$1.json
mkdir -p "${kept%/*}"
if (($# == 1)); then
  rm -f "$kept"
else
  printf '{"state":"%s","key":%s,"command":%s}\n' "$2" "$(json "$3")" "$(json "${4-}")" >"$kept.new"
  mv "$kept.new" "$kept"
fi
