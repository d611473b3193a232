#!/usr/bin/env bash
# The main job, shown on a real box on this machine: up, work, down, up again, identical.
# `make demo` builds devbox first. The last line is `identical: FINGERPRINT`.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
if ((EUID != 0)); then
    exec "$root/scripts/as-root.sh" "$root/scripts/demo.sh"
fi
sandbox=$root/target/demo
# shellcheck source=sandbox.sh
. "$root/scripts/sandbox.sh"

tidy

say "up: builds the dev shell of examples/hello, boots a box, and moves the one into the other"
echo "    (the first time on this machine, the box's root filesystem is made: about a minute)"
devbox up --yes
first=$(fingerprint)

say "devbox.lock: what that environment is, to be kept in version control"
sed '/^#/d' "$sandbox/hello/devbox.lock"

say "run: a command of the dev shell, on the box"
devbox run -- hello </dev/null
greeting=$(devbox run -- hello </dev/null)
[[ $greeting == Hello* ]] || fail "\`hello\` said something else: $greeting"

say "It comes from the store image, an ext4 file on the volume that is mounted at /nix"
program=$(devbox run -- bash -c 'type -P hello' </dev/null)
read -r source type < <(devbox run -- findmnt --noheadings --output SOURCE,FSTYPE --target "$program" </dev/null)
echo "$program is on $source ($type)"
[[ $program == /nix/store/* && $source == /dev/loop* && $type == ext4 ]] ||
    fail "\`hello\` does not run from the store image"

say "A file is left in the home folder"
note="written before the box was taken down"
# shellcheck disable=SC2016 # expanded on the box
devbox run -- bash -c 'echo "$1" >~/note; sync; ls -l ~/note' bash "$note" </dev/null

say "down: the box is gone, the volume stays"
devbox down --yes

say "up --locked: a new box, nothing to copy, and nothing but what the lock says"
devbox up --locked --yes 2>&1 | tee "$sandbox/up.log"
if grep --quiet '^transfer' "$sandbox/up.log"; then
    fail "the second box was sent what its store image should have had"
fi
second=$(fingerprint)

say "The file is still there, and so is the dev shell"
found=$(devbox run -- bash -c 'cat ~/note' </dev/null)
echo "the note: $found"
[[ $found == "$note" ]] || fail "\`~/note\` says \`$found\`, not \`$note\`"
again=$(devbox run -- hello </dev/null)
[[ $again == "$greeting" ]] || fail "\`hello\` now says: $again"

say "down: nothing is left running"
devbox down --yes
tidy
rm -rf --one-file-system "$sandbox"

if [[ $first != "$second" ]]; then
    fail "the environments differ: \`$first\` on the first box, \`$second\` on the second"
fi
printf '\nidentical: %s\n' "$first"
