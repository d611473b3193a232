# shellcheck shell=bash disable=SC2034,SC2154 # names of lib.sh, for and of nix.sh
# After an end that was no rest. Nix registers what it adds before the kernel has written all of it, so a crash may
# leave store paths that are registered and not whole. Sourced by store.sh and nix.sh, while no daemon runs.
known=/nix/var/devbox/synced

# repairs LOG: what `e2fsck -p` did beyond what it does after any crash. Some versions (1.47.0) exit with 1 for having
# cleared a flag, and the whole store need not be read for that.
repairs() {
  awk '
    /recovering journal$|: Clearing orphaned inode |: clean, |: [0-9]+\/[0-9]+ files / { next }
    /superblock features different from backup, check forced\.$/ { next }
    /^Overwriting existing filesystem; this can be undone|^ *e2undo / { next }
    /Feature orphan_present is set but orphan file is clean/ { flag = 1; next }
    flag && /^CLEARED\.$/ { flag = 0; next }
    NF' "$1"
}

# valid_paths: every store path that Nix takes for whole, sorted.
valid_paths() {
  nix --extra-experimental-features nix-command path-info --all | LC_ALL=C sort
}

# remember_synced: what is valid now is on the disk, and need not be looked at after a crash.
remember_synced() {
  local paths
  paths=$(valid_paths)
  sync -f /nix
  mkdir -p "${known%/*}"
  printf '%s\n' "$paths" >"$known.new"
  mv "$known.new" "$known"
}

# leftovers: what lies in the store and is no valid path: half of what was being added.
leftovers() {
  local file
  local -a paths=()
  for file in /nix/store/* /nix/store/.[!.]*; do
    case ${file##*/} in
      '*' | '.[!.]*' | .links) ;;
      [0-9a-z]*-*)
        # A lock file has the name of its path.
        if [[ ${file##*/} =~ ^[0-9a-z]{32}-[^/]+$ && $file != *.lock && $file != *.lock.lock ]]; then
          paths+=("$file")
        else
          printf '%s\n' "$file"
        fi
        ;;
      *) printf '%s\n' "$file" ;;
    esac
  done
  printf '%s\n' "${paths[@]}" | xargs --no-run-if-empty nix-store --check-validity --print-invalid
}

# throw_away PATH …: these, and what refers to them and is nothing without them. Sets `thrown`.
throw_away() {
  local all
  all=$(nix-store --query --referrers-closure "$@") || return
  mapfile -t thrown < <(LC_ALL=C sort --unique <<<"$all")
  nix-store --delete --ignore-liveness "${thrown[@]}"
}

# recover: throws away what is not whole. Says what it did in `recovered`.
recover() {
  local path left=0 looked=0
  local -a bad=()
  while read -r path; do
    [[ -n $path ]] || continue
    rm -rf "$path"
    left=$((left + 1))
  done < <(leftovers)
  # Forgets what is registered and not there.
  if ! nix-store --verify >"$err" 2>&1; then
    report running "Nix's database after the crash: $(last_line "$err")"
  fi
  if [[ ! -e $known ]]; then
    mkdir -p "${known%/*}"
    : >"$known"
  fi
  while read -r path; do
    looked=$((looked + 1))
    report running "looking at what was written last: $looked"
    nix-store --verify-path "$path" 2>"$err" || bad+=("$path")
  done < <(comm -23 <(valid_paths) "$known")
  # `up` brings it again.
  if ((${#bad[@]})); then
    throw_away "${bad[@]}" >"$err" 2>&1 ||
      fail "store paths are not whole and can't be thrown away: $(last_line "$err")" "devbox store check tells more"
  fi
  recovered="$looked paths of before a crash looked at, ${#bad[@]} thrown away, $left leftovers"
}
