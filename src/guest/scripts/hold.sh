#!/bin/bash
# hold.sh DEVICE: keeps the lease, whose flock it inherits as descriptor 9, for as long as the store image is attached to
# DEVICE, and then gives it back. It is asked to end in vain. systemd spares what is called by a name that begins with
# `@` when it kills all that is left at a shutdown, and unmounts only then.
STEP=2-store
. "${0%/*}/lib.sh"
. "${0%/*}/lease.sh"
trap '' HUP INT TERM
cd /
attached=/sys/block/${1##*/}/loop/backing_file
read -r image_there <"$attached"
# Nobody ever writes into it: a sleep that needs no process.
exec 8<> <(:)
while [[ -e $attached ]] && read -r now 2>"$run/untold" <"$attached" && [[ $now == "$image_there" ]]; do
  if read -rt 0.3 -u 8; then :; fi
done
give_back
