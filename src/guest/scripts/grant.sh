#!/bin/bash
# grant.sh LAUNCH: what LAUNCH holds of the store image may be taken, for it is certain that it is gone; `nameless` for
# what does not say who it is.
# Only whoever can ask the provider knows that, or the user. Run as root.
STEP=grant
. "${0%/*}/lib.sh"
printf '%s\n' "$1" >"$run/lease-granted.new"
mv "$run/lease-granted.new" "$run/lease-granted"
