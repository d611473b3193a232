#!/bin/bash
# Brings the units up, now and on each boot to come. Runs as soon as this file is written, which
# is last, and once more when cloud-init comes to its commands: that may be late, and what has been brought to rest
# meanwhile stays so.
set -euo pipefail
exec 9>/run/devbox-start.lock
flock 9
[[ ! -e /run/devbox-started ]] || exit 0

ln -sfn /usr/local/lib/devbox/shell.sh /usr/local/bin/devbox-shell
if [[ ! -e /etc/systemd/system/multi-user.target.wants/devbox.target ]]; then
  systemctl enable --quiet --no-reload devbox.target
  systemctl daemon-reload
fi
systemctl start --no-block devbox.target
: >/run/devbox-started
