#!/bin/bash
# driver-copy.sh VERSION PATCHELF: the NVIDIA driver's libraries, laid where programs of Nix look for them. Prints how
# many they are. Without PATCHELF (empty) they are plain copies.
#
# nixpkgs puts /run/opengl-driver/lib first on the RUNPATH of what uses CUDA. The host's own library folder would bring
# its glibc along, which breaks such programs; so a folder with the driver's libraries and nothing else. They open one
# another by name, and a RUNPATH counts for the object that has it alone: so copies, each with that folder as its own.
#
# Where things are can be said by variables, for tests:
#   DEVBOX_LD_CACHE   the cache of ld.so, that ldconfig lists (/etc/ld.so.cache)
#   DEVBOX_DRIVER_LINK   what becomes a link to the copies (/run/opengl-driver)
#   DEVBOX_DRIVER_STORE  where the copies are (/var/lib/devbox/driver). Not in /run, which Ubuntu mounts noexec.
set -euo pipefail
shopt -s inherit_errexit
PATH=$PATH:/usr/sbin:/sbin
version=$1 patchelf=$2
link=${DEVBOX_DRIVER_LINK:-/run/opengl-driver}
store=${DEVBOX_DRIVER_STORE:-/var/lib/devbox/driver}

# cuda-on-nix.md has the list. Nothing else: above all no part of glibc, no libstdc++.
names='libcuda|libcudadebugger|libnvidia-ml|libnvidia-ptxjitcompiler|libnvidia-nvvm|libnvidia-gpucomp'
names+='|libnvidia-opencl|libnvidia-allocator|libnvidia-cfg|libnvcuvid|libnvidia-encode'
# The others that ldconfig lists are for programs of 32 bits.
case $(uname -m) in
  x86_64) kind=x86-64 ;;
  aarch64) kind=AArch64 ;;
  *)
    echo "no driver libraries are known for $(uname -m)" >&2
    exit 1
    ;;
esac

# Each as NAME and FILE: `	libcuda.so.1 (libc6,x86-64) => /usr/lib/x86_64-linux-gnu/libcuda.so.1`. The first that
# ldconfig lists is the one that ld.so takes.
found=$(ldconfig -C "${DEVBOX_LD_CACHE:-/etc/ld.so.cache}" -p |
  sed -nE "s#^\s+(($names)\.so[.0-9]*) \(.*\b$kind\b.*\) => (/.*)\$#\1 \3#p" | awk '!seen[$1]++')
if [[ -z $found ]]; then
  echo "its libraries are not among those that ldconfig lists" >&2
  exit 1
fi

# Without the other names of each.
count() { find "$1/lib" -type f | wc --lines; }

if [[ -e $link && ! -L $link ]]; then
  echo "$link is there, and is not devbox's" >&2
  exit 1
fi

# What the copies are made of: made anew when any of it changes.
made_of=$(
  printf 'version %s\nrunpath %s/lib by %s\n' "$version" "$link" "${patchelf:-nothing}"
  while read -r name file; do
    stat --dereference --format="$name %s %Y $file" "$file"
  done <<<"$found"
)
if [[ -r $link/made-of && $(<"$link/made-of") == "$made_of" ]]; then
  count "$link"
  exit 0
fi

mkdir -p "$store"
new=$(mktemp --directory "$store/$version.XXXXXX")
trap 'rm -rf "$new"' EXIT
mkdir "$new/lib"
while read -r name file; do
  file=$(readlink --canonicalize-existing "$file")
  copy=$new/lib/${file##*/}
  if [[ ! -e $copy ]]; then
    cp --reflink=auto "$file" "$copy"
    chmod 0755 "$copy"
    if [[ -n $patchelf ]]; then
      "$patchelf" --set-rpath "$link/lib" "$copy"
    fi
  fi
  [[ $name == "${file##*/}" ]] || ln -s "${file##*/}" "$new/lib/$name"
done <<<"$found"
printf '%s\n' "$made_of" >"$new/made-of"
chmod 0755 "$new"

# In one step, so that a program that starts meanwhile finds the old ones or the new ones.
ln -s "$new" "$store/link.$$"
mv --no-target-directory "$store/link.$$" "$link"
trap - EXIT
for other in "$store"/*; do
  [[ $other == "$new" ]] || rm -rf "$other"
done
count "$new"
