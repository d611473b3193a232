#!/bin/bash
# The NVIDIA driver's libraries for programs of Nix, on each boot, after an environment was made current, when the host's
# libraries have changed, and when a shell is entered and the kernel's part is another. A box without a driver needs none, and one whose driver can't be used is a box all the
# same: what is wrong is told, and nothing else stops for it.
STEP=5-driver
. "${0%/*}/lib.sh"
err=$run/driver.err
link=${DEVBOX_DRIVER_LINK:-/run/opengl-driver}
store=${DEVBOX_DRIVER_STORE:-/var/lib/devbox/driver}

# tell STATE DETAIL: for `facts.sh`, and for people. Nothing here is a failure of the set-up.
tell() {
  printf '%s\n' "$1" >"$run/driver.new"
  mv "$run/driver.new" "$run/driver"
  report 'done' "$2"
}
trap 'tell failed "line $LINENO of driver.sh failed: $BASH_COMMAND"; exit 0' ERR

# From a current environment, else the box's own.
find_patchelf() {
  local profile path
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

# has_gpu: whether there is an NVIDIA GPU on the bus, driver or not.
has_gpu() {
  local device
  for device in "${DEVBOX_PCI:-/sys/bus/pci/devices}"/*; do
    [[ -r $device/vendor && -r $device/class ]] || continue
    [[ $(<"$device/vendor") != 0x10de || $(<"$device/class") != 0x03* ]] || return 0
  done
  return 1
}

# Two at once would be in each other's way.
exec 7>"$run/driver.lock"
flock 7
ln -sfn "$driver/version" "$run/driver.of"
# The kernel's part may be on its way yet. Without the libraries nothing brings it.
if [[ ! -r $driver/version ]] && has_gpu && ldconfig -C "${DEVBOX_LD_CACHE:-/etc/ld.so.cache}" -p | grep --quiet libcuda; then
  report running "waiting for the NVIDIA driver"
  until [[ -r $driver/version ]]; do
    if ((SECONDS >= ${DEVBOX_DRIVER_WAIT:-60})); then
      rm -f "$run/driver.made"
      tell unloaded "there is an NVIDIA GPU, and its driver is not loaded"
      exit 0
    fi
    sleep 0.2
  done
fi
if [[ ! -r $driver/version ]]; then
  rm -f "$run/driver.made"
  [[ $(readlink "$link") != "$store"/* ]] || rm "$link"
  tell none "no NVIDIA driver: nothing to do"
  exit 0
fi
# First: what fails here is told once, and not tried again by every shell that is entered.
cat "$driver/version" >"$run/driver.made"
version=$(driver_version "$driver/version")
if [[ -z $version ]]; then
  tell failed "there is an NVIDIA driver, and $driver/version does not say which"
  exit 0
fi
report running "NVIDIA $version"
: >"$err"
patchelf=$(find_patchelf) || patchelf=''
if ! made=$("${0%/*}/driver-copy.sh" "$version" "$patchelf" 2>>"$err"); then
  tell failed "NVIDIA $version is not there for programs of Nix: $(last_line "$err")"
  exit 0
fi
{ read -r count && read -r remark what; } <<<"$made"$'\n'
case $remark in
  mismatch) tell mismatch "the kernel has NVIDIA $version, and the libraries are of $what" ;;
  refused) tell refused "NVIDIA $version, $count libraries, and $what can't find the others: $(last_line "$err")" ;;
  *)
    if [[ -n $patchelf ]]; then
      tell ready "NVIDIA $version, $count libraries"
    else
      # They serve most of CUDA: what they open by name themselves is not found.
      tell plain "NVIDIA $version, $count libraries, which can't find one another until there is a patchelf"
    fi
    ;;
esac
