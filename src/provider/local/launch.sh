#!/bin/sh
# Keeps one local box running: boots it, boots it again when it reboots, ends when it ends.
# Started detached, so that the box outlives devbox.
#
# GROUPS_OF_BOX  the box's own control group in each hierarchy, one a line, the unified one first
# $1             `keep`; the script calls itself with `boot`
# the rest       the command that boots the box
#
# It is in the box's control groups itself, so that whatever kills those kills it too.
set -eu

: "${GROUPS_OF_BOX:?}"

# Joins the part named $1 of each group. A group that is gone has been torn down: `set -e` ends us.
join() {
    printf '%s\n' "$GROUPS_OF_BOX" | while IFS= read -r group; do
        echo "$$" > "$group/$1/cgroup.procs"
    done
}

what=$1
shift

if [ "$what" = boot ]; then
    join box
    exec "$@"
fi

trap 'echo "devbox: the box ended with exit status $?"' EXIT
join launcher

# Exit status 133 is nspawn's word for "the box wants to reboot".
status=133
while [ "$status" -eq 133 ]; do
    status=0
    sh "$0" boot "$@" || status=$?
done
exit "$status"
