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
Images/node/build.sh --role network --agent .build/debug/network-agent --out "$MUSTER_IMAGES"
step "tests"
swift test --skip-build --no-parallel
step "done"
