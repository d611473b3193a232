#!/bin/bash
# check.sh PROJECT SECONDS COMMAND: runs a command in the dev shell of PROJECT, for so long at most. Exit status: that of
# the command, 124 when the time was up, 254 for a command's 255, which is ssh's own.
#
# Whoever waits holds our input open. When that ends nobody waits any more, and the command is ended: ssh alone would
# leave it running, on a GPU that the next one needs.
set -euo pipefail
project=$1 seconds=$2 command=$3
exec 3<&0 </dev/null

# `timeout` leads a process group of its own, and ends all of it.
timeout --kill-after=5 "$seconds" "${0%/*}/shell.sh" "$project" -c "$command" 3<&- &
work=$!
{
  while read -r -u 3 _; do :; done
  kill -TERM "$work"
} >/dev/null 2>&1 &
watch=$!
exec 3<&-

code=0
wait "$work" || code=$?
# Over by itself where nobody waits any more.
if kill "$watch" 2>/dev/null; then :; fi
((code != 255)) || code=254
exit "$code"
