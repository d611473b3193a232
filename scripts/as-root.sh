#!/usr/bin/env bash
# Runs a command as root, with this environment but root's home: scripts/as-root.sh CMD...
set -euo pipefail

if ((EUID == 0)); then
    exec "$@"
fi
if ! command -v sudo >/dev/null; then
    echo "as-root: local boxes need root, and there is no \`sudo\` here: run this as root" >&2
    exit 1
fi
exec sudo --set-home --preserve-env env -u XDG_RUNTIME_DIR -u XDG_CACHE_HOME -u XDG_CONFIG_HOME -u XDG_STATE_HOME \
    PATH="$PATH" "$@"
