#!/usr/bin/env bash
# Tests the simulator of Lambda Cloud with schemathesis, against the API's document. Opt-in: it needs
# the document and a package of PyPI, and takes two to three minutes. All its traffic goes to 127.0.0.1.
#
# Usage: scripts/test-sim.sh [DOCUMENT]     (default: ../shared/lambda-openapi.json)
# EXAMPLES  how many cases to make up for each endpoint in each phase (default: 100)
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

document=$(realpath -m "${1:-../shared/lambda-openapi.json}")
examples=${EXAMPLES:-100}
if [[ ! -e $document ]]; then
    echo "test-sim: there is no $document: give the OpenAPI document of Lambda's API" >&2
    exit 2
fi
venv=$PWD/target/schemathesis
if [[ ! -x $venv/bin/schemathesis ]]; then
    python3 -m venv "$venv"
    "$venv/bin/pip" install --quiet 'schemathesis>=4.32,<5'
fi
cargo build --locked --example lambda-sim

work=$(mktemp -d)
sim=
# shellcheck disable=SC2317 # the trap calls it
end() {
    if [[ -n $sim ]]; then
        kill -INT "$sim"
        wait "$sim"
    fi
    rm -rf --one-file-system "$work"
}
trap end EXIT

# A GH200 everywhere, so that launches with a region made up succeed, and room for all that is made.
regions=$(tr -d ' \n' <"$document" | sed -E 's/.*"PublicRegionCode":\{[^}]*"enum":(\[[^]]*\]).*/\1/')
cat >"$work/scenario.toml" <<SCENARIO
rates = { scale = 0 }
boot = { seconds = 0.5, ip-after = 0.2 }
terminate = { seconds = 0.2, listed = 60 }
quota = { filesystems = 24, instances = 100000, firewall-rulesets = 100000 }
capacity = { gpu_1x_gh200 = $regions }
SCENARIO
mkfifo "$work/said"
target/debug/examples/lambda-sim --no-boxes --state "$work/state" --scenario "$work/scenario.toml" \
    --api-key schemathesis --record "$work/calls" --listen 127.0.0.1:0 >"$work/said" &
sim=$!
read -r line <"$work/said"
url=${line#listening on }
url=${url%/api/v1}

export PYTHONPATH=$PWD/tests/sim PYTHONDONTWRITEBYTECODE=1 SCHEMATHESIS_HOOKS=schemathesis_hooks NO_PROXY=127.0.0.1
failed=0
check() {
    echo "== $1"
    shift
    # There, since it leaves its findings where it runs.
    env -C "$venv" "$venv/bin/schemathesis" run "$document" --url "$url" --header 'Authorization: Bearer schemathesis' \
        --max-examples "$examples" --continue-on-failure --warnings off "$@" || failed=1
}

# What the document declares no 400 for. The simulator gives one to a body that is none: what else?
undeclared=()
declared=()
for operation in restartInstance terminateInstance firewallRulesSet updateGlobalFirewallRuleset updateFirewallRuleset; do
    undeclared+=(--include-operation-id "$operation")
    declared+=(--exclude-operation-id "$operation")
done
# Ours knows what schemathesis can't: why a valid request was refused.
checks=(--checks all --exclude-checks positive_data_acceptance)
check "valid requests, every endpoint" "${checks[@]}" --mode positive
check "invalid requests, where the document declares 400 or needs none" "${checks[@]}" --mode negative "${declared[@]}"
check "invalid requests, where it declares no 400: that status is not held against the document" \
    --checks all --exclude-checks positive_data_acceptance,status_code_conformance --mode negative "${undeclared[@]}"

# Checks of refusals alone would say little.
for operation in instances instances/ID instance-types instance-operations/{launch,restart,terminate} ssh-keys \
    ssh-keys/ID file-systems filesystems filesystems/ID images firewall-rules firewall-rulesets \
    firewall-rulesets/global firewall-rulesets/ID audit-events; do
    pattern="\"path\":\"/api/v1/${operation/ID/[0-9a-f]{32\}}[?\"][^{]*\"status\":200,"
    printf '%6d successes of %s\n' "$(grep -cE "$pattern" "$work/calls")" "$operation"
    grep -qE "$pattern" "$work/calls" || failed=1
done
exit "$failed"
