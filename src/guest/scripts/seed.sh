#!/bin/bash
# seed.sh NIX < TAR: gives the box its Nix: a tar of the store paths of its closure and, as its
# last member, their registration, the way the official tarball does it. Run as root.
STEP=seed
. "${0%/*}/lib.sh"
trap - ERR
nix=$1
into=$(mktemp --directory /nix/.seed.XXXXXX)
trap 'rm -rf "$into"' EXIT

# What is registered is whole; what is not may be half of an interrupted seed. Only a Nix that is
# installed can tell; the one in the tar may not run from where it lies now.
installed=/nix/var/nix/profiles/devbox-nix/bin/nix-store
[[ -x $installed ]] || installed=$(type -P nix-store) || installed=
is_whole() { [[ -n $installed && -e $1 ]] && "$installed" --check-validity "$1" 2>/dev/null; }

tar --extract --preserve-permissions --directory "$into"
mkdir -p /nix/store
for path in "$into"/nix/store/*; do
  kept=/nix/store/${path##*/}
  if is_whole "$kept"; then
    continue
  fi
  rm -rf "$kept"
  mv "$path" "$kept"
done
# Registered only when it is on the disk.
sync -f /nix
"$nix/bin/nix-store" --load-db <"$into/registration"
"$nix/bin/nix-env" --profile /nix/var/nix/profiles/devbox-nix --set "$nix"
# Not by restarting its unit: the target needs that, and would take store and home down with it.
"${0%/*}/nix.sh"
systemctl restart devbox-nix-daemon.service
