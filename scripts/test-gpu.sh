#!/usr/bin/env bash
# The step `devbox-driver` with a real NVIDIA driver, and a real CUDA call through what it makes. Opt-in: it needs a machine
# with an NVIDIA GPU and its driver; no root, no CUDA toolkit. It changes nothing of the machine: all it makes is in
# `target/test-gpu`.
#
# Usage: scripts/test-gpu.sh
# Exit status: 0 it works, 77 there is no NVIDIA driver or no GPU here, 1 anything else.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
PATH=$PATH:/usr/sbin:/sbin

proc=${DEVBOX_DRIVER:-/proc/driver/nvidia}
if [[ ! -r $proc/version ]]; then
    echo "test-gpu: there is no NVIDIA driver on this machine (no $proc/version): nothing was tested" >&2
    exit 77
fi
for tool in cc patchelf ldconfig; do
    if ! command -v "$tool" >/dev/null; then
        echo "test-gpu: \`$tool\` is missing; \`make deps\` installs it" >&2
        exit 1
    fi
done

work=${TEST_GPU_FOLDER:-$PWD/target/test-gpu}
rm -rf "$work"
mkdir -p "$work/run"
link=$work/opengl-driver
# As on a box, but for where things are.
cat >"$work/box.env" <<END
DEVBOX_BOX=here DEVBOX_LAUNCH=none DEVBOX_SYSTEM=none DEVBOX_VOLUME=/nonexistent
export DEVBOX_RUN=$(printf %q "$work/run") DEVBOX_DRIVER=$(printf %q "$proc")
export DEVBOX_DRIVER_LINK=$(printf %q "$link") DEVBOX_DRIVER_STORE=$(printf %q "$work/store")
END
DEVBOX_ENV=$work/box.env src/guest/scripts/driver.sh
state=$(<"$work/run/driver")
if [[ $state != ready ]]; then
    echo "test-gpu: the step ended as \`$state\`, not as \`ready\`" >&2
    exit 1
fi
echo "copies     $(find "$link/lib" -type f | wc -l), $(du -shL "$link/lib" | cut -f1) with their other names"

cc -Wall -Werror -o "$work/cuda" -Wl,--enable-new-dtags,-rpath,"$link/lib" tests/gpu/cuda.c -ldl
# What was compiled from PTX before would not be compiled again.
env -u LD_LIBRARY_PATH CUDA_CACHE_DISABLE=1 "$work/cuda" "$link/lib"
echo "test-gpu: it works"
