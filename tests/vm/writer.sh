#!/bin/bash
# writer.sh MARK: runs on a box, writes into the store and the home until there is a file /tmp/enough or its power goes,
# and says what is safely on the volume by then: `store PATH SHA256` once the store's filesystem was synced, `home LINE`
# once the file was.
set -euo pipefail
mark=$1
work=$(mktemp -d)

# What nobody waits for is under way at any moment.
sudo bash -euc 'mkdir -p /nix/noise
until [[ -e /tmp/enough ]]; do
    head -c $((RANDOM * 4)) /dev/urandom >"/nix/noise/$((RANDOM % 40))"
    rm -f "/nix/noise/$((RANDOM % 40))"
    sleep 0.05
done' </dev/null &

for ((n = 0; ; n++)); do
    if [[ -e /tmp/enough ]]; then break; fi
    head -c $((RANDOM * RANDOM % 1500000)) /dev/urandom >"$work/blob"
    read -r sum _ < <(sha256sum "$work/blob")
    path=$(nix-store --add "$work/blob")
    sync -f /nix
    echo "store $path $sum"
    line="$mark $n $RANDOM"
    echo "$line" >>~/lines
    sync ~/lines
    echo "home $line"
done
wait
echo "end"
