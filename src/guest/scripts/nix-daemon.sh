#!/bin/bash
# Waits until the Nix daemon takes connections.
STEP=nix-daemon
. "${0%/*}/lib.sh"
trap - ERR
until [[ -S /nix/var/nix/daemon-socket/socket ]]; do
  ((SECONDS < 20)) || exit 1
  sleep 0.02
done
