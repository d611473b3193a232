#!/bin/bash
# The machine's part of Nix, laid anew on each boot: build users, nix.conf, which Nix. The
# store's part lives in the image.
STEP=4-nix
. "${0%/*}/lib.sh"
err=$run/nix.err
. "${0%/*}/recover.sh"
recovered=

why=$(store_errors) || fail "$why" "devbox down --force, then devbox up: that checks the store image"
report running "users and settings"
systemd-sysusers /etc/devbox/sysusers.conf 2>"$err" || fail "can't make the build users: $(last_line "$err")"
install -D --mode=0644 /etc/devbox/nix.conf /etc/nix/nix.conf
mkdir -p /nix/store /nix/var/nix "$shells"
chown root:nixbld /nix/store
chmod 1775 /nix/store

# Two daemons on one database would be one too many.
for unit in nix-daemon.socket nix-daemon.service; do
  if [[ -e /lib/systemd/system/$unit || -e /etc/systemd/system/$unit ]]; then
    systemctl mask --quiet --runtime --now "$unit"
  fi
done

seeded=/nix/var/nix/profiles/devbox-nix/bin
if [[ -e $run/unclean && -x $seeded/nix-store ]] && ! "$seeded/nix-store" --version >"$err" 2>&1; then
  # A Nix that a crash has spoilt: the next `up` brings another.
  rm -f "${seeded%/bin}"
fi
rm -f "$run/nix-daemon"
if [[ -x $seeded/nix-daemon ]]; then
  ln -sfn "$seeded/nix-daemon" "$run/nix-daemon"
  for tool in "$seeded"/nix*; do
    ln -sfn "$tool" "/usr/local/bin/${tool##*/}"
  done
  from="the environment's own"
elif host=$(type -P nix-daemon); then
  ln -sfn "$host" "$run/nix-daemon"
  from="the box's own"
else
  report 'done' "none yet"
  exit 0
fi
# First: what was not whole may be just what was repaired.
if [[ -e $run/unclean ]]; then
  report running "looking at what was written last"
  recover
  rm -f "$run/unclean"
fi
if [[ -e $run/repaired ]]; then
  report running "checking every store path after the repair of the store image"
  nix-store --verify --check-contents 2>"$err" ||
    fail "the store image was repaired and has lost contents: $(grep -m 1 modified "$err" || last_line "$err")" \
      "restore $image from a copy, or move it away: the next up makes a new one and copies all"
  rm -f "$run/repaired"
fi
remember_synced
version=$(nix-store --version 2>"$err") || fail "$from Nix does not run: $(last_line "$err")"
report 'done' "$from, ${version##* }${recovered:+, $recovered}"
