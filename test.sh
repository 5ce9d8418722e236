#!/usr/bin/env bash
# Every test there is, cheapest first: format, then one debug build, then the images with debug agents, then all suites.
# With --rack only what virtual machines take too long for with every change (MUSTER_RACK_TESTS=1): firmware paths, bonds,
# BMCs that speak IPMI, a relay, virtual media, rescue, a TPM, Secure Boot, a conductor that is killed, a site that moves to a
# controller, and a node of each role.
set -euo pipefail
cd "$(dirname "$0")"

filter=() conductor_program=.build/debug/muster-conductor
case "${1:-}" in
'') ;;
--rack) filter=(--filter 'FirmwareTests|BondTests|CrashRackTests|IPMIRackTests|RelayRackTests|RoleRackTests|ControllerRackTests|RescueTests|MediaTests|TPMRackTests|SecureBootTests') && export MUSTER_RACK_TESTS=1 ;;
*) echo "usage: $0 [--rack]" >&2 && exit 64 ;;
esac

step() { printf '==> %s (%d s)\n' "$*" "$SECONDS"; }

step "format"
swift format lint --strict -r Package.swift Sources Tests
step "debug build"
swift build --build-tests
if [ -n "${MUSTER_RACK_TESTS:-}" ]; then
    # A debug conductor on an emulated machine needs seconds for a handshake.
    step "release build of the controllers' conductor"
    swift build -c release --static-swift-stdlib --product muster-conductor
    conductor_program=.build/release/muster-conductor
fi
step "images with debug agents"
export MUSTER_IMAGES=$PWD/.cache/images-debug
mkdir -p "$MUSTER_IMAGES"
Images/discovery/build.sh --agent .build/debug/discovery-agent --out "$MUSTER_IMAGES"
for role in compute network storage controller; do
    conductor=()
    [ $role != controller ] || conductor=(--conductor "$conductor_program")
    Images/node/build.sh --role $role --agent .build/debug/$role-agent "${conductor[@]}" --out "$MUSTER_IMAGES"
done
Images/boot/build.sh --out "$MUSTER_IMAGES"
step "tests"
log=.cache/test.log
if ! swift test --skip-build --no-parallel "${filter[@]}" 2>&1 | tee "$log"; then
    printf '\n==> what failed (all of it is in %s)\n' "$log"
    grep -A3 -E '^✘ |recorded an issue' "$log" | grep -vE '^(✔|◇|--)' | tail -n 120
    exit 1
fi
if [ -z "${MUSTER_RACK_TESTS:-}" ]; then
    step "left to 'make test-rack': BIOS with SATA and SCSI disks, UEFI with iPXE's ROM, UEFI HTTP boot, UEFI from the disk, bonds and VLANs, IPMI BMCs, a DHCP relay, virtual media, rescue, a TPM, Secure Boot, four roles with reboots and agents that are killed and upgraded, a site that moves to a controller, which then loses its power, a conductor that is killed on the way"
fi
step "done"
