# shellcheck shell=bash disable=SC2034,SC2154 # names of lib.sh, for and of store.sh
# The lease: one guest writes a StoreImage. Sourced, never run.
#
# Whoever holds it has a flock on `SYSTEM.lock` and has written `SYSTEM.holder`, which goes away with a clean end:
# one that is found without its flock tells that its box did not come to rest. Where flocks stay within one host
# that file alone is the lease, and no guest takes it from another by itself: `up` grants it (grant.sh), after the
# provider has said that the holder is gone.
holder=$stores/$DEVBOX_SYSTEM.holder
granted=$run/lease-granted

# lease_kind: `flock` where the volume's filesystem carries locks to its other clients or has none, else `text`;
# then the filesystem.
lease_kind() {
  local type options kind=text
  read -r type options < <(findmnt --noheadings --first-only --output FSTYPE,OPTIONS --target "$DEVBOX_VOLUME")
  case $type in
    ext[234] | xfs | btrfs | tmpfs | zfs | f2fs | overlay | ceph | gfs2 | ocfs2) kind=flock ;;
    # `nolock` shows as `local_lock=all` too.
    nfs | nfs4) [[ ,$options, =~ ,(nolock|local_lock=(all|flock)), ]] || kind=flock ;;
    lustre) [[ ,$options, != *,flock,* ]] || kind=flock ;;
  esac
  [[ $DEVBOX_LEASE == auto ]] || kind=$DEVBOX_LEASE
  printf '%s %s\n' "$kind" "$type"
}

# said_in FILE KEY: a value of a holder's file; nothing where there is none, or no such file.
said_in() {
  [[ ! -f $1 ]] || sed -n "s/.*\"$2\":\"\\([^\"]*\\)\".*/\\1/p" "$1" | head -n 1
}

# holder_says KEY: a value of the holder's file; nothing where there is no holder.
holder_says() { said_in "$holder" "$1"; }

# holder_words: who holds it, for a person.
holder_words() {
  local box launch since
  box=$(holder_says box) launch=$(holder_says launch) since=$(holder_says since)
  if [[ -n $launch ]]; then
    # shellcheck disable=SC2016 # for people
    printf 'the box `%s` (launch %s, since %s)' "$box" "$launch" "$since"
  else
    printf 'a box that has not said who it is'
  fi
}

# write_holder: this box holds it now. Fails where somebody does already.
write_holder() {
  local new=$holder.new.$DEVBOX_LAUNCH instance=''
  [[ ! -r /var/lib/cloud/data/instance-id ]] || instance=$(</var/lib/cloud/data/instance-id)
  printf '{"box":%s,"launch":%s,"instance":%s,"host":%s,"boot":%s,"since":%s,"lease":%s}\n' \
    "$(json "$DEVBOX_BOX")" "$(json "$DEVBOX_LAUNCH")" "$(json "$instance")" "$(json "$HOSTNAME")" \
    "$(json "$(</proc/sys/kernel/random/boot_id)")" "$(json "$(date -u +%FT%TZ)")" "$(json "$1")" >"$new"
  sync "$new"
  # A link is made as a whole or not at all, also between hosts.
  local made=0
  ln -T "$new" "$holder" 2>"$err" || made=$?
  rm -f "$new"
  return "$made"
}

# take_lease: returns when this box has the lease. Sets `lease`, `fstype`, and `unclean` where the last holder did not
# come to rest.
take_lease() {
  local patience=$DEVBOX_LEASE_WAIT
  read -r lease fstype < <(lease_kind)
  unclean=
  report running "taking the lease"
  { exec 9<>"$lock"; } 2>"$err" || fail "can't open the lease $lock: $(last_line "$err")" "the volume must be writable"
  until flock --nonblock 9; do
    wait_for_holder "$patience"
  done
  # The flock is ours: whoever shares it with us is gone. Where it says nothing of other hosts, the file does.
  while ! write_holder "$lease"; do
    [[ -e $holder ]] || fail "can't write the lease $holder: $(last_line "$err")" "the volume must be writable"
    local launch
    launch=$(holder_says launch)
    if [[ $lease == flock || $launch == "$DEVBOX_LAUNCH" || ${launch:-nameless} == "$(cat "$granted" 2>"$err")" ]]; then
      unclean=$(holder_words)
      # Renamed, so that of two that take it one has it.
      mv -T "$holder" "$holder.$DEVBOX_LAUNCH" 2>"$err" || continue
      [[ $(said_in "$holder.$DEVBOX_LAUNCH" launch) == "$launch" ]] || {
        mv -T "$holder.$DEVBOX_LAUNCH" "$holder"
        continue
      }
      rm -rf "$holder.$DEVBOX_LAUNCH"
    elif [[ -z $launch ]]; then
      # Nobody can ask a provider about it.
      # shellcheck disable=SC2016 # for people
      fail "the lease $holder does not say who has the store image" 'if it is certain that no box has it: `devbox store unlock --force`'
    else
      wait_for_holder "$patience"
    fi
  done
}

# wait_for_holder SECONDS: a moment, or fails when the time is up. `up` reads who it is, and may know that it is gone.
wait_for_holder() {
  local words
  words=$(holder_words)
  HOLDER=$(holder_says launch)
  ((SECONDS < $1)) ||
    fail "the store image is in use by $words" "end that box first: devbox status; if it is certain that it is gone: devbox store unlock --force"
  report running "the store image is in use by $words: waiting"
  sleep 0.5
}

# give_back: the store is unmounted, and all of it is on the volume.
give_back() {
  sync -f "$stores"
  if [[ $(holder_says launch) == "$DEVBOX_LAUNCH" ]]; then
    rm -f "$holder"
  fi
}

# reclaim: gives back a lease of ours whose holder was killed, the store being unmounted. Fails where somebody else has
# it by now.
reclaim() {
  [[ $(holder_says launch) == "$DEVBOX_LAUNCH" ]] || return 0
  exec 9<>"$lock"
  flock --nonblock 9 || return 1
  give_back
  exec 9>&-
}
