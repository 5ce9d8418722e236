#!/usr/bin/env bash
# Writes the transcripts that test.sh compares with: what a real Keystone and a real Ironic answer, less their faults (corrections.sed).
# Each tour has a Keystone of its own: on SQLite, rows that one has left behind turn up in the next.
set -euo pipefail
cd "$(dirname "$0")"

PEERS=${PEERS:-$(./venv.sh api-peers ../Benchmarks/requirements-peers.txt)}
python=$(./venv.sh api-clients requirements.txt)/bin/python
export PEERS
trap 'rm -f ./*.new' EXIT

# record NAME SERVER COMMAND...
record() {
    ./servers.py "${@:2}" | sed -f corrections.sed >"$1.new"
    mv "$1.new" "$1"
}
record openstackclient-identity.transcript keystone "$python" openstackclient_tour.py openstackclient-identity.tour
record openstacksdk-identity.transcript keystone "$python" openstacksdk_identity.py
record openstackclient-baremetal.transcript ironic "$python" openstackclient_tour.py openstackclient-baremetal.tour
