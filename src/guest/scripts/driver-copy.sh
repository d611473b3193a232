#!/bin/bash
# driver-copy.sh VERSION PATCHELF: the NVIDIA driver's libraries, laid where programs of Nix look for them. Prints how
# many they are, and on lines of their own what is not well: `refused LIBRARY`, which patchelf could not change;
# `mismatch VERSION`, which they are of while the kernel's part is of another. Without PATCHELF (empty) they are plain copies.
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

# cuda-on-nix.md has the list; newer drivers have more of what libcuda compiles with: libnvidia-nvvm70, libnvidia-tileiras.
# Nothing else: above all no part of glibc, no libstdc++.
names='libcuda|libcudadebugger|libnvidia-ml|libnvidia-ptxjitcompiler|libnvidia-nvvm|libnvidia-gpucomp'
names+='|libnvidia-nvvm70|libnvidia-tileiras|libnvidia-opencl|libnvidia-allocator|libnvidia-cfg|libnvcuvid|libnvidia-encode'
# The others that ldconfig lists are for programs of 32 bits.
case $(uname -m) in
  x86_64) kind=x86-64 ;;
  aarch64) kind=AArch64 ;;
  *)
    echo "no driver libraries are known for $(uname -m)" >&2
    exit 1
    ;;
esac

# Each as NAME and FILE: `	libcuda.so.1 (libc6,x86-64) => /usr/lib/x86_64-linux-gnu/libcuda.so.1`. Where ldconfig lists
# several of a name, CUDA's compatibility packages have brought some: the one of the kernel's version, else what lies beside
# that libcuda, else the first, which is the one that ld.so takes.
found=$(
  ldconfig -C "${DEVBOX_LD_CACHE:-/etc/ld.so.cache}" -p |
    sed -nE "s#^\s+(($names)\.so[.0-9]*) \(.*\b$kind\b.*\) => (/.*)\$#\1 \3#p" |
    while read -r name file; do
      if file=$(readlink --canonicalize-existing "$file"); then printf '%s %s\n' "$name" "$file"; fi
    done | awk -v version="$version" '
      { file = $0; sub(/^[^ ]* /, "", file); folder = file; sub(/[^\/]*$/, "", folder)
        exact = substr(file, length(file) - length(version) - 3) == ".so." version
        name[NR] = $1; path[NR] = file; where[NR] = folder; of[NR] = exact
        if ($1 == "libcuda.so.1" && (!home || (exact && !sure))) { home = folder; sure = exact } }
      END {
        for (i = 1; i <= NR; i++) {
          rank = of[i] ? 1 : where[i] == home ? 2 : 3
          # Of another driver than that libcuda it is no part of it.
          if (rank == 3 && sure) continue
          if (!(name[i] in best) || rank < best[name[i]]) {
            if (!(name[i] in best)) order[++n] = name[i]
            best[name[i]] = rank
            chosen[name[i]] = path[i]
          }
        }
        for (i = 1; i <= n; i++) print order[i], chosen[order[i]]
      }'
)
if [[ -z $found ]]; then
  echo "its libraries are not among those that ldconfig lists" >&2
  exit 1
fi

# tell FOLDER: how many are there, without the other names of each, and what is not well with them.
tell() {
  find "$1/lib" -type f | wc --lines
  cat "$1/remarks"
}

# NixOS has one of its own.
if [[ -e $link || -L $link ]] && [[ $(readlink "$link") != "$store"/* ]]; then
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
  tell "$link"
  exit 0
fi
libraries=$(sed -nE 's/^libcuda\.so\.1 .*\.so\.([0-9]+\.[0-9]+(\.[0-9]+)?)$/\1/p' <<<"$found")
if [[ -n $libraries && $libraries != "$version" && -r $link/made-of && $(head -n 1 "$link/made-of") == "version $version" ]]; then
  # A package has brought another driver, which the kernel takes at the next boot: what there is works until then.
  tell "$link"
  exit 0
fi

mkdir -p "$store"
new=$(mktemp --directory "$store/$version.XXXXXX")
trap 'rm -rf "$new"' EXIT
mkdir "$new/lib"
: >"$new/remarks"
[[ -z $libraries || $libraries == "$version" ]] || printf 'mismatch %s\n' "$libraries" >"$new/remarks"
while read -r name file; do
  copy=$new/lib/${file##*/}
  if [[ ! -e $copy ]]; then
    cp --reflink=auto "$file" "$copy"
    chmod 0755 "$copy"
    if [[ -n $patchelf ]] && ! "$patchelf" --set-rpath "$link/lib" "$copy"; then
      # Half of a change is none.
      cp --reflink=auto "$file" "$copy"
      printf 'refused %s\n' "${file##*/}" >>"$new/remarks"
    fi
  fi
  [[ $name == "${file##*/}" ]] || ln -s "${file##*/}" "$new/lib/$name"
done <<<"$found"
if [[ $(grep -c '^refused ' "$new/remarks") == "$(find "$new/lib" -type f | wc --lines)" ]]; then
  echo "$patchelf does not work" >&2
  exit 1
fi
printf '%s\n' "$made_of" >"$new/made-of"
chmod 0755 "$new"

# In one step, so that a program that starts meanwhile finds the old ones or the new ones.
ln -s "$new" "$store/link.$$"
mv --no-target-directory "$store/link.$$" "$link"
trap - EXIT
for other in "$store"/*; do
  [[ $other == "$new" ]] || rm -rf "$other"
done
tell "$new"
