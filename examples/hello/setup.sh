# shellcheck shell=bash
# shellcheck disable=SC2154 # `buildInputs` and `builder` are set by Nix
# Sourced by Nix when it records the dev shell: puts every input's programs on PATH, first input first.
programs=
for input in $buildInputs; do
    programs=${programs:+$programs:}$input/bin
done
export PATH=$programs
unset input programs

# Without these two, Nix records the login shell of the user that ran the build.
BASH=$builder
export SHELL=$builder
