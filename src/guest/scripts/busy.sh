# shellcheck shell=bash disable=SC2034,SC2154 # names of lib.sh, for the scripts that source this
# Who uses the home and the store, how they are ended, and the unmount after it. Sourced after lib.sh, never run.
#
# The kernel's number of the store's device, as long as it is mounted.
store_devno=$(mountpoint --fs-devno /nix 2>"$run/untold") || store_devno=

# users_of MOUNT …: the ids of the processes that hold something of these: a working folder, a root, a program, an open
# file, a mapping; or, of the store, a mount of their own that no unmount out here reaches. Processes come and go
# meanwhile, so what fails here says nothing.
users_of() (
  trap - ERR
  set +e
  local mount private names=() maps=()
  for mount; do
    names+=(-o -lname "$mount" -o -lname "$mount/*")
    maps+=(-e " $mount/")
  done
  {
    find /proc/[0-9]*/cwd /proc/[0-9]*/exe /proc/[0-9]*/root /proc/[0-9]*/fd -maxdepth 1 \
      \( "${names[@]:1}" \) -printf '%p\n' 2>/dev/null
    grep --files-with-matches --no-messages --fixed-strings "${maps[@]}" /proc/[0-9]*/maps
    # A mount that belongs to no peer group, while ours does.
    private="^[0-9]+ [0-9]+ $store_devno [^ ]+ [^ ]+ [^ ]+ - "
    if [[ " $* " == *' /nix '* && -n $store_devno ]] && ! grep -qE "$private" /proc/self/mountinfo; then
      grep --files-with-matches --no-messages --extended-regexp "$private" /proc/[0-9]*/mountinfo
    fi
  } | cut -d/ -f3 | sort --unique --numeric-sort | while read -r pid; do
    # The daemon is ours to end.
    if [[ -e /proc/$pid ]] && ! grep --quiet --no-messages devbox-nix-daemon.service "/proc/$pid/cgroup"; then
      echo "$pid"
    fi
  done
)

# describe PID …: a JSON list. What ends meanwhile is not busy any more.
describe() (
  trap - ERR
  local sep='' pid user command
  printf '['
  for pid in "$@"; do
    command=$(tr '\0' ' ' <"/proc/$pid/cmdline" 2>/dev/null) || continue
    user=$(stat --format %U "/proc/$pid" 2>/dev/null) || continue
    printf '%s{"pid":%d,"user":%s,"command":%s}' "$sep" "$pid" "$(json "$user")" "$(json "${command:0:80}")"
    sep=,
  done
  printf ']'
)

# look MOUNT …: sets `busy` to who uses these now.
busy=()
look() { mapfile -t busy < <(users_of "$@"); }

# await_end SECONDS MOUNT …: until nobody uses these any more. Fails when the time is up.
await_end() {
  local until=$((SECONDS + $1))
  shift
  while look "$@" && ((${#busy[@]})); do
    ((SECONDS < until)) || return 1
    sleep 0.2
  done
}

# signal NAME PID …: some of them may have ended by themselves.
signal() {
  local name=$1 pid
  shift
  for pid in "$@"; do
    kill -"$name" "$pid" 2>>"$run/untold" || continue
  done
}

# end_users SECONDS MOUNT …: asks who uses these to end, and ends who still does after so long. Fails where that does
# not help; they are in `busy` then.
end_users() {
  local grace=$1 pid ignored
  shift
  look "$@"
  for pid in "${busy[@]}"; do
    # An interactive shell ignores the one, and heeds a hang-up.
    ignored=$(sed -n 's/^SigIgn:\t//p' "/proc/$pid/status" 2>/dev/null) || continue # it ended by itself
    if ((0x${ignored:-0} & 1 << 14)); then signal HUP "$pid"; else signal TERM "$pid"; fi
  done
  await_end "$grace" "$@" || {
    signal KILL "${busy[@]}"
    await_end 5 "$@"
  }
}

# tell_people TEXT: on every terminal, also where nobody keeps a list of who is logged in.
tell_people() {
  local terminal
  for terminal in /dev/pts/[0-9]*; do
    # One that nobody reads is passed over.
    printf '\r\n%s\r\n' "$1" | dd of="$terminal" oflag=nonblock conv=notrunc status=none 2>>"$run/untold" || continue
  done
}

# unmount MOUNT TRIES: every fifth of a second. Fails, and sets `why`.
why=
unmount() {
  local try
  for ((try = 0; try < $2; try++)); do
    mountpoint -q "$1" || return 0
    if why=$(umount "$1" 2>&1); then return 0; fi
    sleep 0.2
  done
  return 1
}

# release MOUNT: unmounts it, and ends who still uses it after a moment: at a shutdown most end by themselves. Fails,
# and sets `why`.
release() {
  ! unmount "$1" 10 || return 0
  look "$1"
  tell_people "devbox: this box is brought to rest; what still uses $1 in 10 s is killed"
  end_users 10 "$1" || why="$why; these can't be ended: $(describe "${busy[@]}")"
  unmount "$1" 25
}
