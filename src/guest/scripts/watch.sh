#!/bin/bash
# watch.sh SECONDS [again]: prints the status of the set-up whenever it changes, one line each, until it
# is over or the time is up. Sent over ssh, since it may run before anything of ours is on the box.
# What is no status line tells why there will be none: its first line in short, then evidence.
set -euo pipefail
cd /
last='' round=0
# With `again`, a step that was given up is tried once more: what hindered it may be gone by now.
if [[ ${2-} == again ]] && systemctl is-failed --quiet 'devbox-*.service'; then
  sudo rm -f /run/devbox/status.json
  sudo find /run/devbox/steps -name '*.json' -exec grep -q '"state":"failed"' {} \; -delete
  sudo systemctl reset-failed 'devbox-*.service'
  sudo systemctl start --no-block devbox.target
fi
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
  # A script that fell over without a word would be waited for in vain.
  if ((++round % 20 == 0)) && systemctl is-failed --quiet 'devbox-*.service'; then
    printf 'a unit failed\n'
    sudo -n journalctl --no-pager --output=cat --lines=10 --unit='devbox-*'
    exit 0
  fi
  sleep 0.05
done
printf 'time is up\n'
cloud-init status --long || systemctl --no-pager --failed
