#!/bin/bash
# The NVIDIA driver's libraries for programs of Nix, on each boot, after an environment was made current, and when the
# host's libraries have changed. A box without a driver needs none, and one whose driver can't be used is a box all the
# same: what is wrong is told, and nothing else stops for it.
STEP=5-driver
. "${0%/*}/lib.sh"
err=$run/driver.err
link=${DEVBOX_DRIVER_LINK:-/run/opengl-driver}

# tell STATE DETAIL: for `facts.sh`, and for people. Nothing here is a failure of the set-up.
tell() {
  printf '%s\n' "$1" >"$run/driver.new"
  mv "$run/driver.new" "$run/driver"
  report 'done' "$2"
}
trap 'tell failed "line $LINENO of driver.sh failed: $BASH_COMMAND"; exit 0' ERR

# From what the box's Nix was seeded with, from a current environment, else the box's own.
find_patchelf() {
  local seeded=/nix/var/nix/gcroots/devbox/patchelf/bin/patchelf profile path
  if [[ -x $seeded ]]; then
    readlink --canonicalize "$seeded"
    return
  fi
  for profile in "$profiles"/*; do
    [[ $profile != *-link && -e $profile ]] || continue
    while read -r path; do
      if [[ $path == *-patchelf-* && -x $path/bin/patchelf ]]; then
        echo "$path/bin/patchelf"
        return
      fi
    done < <(nix-store --query --requisites "$profile" 2>>"$err")
  done
  type -P patchelf
}

# Two at once would be in each other's way.
exec 7>"$run/driver.lock"
flock 7
if [[ ! -r $driver/version ]]; then
  [[ ! -L $link ]] || rm "$link"
  tell none "no NVIDIA driver: nothing to do"
  exit 0
fi
version=$(driver_version "$driver/version")
if [[ -z $version ]]; then
  tell failed "there is an NVIDIA driver, and $driver/version does not say which"
  exit 0
fi
report running "NVIDIA $version"
: >"$err"
patchelf=$(find_patchelf) || patchelf=''
if ! count=$("${0%/*}/driver-copy.sh" "$version" "$patchelf" 2>>"$err"); then
  tell failed "NVIDIA $version is not there for programs of Nix: $(last_line "$err")"
elif [[ -n $patchelf ]]; then
  tell ready "NVIDIA $version, $count libraries"
else
  # They serve most of CUDA: what they open by name themselves is not found.
  tell plain "NVIDIA $version, $count libraries, which can't find one another until there is a patchelf"
fi
