#!/usr/bin/env bash
# Runs every test. Cargo runs as you; the tests themselves, which start boxes, as root.
#
# Usage: scripts/test.sh [ARGUMENTS OF cargo test]
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

scripts/fetch-hello-tools.sh
if ((EUID != 0)); then
    host=$(rustc -vV | sed -n 's/^host: //p')
    host=${host^^}
    export "CARGO_TARGET_${host//[-.]/_}_RUNNER=scripts/as-root.sh"
fi
exec cargo test --locked "$@"
