#!/bin/bash
# watch.sh SECONDS: prints the status of the set-up whenever it changes, one line each, until it
# is over or the time is up. Sent over ssh, since it may run before anything of ours is on the box.
set -euo pipefail
cd /
last=
while ((SECONDS < $1)); do
  if [[ -r /run/devbox/status.json ]]; then
    now=$(</run/devbox/status.json)
    if [[ $now != "$last" ]]; then
      printf '%s\n' "$now"
      last=$now
    fi
    if [[ $now == *'"state":"failed"'* ]]; then
      exit 0
    fi
    if systemctl is-active --quiet devbox.target; then
      printf '%s\n' "$(</run/devbox/status.json)"
      exit 0
    fi
  fi
  sleep 0.05
done
printf 'time is up\n'
cloud-init status --long || systemctl --no-pager --failed
