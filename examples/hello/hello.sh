# shellcheck shell=bash
# Its first lines, the interpreter and where the greeting is, are put before this by packages.nix.
# shellcheck disable=SC2154
cat "$greeting"
echo "This is $0."
