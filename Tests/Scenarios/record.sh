#!/usr/bin/env bash
# Writes the transcripts that test.sh compares with: what a real Keystone answers, less its faults (corrections.sed).
set -euo pipefail
cd "$(dirname "$0")"

if [ -z "${IDENTITY_URL:-}" ]; then
    PEERS=${PEERS:-$(./venv.sh api-peers ../Benchmarks/requirements-peers.txt)}
    CLIENTS=$(./venv.sh api-clients requirements.txt)
    export PEERS CLIENTS
    exec ./servers.py keystone ./record.sh
fi

record() {
    "${@:2}" | sed -f corrections.sed >"$1.new"
    mv "$1.new" "$1"
}
trap 'rm -f ./*.new' EXIT
record openstackclient-identity.transcript "$CLIENTS/bin/python" openstackclient_tour.py openstackclient-identity.tour
record openstacksdk-identity.transcript "$CLIENTS/bin/python" openstacksdk_identity.py
