#!/bin/bash
# Takes the lease on this architecture's StoreImage, makes it where there is none, checks it,
# mounts it at /nix, and then lives as long as the mount, as hold.sh: this process holds the flock.
#
#   store.sh         the above
#   store.sh stop    unmounts
#   store.sh over    after its end, however it came: nobody may write a store whose lease nobody holds
STEP=2-store
. "${0%/*}/lib.sh"
err=$run/store.err

. "${0%/*}/lease.sh"
. "${0%/*}/recover.sh"

# let_go: unmounts the store, whoever uses it, and waits for the kernel to let go of the image, which it does not while
# some namespace has a mount of its own.
let_go() {
  local device try
  withdraw
  device=$(findmnt --noheadings --first-only --output SOURCE /nix) || device=
  release /nix || fail "can't unmount /nix: $why"
  [[ -n $device ]] || return 0
  for ((try = 0; try < 50; try++)); do
    [[ -e /sys/block/${device##*/}/loop/backing_file ]] || return 0
    sleep 0.2
  done
  fail "/nix is unmounted, and yet something still has the store image mounted, a container maybe"
}

case ${1-} in
  stop)
    . "${0%/*}/busy.sh"
    let_go
    exit 0
    ;;
  over)
    # One that could not be unmounted is still held by its main process, which says nothing of its end.
    mountpoint -q /nix && [[ -n ${EXIT_CODE-} ]] || exit 0
    . "${0%/*}/busy.sh"
    what="who held the lease of the store image was killed"
    exec 9<>"$lock"
    flock --timeout 1 9 || what="$what, and another box has it"
    report failed "$what: all that writes is ended"
    systemctl stop devbox-nix-daemon.service
    let_go
    reclaim
    exit 0
    ;;
esac

take_lease
# What is given up from here on was never mounted: nobody is to wait for it.
trap 'mountpoint -q /nix || give_back' EXIT

# Images that an interrupted mkfs left: nobody else makes one while we hold the lease.
rm -f "$image".new.*

if [[ ! -e $image ]]; then
  report running "making the store image"
  new=$image.new.$DEVBOX_LAUNCH
  # Written under another name and renamed when whole, so that half an image is never taken for one.
  if ! { truncate --size "$DEVBOX_STORE_SIZE" "$new" &&
    mkfs.ext4 -q -F -m 0 -L devbox-store -E lazy_itable_init=1,lazy_journal_init=1,nodiscard "$new" &&
    sync "$new"; } 2>"$err"; then
    rm -f "$new"
    fail "can't make the store image $image: $(last_line "$err")" "free space on the volume, or set a smaller volume.store-size"
  fi
  mv -T "$new" "$image"
  sync "$stores"
fi

# It fails on a truncated image too, but has printed the superblock by then.
readable=0
dumpe2fs -h "$image" >"$run/superblock" 2>"$err" || readable=$?
field() { sed -n "s/^$1: *//p" "$run/superblock"; }
# shellcheck disable=SC2016 # for people
way_out='`devbox store check` tells more, and with `--repair` repairs it and keeps a copy; `devbox store restore` goes back to a snapshot; moved away, the next up makes a new one'
[[ -n $(field 'Block count') ]] ||
  fail "the store image $image is no ext4 filesystem: $(last_line "$err")" "$way_out"
want=$(($(field 'Block count') * $(field 'Block size')))
have=$(stat --format %s "$image")
((have >= want)) ||
  fail "the store image $image is truncated: $have of $want bytes are there; it was not touched" "$way_out"
((readable == 0)) ||
  fail "the store image $image is damaged: $(last_line "$err"); it was not touched" "$way_out"

found=clean
[[ -z $unclean ]] || found="$unclean did not come to rest"
free=$(df --output=avail --block-size=1M "$stores" | tail -n 1)
# e2fsck that can't write leaves worse than it found.
if ((free < 16)) && [[ $(field 'Filesystem features') == *needs_recovery* || $(field 'Filesystem state') == *error* ]]; then
  # shellcheck disable=SC2016 # for people
  fail "the store image $image can't be brought in order on a full volume, which has $free MiB free; it was not touched" 'make room on the volume (`devbox store list`, `devbox store snapshot --delete NAME`), then `devbox up`'
fi
if [[ $(field 'Filesystem features') == *needs_recovery* ]]; then
  found="$found, journal replayed"
  unclean=${unclean:-somebody}
  report running "replaying the journal of the store image"
fi
# What e2fsck has changed by the time it meets what it can't repair by itself is put back: it is remembered on the volume,
# or, where that is nearly full, in memory.
undo=$image.new.$DEVBOX_LAUNCH.undo
((free >= 256)) || undo=$run/store.undo
remember=(-z "$undo")
for ((try = 0; try < 50; try++)); do
  code=0
  rm -f "$undo"
  e2fsck -p "${remember[@]}" "$image" >"$run/fsck.log" 2>&1 || code=$?
  # After an unmount the kernel takes a moment to let go of the loop device.
  if ((code < 8)) || ! grep -qE 'in use|is mounted' "$run/fsck.log"; then break; fi
  sleep 0.2
done
((try < 50)) || fail "the store image $image is in use on this box: $(last_line "$run/fsck.log")" "a reboot of the box lets go of it"
# 1: repaired, 2: repaired and wants a reboot where it is the root filesystem. 4 and up: not repaired.
if ((code >= 4)); then
  met=$(awk '/UNEXPECTED INCONSISTENCY/ { exit } NF { line = $0 } END { print line }' "$run/fsck.log")
  touched="it was not touched"
  if [[ ! -e $undo ]]; then
    touched="what could be repaired was"
  elif ! e2undo "$undo" "$image" >"$err" 2>&1; then
    touched="what was repaired could not be put back: $(last_line "$err")"
  fi
  rm -f "$undo"
  fail "the store image $image is damaged beyond what is repaired unasked: ${met#"$image: "}; $touched" "$way_out"
fi
rm -f "$undo"
repaired=
((code == 0)) || repaired=$(repairs "$run/fsck.log")
[[ -z $repaired ]] || found="$found, repaired"
# Longer than its filesystem by a block group and more: `store grow` was cut off, or could not do it in use.
if ((have - want >= $(field 'Blocks per group') * $(field 'Block size'))); then
  report running "growing the store image to $((have >> 20)) MiB"
  if ! { e2fsck -f -p "$image" && resize2fs "$image"; } >"$run/fsck.log" 2>&1; then
    found="$found, not grown: $(last_line "$run/fsck.log")"
  else
    found="$found, grown"
  fi
fi
# nix.sh looks at what was written last where that did not end well, and at every store path after a repair.
rm -f "$run/repaired" "$run/unclean"
[[ -z $repaired ]] || : >"$run/repaired"
[[ -z $unclean ]] || : >"$run/unclean"

report running "mounting the store image"
# Chosen by benches/store-options.sh, times that of these: without direct I/O 1.1 (small files) and 1.3 to 3.3 (a large
# one), `nodelalloc` 1.4 and 1.7 to 1.9, `data=journal` 1.6 and 4.1; `commit=30`, no discard and no `data_err=abort` 1.0.
# That makes the store read-only at the first byte that does not reach the volume. What delayed allocation may lose of what
# Nix has registered, recover.sh finds.
loop=$(losetup --find --show --direct-io=on "$image" 2>"$err") ||
  loop=$(losetup --find --show "$image" 2>"$err") ||
  fail "can't attach a loop device to $image: $(last_line "$err")"
direct="direct I/O"
[[ $(losetup --noheadings --output DIO "$loop") == *1* ]] || direct="no direct I/O on this volume"
mkdir -p /nix
mounted=0
mount -t ext4 -o noatime,discard,errors=remount-ro,data_err=abort "$loop" /nix 2>"$err" || mounted=$?
# While it is mounted this only marks the device: the kernel frees it at the unmount, however that comes.
losetup --detach "$loop"
((mounted == 0)) || fail "can't mount the store image: $(last_line "$err")"

size=$(df --output=size --block-size=1 /nix | tail -n 1)
used=$(df --output=used --block-size=1 /nix | tail -n 1)
held="lease by flock"
[[ $lease == flock ]] || held="lease by its file, as $fstype keeps flocks to one host"
HOLDER=
in_all="$((size >> 30)) GiB"
((size >> 30 >= 10)) || in_all="$((size >> 20)) MiB"
report 'done' "$in_all, $((used >> 20)) MiB used, ${found#clean, }, $direct, $held"
systemd-notify --ready
exec -a @devbox-lease "$BASH" "${0%/*}/hold.sh" "$loop"
