# shellcheck shell=bash disable=SC2034,SC2154 # names of lib.sh, for the scripts that source this
# What the commands share that work on the store: one of them at a time on a box; lines of progress; the answer, which
# is the last line. Sourced after lib.sh, never run.
#
#   {"progress":{"done":1,"total":9,"unit":"items","detail":"…"}}
#   {"result":"done",…}
#   {"result":"refused","kind":"usage","why":"…","hint":"…","lines":["…"]}
set -E
cd /
err=$run/$STEP.err
# What tools print is no answer.
exec 3>&1 1>&2

# tell LINE: whoever asked may be gone by now, which is no reason to stop half-way.
heard=yes
tell() { printf '%s\n' "$1" >&3 2>"$run/untold" || heard=no; }

# progress DONE TOTAL UNIT DETAIL: a TOTAL of 0 is not known.
progress() {
  tell "{\"progress\":{\"done\":$1,\"total\":$2,\"unit\":\"$3\",\"detail\":$(json "$4")}}"
}

# doing DETAIL: progress where nothing can be counted.
doing() { progress 0 0 items "$1"; }

# list TEXT …: a JSON list.
list() {
  local sep='' text
  printf '['
  for text in "$@"; do
    printf '%s%s' "$sep" "$(json "$text")"
    sep=,
  done
  printf ']'
}

# What a refusal shows below its message.
evidence=()

# refuse KIND WHY [HINT]: the answer is no. KIND is usage, guest, volume or differs. `undo` is a command that puts back
# what has to be put back first.
undo=
refuse() {
  trap - ERR
  if ((BASH_SUBSHELL > 0)); then
    printf '%s\n' "$2" >&2
    exit 1
  fi
  local last=$undo
  undo=
  [[ -z $last ]] || "$last"
  tell "{\"result\":\"refused\",\"kind\":\"$1\",\"why\":$(json "$2"),\"hint\":$(json "${3-}"),\"lines\":$(list "${evidence[@]}")}"
  exit 0
}

# These are lib.sh's for a step of the set-up: here nobody watches one.
fail() { refuse volume "$@"; }
report() { doing "$2"; }

# begin COMMAND: from here on no other command works on the store of this box.
begin() {
  exec 7>>"$run/work.lock"
  local what
  if ! flock --nonblock 7; then
    # shellcheck disable=SC2016 # for people
    read -r _ what <"$run/work"
    refuse guest "\`$what\` is at work on this box" 'wait for it: it goes on though its connection may have ended'
  fi
  printf '%d %s\n' "$$" "$1" >"$run/work"
}

# human BYTES: as people read them.
human() { numfmt --to=iec-i --suffix=B --format=%.1f "$1"; }

# real_size FILE: what it takes on the volume. Opened for it, as a file server may have newer news than we remember.
real_size() { echo $(($(stat --format %b - <"$1") * 512)); }

# df_of FIELD PLACE: size, used or avail of a filesystem in bytes.
df_of() { df --output="$1" --block-size=1 "$2" | tail -n 1 | tr -d ' '; }

# store_device: what is mounted at /nix.
store_device() { findmnt --noheadings --first-only --output SOURCE /nix; }

# kernel_errors: how many errors the kernel has met in the filesystem of the store since e2fsck looked at it.
kernel_errors() {
  local device
  device=$(store_device)
  cat "/sys/fs/ext4/${device##*/}/errors_count"
}

# text_of FILE: a file that others wrote, as a JSON string; null where there is none.
text_of() {
  if [[ -r $1 ]]; then json "$(<"$1")"; else printf null; fi
}

# superblock FILE: reads it for `field`.
superblock() {
  dumpe2fs -h "$1" >"$run/$STEP.superblock" 2>"$err"
}
field() { sed -n "s/^$1: *//p" "$run/$STEP.superblock"; }

# need_store: most of what there is to do needs it mounted.
need_store() {
  # shellcheck disable=SC2016 # for people
  mountpoint -q /nix ||
    refuse volume "the store image of this box is not mounted" '`devbox store status` says why, `devbox store check` looks at it, `devbox up` tries again'
  # What was written last may be lost, and what else is written may not come to more.
  # shellcheck disable=SC2016 # for people
  why=$(store_health) ||
    refuse volume "$why; the volume has $(human "$(df_of avail "$DEVBOX_VOLUME")") free" \
      'make room on the volume (`devbox store snapshot --delete NAME`), then `devbox down --force` and `devbox up`: the store comes back as it was when it was last synced'
}

# each_generation: `PROJECT N PATH` for each generation of this store, as its profiles have them.
each_generation() {
  local link name project
  for link in "$profiles"/*-link; do
    name=${link##*/}
    [[ -L $link ]] || continue
    [[ $name =~ ^(.+)-([0-9]+)-link$ ]] || continue
    project=${BASH_REMATCH[1]}
    # A project may itself be called so: its profile leads to a generation, not into the store.
    name=$(readlink "$link")
    [[ $name == /nix/store/* ]] || continue
    printf '%s %s %s\n' "$project" "${BASH_REMATCH[2]}" "$name"
  done | sort --key=1,1 --key=2,2n
}

# current_of PROJECT: the number of its current generation; nothing where there is none.
current_of() {
  local link
  link=$(readlink "$profiles/$1") || return 0
  link=${link%-link}
  printf '%s' "${link##*-}"
}

# manifest_of PROJECT N PATH: what the volume remembers of a generation. A manifest of another environment is left
# from a store image that is not this one any more.
manifest_of() {
  local file=$manifests/$1/$2.json
  if [[ -r $file ]] && grep --quiet --fixed-strings "\"environment\":\"$3\"" "$file"; then
    cat "$file"
  fi
}

# lease_now: takes the lease or refuses, for what works on an image that is not mounted. Needs lease.sh.
lease_now() {
  DEVBOX_LEASE_WAIT=0
  if [[ $(systemctl show --property=ActiveState --value devbox-store.service) == activating &&
    $(holder_says launch) == "$DEVBOX_LAUNCH" ]]; then
    refuse guest "this box is just about to mount its store image" "try again in a moment"
  fi
  take_lease
}

# lease_over: what lease_now took.
lease_over() {
  give_back
  exec 9>&-
}

# bring_up: starts all units again. Fails where they do not come up; `down_because` is what the step said that failed.
bring_up() {
  local file
  for file in "$run"/steps/*.json; do
    [[ ! -e $file ]] || ! grep --quiet '"state":"failed"' "$file" || rm -f "$file"
  done
  publish
  systemctl reset-failed 'devbox-*.service'
  # The units have deadlines of their own.
  if systemctl start devbox.target 2>"$err"; then return 0; fi
  down_because=$(sed -n 's/.*"state":"failed","detail":"\(.*\)","hint":.*/\1/p' "$run"/steps/*.json)
  down_because=${down_because:-$(last_line "$err")}
  return 1
}
