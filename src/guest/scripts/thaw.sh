#!/bin/bash
# Runs when work on the store has ended, however it did: a store that stays frozen would block whoever writes into it,
# half a copy would fill the volume. What was ended in good order has left nothing to do.
STEP=thaw
. "${0%/*}/lib.sh"
trap - ERR
copying=$run/copying.$INVOCATION_ID frozen=$run/frozen.$INVOCATION_ID
if [[ -e $frozen ]]; then
  rm -f "$frozen"
  fsfreeze --unfreeze /nix
fi
if [[ -e $copying ]]; then
  rm -f "$(<"$copying")" "$copying"
fi
