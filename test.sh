#!/usr/bin/env bash
# Every test there is, cheapest first: format, then one debug build, then the images with debug agents, then all suites.
set -euo pipefail
cd "$(dirname "$0")"

step() { printf '==> %s (%d s)\n' "$*" "$SECONDS"; }

step "format"
swift format lint --strict -r Package.swift Sources Tests
step "debug build"
swift build --build-tests
step "images with debug agents"
export MUSTER_IMAGES=$PWD/.cache/images-debug
mkdir -p "$MUSTER_IMAGES"
Images/discovery/build.sh --agent .build/debug/discovery-agent --out "$MUSTER_IMAGES"
for role in compute network storage controller; do
    Images/node/build.sh --role $role --agent .build/debug/$role-agent --out "$MUSTER_IMAGES"
done
step "tests"
log=.cache/test.log
if ! swift test --skip-build --no-parallel 2>&1 | tee "$log"; then
    printf '\n==> what failed (all of it is in %s)\n' "$log"
    grep -A3 -E '^✘ |recorded an issue' "$log" | grep -vE '^(✔|◇|--)' | tail -n 120
    exit 1
fi
step "done"
