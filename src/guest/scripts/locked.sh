#!/bin/bash
# locked.sh < PATHS: gets store paths with just the bytes that a lock names: each line is a store path and the SHA-256 of
# its NAR in hexadecimal. What the store has already stays as it is; else the box's caches are asked, one after the other,
# and what has other bytes there is not kept. Run as root. Prints a line for each: the path, then `here`, `other`, `none`,
# or the cache it came from.
STEP=locked
. "${0%/*}/lib.sh"
trap - ERR
cd /
export NIX_REMOTE=daemon
read -ra caches < <(sed -n 's/^substituters *= *//p' /etc/nix/nix.conf)

# has PATH HASH: whether it is registered with these bytes.
has() {
  [[ $(nix-store --query --hash "$1") == "sha256:$(nix-hash --type sha256 --to-base32 "$2")" ]]
}
valid() { nix-store --check-validity "$1" 2>/dev/null; }

while read -r path hash; do
  if valid "$path"; then
    if has "$path" "$hash"; then echo "$path here"; else echo "$path other"; fi
    continue
  fi
  from=none
  for cache in "${caches[@]}"; do
    nix-store --option substituters "$cache" --option max-jobs 0 --realise "$path" >/dev/null 2>&1 || continue
    if has "$path" "$hash"; then
      from=$cache
      break
    fi
    nix-store --delete "$path" >/dev/null
  done
  echo "$path $from"
done
