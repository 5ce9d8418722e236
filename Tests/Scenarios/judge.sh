#!/usr/bin/env bash
# Judges a fresh conductor on loopback with a script that runs OpenStack's own tests: judge.sh AREA [REGEX]
# JUDGE (or MUSTER_JUDGE) is that script. It finds IDENTITY_URL, ADMIN_PASSWORD, CA_FILE and REGION in its environment, and
# all that is in ours; AREA and REGEX are its words, and its last line is our last. REGION names the conductor's region too.
set -euo pipefail

judge=${JUDGE:-${MUSTER_JUDGE:-}}
[ -n "${1:-}" ] || { echo "usage: $0 AREA [REGEX]    (make judge AREA=identity JUDGE=FILE)" >&2; exit 64; }
[ -n "$judge" ] || { echo "judge: which script judges? Say JUDGE=FILE, or export MUSTER_JUDGE=FILE" >&2; exit 64; }
[ -f "$judge" ] || { echo "judge: there is no script $judge" >&2; exit 66; }
[ "$(id -u)" = 0 ] || { echo "judge: a conductor needs root" >&2; exit 77; }

words=("$1")
[ -z "${2:-}" ] || words+=("$2")
# Some of OpenStack's tests take no file of authorities by their configuration: those of the system and ours are one file.
exec "$(dirname "$0")/servers.py" conductor bash -c '
    cat "${SSL_CERT_FILE:-/etc/ssl/certs/ca-certificates.crt}" "$CA_FILE" >"$STATE/authorities.pem"
    export SSL_CERT_FILE=$STATE/authorities.pem REQUESTS_CA_BUNDLE=$STATE/authorities.pem
    exec bash "$@"' judge "$judge" "${words[@]}"
