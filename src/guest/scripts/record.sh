#!/bin/bash
# record.sh PROJECT < LINE: writes a launch down on the volume, one line of JSON each, and prints the line before it. Run
# as root.
STEP=record
. "${0%/*}/lib.sh"
trap - ERR
folder=$DEVBOX_VOLUME/devbox/launches/$DEVBOX_SYSTEM
file=$folder/$1.jsonl
IFS= read -r line
mkdir -p "$folder"
before=''
if [[ -s $file ]]; then
  before=$(tail -n 1 "$file")
  # A line that power loss cut short stays one of its own.
  [[ -z $(tail -c 1 "$file") ]] || echo >>"$file"
fi
printf '%s\n' "$line" >>"$file"
printf '%s\n' "$before"
