#!/bin/bash
# missing.sh < PATHS: prints those of the store paths that this box lacks.
STEP=missing
. "${0%/*}/lib.sh"
trap - ERR
xargs --no-run-if-empty nix-store --check-validity --print-invalid
