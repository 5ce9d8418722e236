#!/usr/bin/env bash
# Installs what building, the demo and the tests need: Debian packages (debian-packages.txt) and, for the emulated
# BMCs, a Python environment (requirements.txt). Does nothing when all is there. `setup.sh FILE` installs the packages of
# another list too, and has none of their services started.
set -euo pipefail
cd "$(dirname "$0")"

fail() { echo "setup: $*" >&2; exit 1; }

command -v swift >/dev/null || fail "there is no 'swift' on PATH; install Swift 6.3 (swift.org) first"
command -v dpkg-query >/dev/null || fail "this needs Debian 12 or a system of its kind"

mapfile -t wanted < <(sed -e 's/#.*//' -e '/^[[:space:]]*$/d' -e 's/[[:space:]]//g' debian-packages.txt "$@")
missing=()
for package in "${wanted[@]}"; do
    state=$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null || true)
    [ "$state" = installed ] || missing+=("$package")
done
if [ ${#missing[@]} -gt 0 ]; then
    [ "$(id -u)" = 0 ] || fail "these packages are missing and only root can install them: ${missing[*]}"
    echo "setup: installing ${#missing[@]} packages"
    log=$(mktemp)
    trap 'rm -f "$log"' EXIT
    # What the tests and the demos need of etcd, HAProxy, keepalived and chrony they start themselves.
    if [ ! -e /usr/sbin/policy-rc.d ]; then
        trap 'rm -f "$log" /usr/sbin/policy-rc.d' EXIT
        printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d && chmod 755 /usr/sbin/policy-rc.d
    fi
    export DEBIAN_FRONTEND=noninteractive
    {
        apt-get -o DPkg::Lock::Timeout=600 update &&
            apt-get -o DPkg::Lock::Timeout=600 install -y --no-install-recommends "${missing[@]}"
    } >"$log" 2>&1 || { tail -30 "$log" >&2; fail "apt-get could not install: ${missing[*]}"; }
fi
