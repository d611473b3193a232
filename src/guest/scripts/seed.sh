#!/bin/bash
# seed.sh NIX < TAR: gives the box its Nix: a tar of the store paths of its closure and, as its
# last member, their registration, the way the official tarball does it. Run as root.
STEP=seed
. "${0%/*}/lib.sh"
trap - ERR
nix=$1
into=$(mktemp --directory /nix/.seed.XXXXXX)
trap 'rm -rf "$into"' EXIT

tar --extract --preserve-permissions --directory "$into"
mkdir -p /nix/store
for path in "$into"/nix/store/*; do
  kept=/nix/store/${path##*/}
  # What is registered is whole; what is not may be half of an interrupted seed.
  if [[ -e $kept ]] && "$into$nix/bin/nix-store" --check-validity "$kept" 2>/dev/null; then
    continue
  fi
  rm -rf "$kept"
  mv "$path" "$kept"
done
"$nix/bin/nix-store" --load-db <"$into/registration"
"$nix/bin/nix-env" --profile /nix/var/nix/profiles/devbox-nix --set "$nix"
systemctl restart devbox-nix.service
systemctl restart devbox-nix-daemon.service
