#!/bin/bash
# watch.sh SECONDS [again]: prints the status of the set-up whenever it changes, one line each, until it
# is over or the time is up. Sent over ssh, since it may run before anything of ours is on the box.
# What is no status line tells why there will be none: its first line in short, then evidence.
set -euo pipefail
cd /
last='' round=0 again=${2-}

# A unit is on its way up or down.
busy() { systemctl show --property=ActiveState --value 'devbox-*.service' | grep -q activating; }
failed() { systemctl is-failed --quiet 'devbox-*.service'; }
# It was up once, and somebody has stopped it: on its way up it is inactive too, and has a job.
stopped() {
  [[ -n $now && -z $(systemctl list-jobs --no-legend 'devbox*') ]] &&
    [[ $(systemctl is-active devbox.target) == inactive ]]
}

while ((SECONDS < $1)); do
  now=''
  [[ ! -r /run/devbox/status.json ]] || now=$(</run/devbox/status.json)
  if [[ $again == again ]] && ! busy && { failed || stopped || [[ $now == *'"state":"failed"'* ]]; }; then
    # What was given up or stopped is tried once more, for what hindered it may be gone by now; so is an attempt
    # that was under way when we came, once it is over.
    again=''
    sudo find /run/devbox/steps -name '*.json' -exec grep -q '"state":"failed"' {} \; -delete
    # Never just removed: where all is up by now nobody writes it again.
    sudo bash -c '. /usr/local/lib/devbox/lib.sh && publish'
    sudo systemctl reset-failed 'devbox-*.service'
    sudo systemctl start --no-block devbox.target
  elif [[ -n $now && ! ($again == again && $now == *'"state":"failed"'*) ]]; then
    if [[ $now != "$last" ]]; then
      printf '%s\n' "$now"
      last=$now
    fi
    if [[ $now == *'"state":"failed"'* ]]; then
      exit 0
    fi
    if systemctl is-active --quiet devbox.target; then
      # What cloud-init wrote a moment ago is not on the box's disk yet: a reset would leave empty host keys and units.
      # A container's disk is its host's.
      [[ $(stat --file-system --format=%T /) == overlayfs ]] || sync -f /
      printf '%s\n' "$(</run/devbox/status.json)"
      exit 0
    fi
  fi
  # A script that fell over without a word would be waited for in vain. One that has said why meanwhile did not.
  if [[ $again != again ]] && ((++round % 20 == 0)) && failed &&
    ! grep --quiet --no-messages '"state":"failed"' /run/devbox/status.json; then
    printf 'a unit failed\n'
    sudo -n journalctl --no-pager --output=cat --lines=10 --unit='devbox-*'
    exit 0
  fi
  sleep 0.05
done
printf 'time is up\n'
cloud-init status --long || systemctl --no-pager --failed
