# shellcheck shell=bash disable=SC2034 # the scripts that source this use what it names
# What the scripts of the box share. Sourced, never run. Each script names its STEP first.
#
# A step reports into /run/devbox/steps/STEP.json; all steps together, in order, are
# /run/devbox/status.json, which `devbox up` shows live.
set -euo pipefail

# shellcheck source=/dev/null
. "${DEVBOX_ENV-/etc/devbox/box.env}"

run=${DEVBOX_RUN-/run/devbox}
stores=$DEVBOX_VOLUME/devbox/stores
image=$stores/$DEVBOX_SYSTEM.img
lock=$stores/$DEVBOX_SYSTEM.lock
# Of this store image: that of another architecture counts its generations by itself.
manifests=$DEVBOX_VOLUME/devbox/generations/$DEVBOX_SYSTEM
profiles=/nix/var/nix/profiles/devbox
shells=/nix/var/devbox/shells
# What the kernel tells of an NVIDIA driver.
driver=${DEVBOX_DRIVER:-/proc/driver/nvidia}

# The text as a JSON string.
json() {
  local text=$1
  text=${text//\\/\\\\}
  text=${text//\"/\\\"}
  text=${text//[$'\t\r\n']/ }
  text=${text//[$'\001'-$'\037']/}
  printf '"%s"' "$text"
}

uptime_s() {
  local up _
  read -r up _ </proc/uptime
  printf %s "$up"
}

# report STATE DETAIL [HINT]: STATE is running, done or failed. HOLDER is the launch that is waited for, if one is.
report() {
  mkdir -p "$run/steps"
  printf '{"step":%s,"state":"%s","detail":%s,"hint":%s,"holder":%s,"uptime":%s}' \
    "$(json "${STEP#*-}")" "$1" "$(json "$2")" "$(json "${3-}")" "$(json "${HOLDER-}")" "$(uptime_s)" \
    >"$run/steps/$STEP.new"
  mv "$run/steps/$STEP.new" "$run/steps/$STEP.json"
  printf '%s: %s: %s\n' "$STEP" "$1" "$2" >&2
  publish
}

# withdraw: the step is undone, and nothing is said of it any more.
withdraw() {
  rm -f "$run/steps/$STEP.json"
  publish
}

# All steps together.
publish() {
  (
    flock 8
    local sep='' file text
    {
      printf '{"steps":['
      for file in "$run"/steps/*.json; do
        # One that is withdrawn meanwhile is none, and no reason to fall over.
        text=$(cat "$file" 2>"$run/status.err") || continue
        printf '%s%s' "$sep" "$text"
        sep=,
      done
      printf ']}\n'
    } >"$run/status.new"
    mv "$run/status.new" "$run/status.json"
  ) 8>"$run/status.lock"
}

# fail MESSAGE [HINT]: the step is over, and says why.
fail() {
  trap - ERR
  report failed "$@"
  exit 1
}

# last_line FILE: what a tool said last.
last_line() {
  grep '[^[:space:]]' "$1" | tail -n 1
}

# store_errors: fails, and says why, when the kernel has met an error in the store's filesystem since it was mounted.
store_errors() {
  local device
  device=$(findmnt --noheadings --first-only --output SOURCE /nix)
  if [[ $(<"/sys/fs/ext4/${device##*/}/errors_count") != 0 ]]; then
    echo "the filesystem of the store image met errors, most likely because the volume is full"
    return 1
  fi
  if [[ ,$(findmnt --noheadings --first-only --output OPTIONS /nix), == *,ro,* ]]; then
    echo "the store image has become read-only"
    return 1
  fi
}

# store_health: the same of what is on its way there too: then what was written may not be on the volume, whatever Nix's
# database says.
store_health() {
  local why
  # syncfs(2) reports the errors of earlier writes, sync(2) would not.
  if ! why=$(sync -f /nix 2>&1) && store_errors; then
    echo "the store image can't be written: $why"
    return 1
  fi
  store_errors
}

# driver_version FILE: the version that the NVIDIA driver gives itself in /proc/driver/nvidia/version; nothing where
# there is none. The open kernel modules word the line differently.
driver_version() {
  sed -nE '/^NVRM version:/ { s/^.*[[:space:]]([0-9]+\.[0-9]+(\.[0-9]+)?)([[:space:]].*)?$/\1/p; q }' "$1"
}

# A command that no script expected to fail.
trap 'fail "line $LINENO of ${BASH_SOURCE[0]##*/} failed: $BASH_COMMAND"' ERR

# listing ENV: a line `STORE-PATH sha256:HASH SIZE` for each path that ENV refers to, sorted, without ENV itself, whose
# path depends on the version of Nix that wrote it.
listing() {
  # A registration is: path, hash, size, deriver, number of references, the references.
  nix-store --query --requisites "$1" | xargs nix-store --dump-db | awk -v skip="$1" '
    { path = $0; getline hash; getline size; getline; getline count
      for (i = 0; i < count; i++) getline
      if (path != skip) print path " sha256:" hash " " size }' | LC_ALL=C sort
}

# fingerprint ENV: the number of paths in its listing, their bytes, and the SHA-256 of the listing.
fingerprint() {
  local listing
  listing=$(listing "$1")
  printf '%s\n' "$listing" | awk '{ bytes += $3 } END { printf "%d %d ", NR, bytes }'
  printf '%s\n' "$listing" | sha256sum | cut -d' ' -f1
}
