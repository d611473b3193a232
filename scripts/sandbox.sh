# shellcheck shell=bash
# Sourced by demo.sh, test-nix-versions.sh and benches/up.sh: a devbox of their own, apart from the user's. Only the cache, which
# holds the boxes' root filesystem, is shared.
#
# Needs `sandbox`, the folder, and `root`, the repository's. Gives `say`, `fail`, `devbox` (which
# works on a copy of examples/hello), `tidy`, `fingerprint`. Runs as root.

# One story at a time in one sandbox.
mkdir -p "$(dirname "${sandbox:?}")"
exec 8>"$sandbox.lock"
if ! flock --nonblock 8; then
    echo "$(basename "$0" .sh): another run uses \`$sandbox\`; waiting for it" >&2
    flock 8
fi

export PATH=$PATH:/usr/sbin:/sbin
export XDG_CACHE_HOME=${XDG_CACHE_HOME:-$HOME/.cache}
export HOME=${sandbox:?}/home XDG_CONFIG_HOME=$sandbox/config XDG_STATE_HOME=$sandbox/state
# Settings of the user's would tell another story, and a key of theirs would have Lambda asked.
for variable in "${!DEVBOX_@}" "${!LAMBDA_@}"; do
    unset "$variable"
done

say() {
    printf '\n==> %s\n' "$*"
}

fail() {
    printf '%s: %s\n' "$(basename "$0" .sh)" "$*" >&2
    exit 1
}

devbox() {
    # Not with the lock: the box outlives us.
    "${root:?}/target/release/devbox" -C "$sandbox/hello" "$@" 8>&-
}

# Ends every box of the sandbox, however it was left, and empties the sandbox but for a fresh copy of the example.
tidy() {
    if [[ -d $sandbox ]]; then
        mkdir -p "$HOME" "$sandbox/hello"
        devbox --quiet down --all --force --yes || return
        rm -rf --one-file-system "$sandbox"
    fi
    mkdir -p "$HOME"
    "$root/tests/fixtures/make-flake.sh" hello "$sandbox/hello"
}

# The fingerprint of the environment on the one box there is.
fingerprint() {
    local document found
    document=$(devbox --json status) || return
    found=$(sed -nE 's/.*"fingerprint": *"([^"]+)".*/\1/p' <<<"$document")
    if [[ -z $found || $found == *$'\n'* ]]; then
        fail "\`devbox status --json\` does not name one fingerprint: $document"
    fi
    echo "$found"
}

# At the end: a box that still runs is taken down, since the sandbox is all that knows of it.
finish() {
    local status=$?
    trap - EXIT INT TERM
    if ((status != 0)) && [[ -d $sandbox ]]; then
        say "It failed: taking down what runs"
        if tidy; then
            echo "Nothing is left running." >&2
        else
            echo "The box could not be taken down; what is known of it is in \`$sandbox\`, and the next run tries again." >&2
        fi
    fi
    exit "$status"
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
