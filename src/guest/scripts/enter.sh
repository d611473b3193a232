# shellcheck shell=bash disable=SC1090,SC1091,SC2154
# Sourced by the shell that becomes the dev shell.
if [[ $- == *i* ]]; then
  [[ ! -r /etc/bash.bashrc ]] || . /etc/bash.bashrc
  [[ ! -r ~/.bashrc ]] || . ~/.bashrc
fi

# Nix's script makes itself a build folder and points everything temporary there. A person
# expects the usual place, and nobody would clean up after each command.
devbox_saved=("${TMPDIR-}" "${TMP-}" "${TEMP-}" "${TEMPDIR-}")
# What a shellHook prints is talk, not the command's output.
. "$DEVBOX_SHELL_SCRIPT" >&2
case ${NIX_BUILD_TOP-} in
  */nix-shell.*)
    if rmdir "$NIX_BUILD_TOP" 2>/dev/null; then unset NIX_BUILD_TOP; fi
    unset TMPDIR TMP TEMP TEMPDIR
    [[ -z ${devbox_saved[0]} ]] || export TMPDIR="${devbox_saved[0]}"
    [[ -z ${devbox_saved[1]} ]] || export TMP="${devbox_saved[1]}"
    [[ -z ${devbox_saved[2]} ]] || export TEMP="${devbox_saved[2]}"
    [[ -z ${devbox_saved[3]} ]] || export TEMPDIR="${devbox_saved[3]}"
    ;;
esac
unset devbox_saved

if [[ $- == *i* ]]; then
  PS1="\[\e[1;32m\]($DEVBOX_PROJECT)\[\e[0m\] ${PS1-\\u@\\h:\\w\\$ }"
fi
