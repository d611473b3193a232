#!/usr/bin/env bash
# Compiles devbox and its tests for a Mac, as far as that goes without one: types and lints are
# checked, nothing is linked or run. On a Mac, `cargo clippy` does this and needs no script.
#
# Build scripts of some dependencies compile C. Nothing here reads what they make, so that a compiler
# that makes empty objects does.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

targets=(aarch64-apple-darwin x86_64-apple-darwin)

for target in "${targets[@]}"; do
    if [[ ! -d $(rustc --print sysroot)/lib/rustlib/$target ]]; then
        echo "check-mac: there is no standard library for $target (rustup target add ${targets[*]})" >&2
        exit 1
    fi
done

tools=$(mktemp -d)
trap 'rm -rf "$tools"' EXIT
cat >"$tools/cc" <<'END'
#!/bin/sh
while [ $# -gt 0 ]; do
    if [ "$1" = -o ]; then : >"$2"; fi
    shift
done
END
cat >"$tools/ar" <<'END'
#!/bin/sh
for file; do
    case $file in *.a) : >>"$file" ;; esac
done
END
chmod +x "$tools/cc" "$tools/ar"

for target in "${targets[@]}"; do
    name=${target//-/_}
    echo "check-mac: $target"
    # `SDKROOT` keeps build scripts from asking `xcrun`. Their own target folder: what they build
    # with empty objects must not be linked.
    env "CC_$name=$tools/cc" "AR_$name=$tools/ar" SDKROOT=/ CARGO_TARGET_DIR=target/check-mac \
        cargo clippy --locked --all-targets --target "$target" -- -D warnings
done
