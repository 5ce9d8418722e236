#!/usr/bin/env bash
# OpenStack's own clients against one fresh conductor: test.sh [CHECK...], CHECK one of login, openstackclient, openstacksdk,
# baremetal, openid, schemathesis. Each tour must give the transcript beside it, which a real Keystone or Ironic gave (record.sh).
set -euo pipefail
cd "$(dirname "$0")"

if [ -z "${IDENTITY_URL:-}" ]; then
    [ "$(id -u)" = 0 ] || { echo "test-apis: a conductor needs root" >&2; exit 77; }
    CLIENTS=$(./venv.sh api-clients requirements.txt)
    export CLIENTS
    exec ./servers.py conductor ./test.sh "$@"
fi

bin=$CLIENTS/bin
out=$(mktemp -d -t muster-apis.XXXXXX)
trap 'rm -rf "$out"' EXIT
failed=()

# same NAME COMMAND...: the command's transcript is that of the reference.
same() {
    local name=$1 status=0
    shift
    "$@" >"$out/$name" 2>"$out/$name.log" || status=$?
    if [ $status -ne 0 ]; then
        tail -5 "$out/$name.log" >&2
        return 1
    fi
    diff -u -F '^\$ \|^[a-z_]*(' "$name" "$out/$name"
}

# The file that the first start has written is all that a client needs.
login() {
    OS_CLIENT_CONFIG_FILE=$STATE/clouds.yaml "$bin/openstack" --os-cloud muster token issue -f value -c id >"$out/token" || return 1
    [ -s "$out/token" ] && [ "$(stat -c %a "$STATE/clouds.yaml")" = 600 ]
}

openstackclient() {
    same openstackclient-identity.transcript "$bin/python" openstackclient_tour.py openstackclient-identity.tour
}

openstacksdk() { same openstacksdk-identity.transcript "$bin/python" openstacksdk_identity.py; }

# Only where the catalog has such a service.
baremetal() {
    local types
    types=$(OS_CLIENT_CONFIG_FILE=$STATE/clouds.yaml "$bin/openstack" --os-cloud muster catalog list -f value -c Type) || return 1
    if ! grep -qx baremetal <<<"$types"; then
        echo "the catalog has no bare metal"
        return 0
    fi
    same openstackclient-baremetal.transcript "$bin/python" openstackclient_tour.py openstackclient-baremetal.tour
}

# Logins by an identity provider of its own, at a conductor that is told of it.
openid() { "$bin/python" openid_login.py; }

# No answer of ours is a 5xx or none of those that the served document promises, whatever is sent. One worker: two at once
# meet a fault of Python 3.11 (its parser counts the depth of all threads together).
schemathesis() {
    local service
    login || return 1
    for service in ${SERVICES:-identity baremetal}; do
        (cd "$out" && "$bin/schemathesis" run "$API_URL/$service/openapi.json" --header "X-Auth-Token: $(<"$out/token")" \
            --tls-verify "$CA_FILE" --phases examples,coverage,fuzzing --max-examples "${EXAMPLES:-5}" --seed 1 \
            --max-time "${SECONDS_EACH:-240}" --workers 1 --request-timeout 30 --suppress-health-check all --warnings off \
            --checks not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance \
            --exclude-path-regex 'saml2|websso' --generation-database none --continue-on-failure --no-color) || return 1
    done
}

[ $# -gt 0 ] || set -- login openstackclient openstacksdk baremetal openid schemathesis
for check in "$@"; do
    printf '==> %s (%d s)\n' "$check" $SECONDS
    "$check" || failed+=("$check")
done
if [ ${#failed[@]} -gt 0 ]; then
    echo "test-apis: failed: ${failed[*]}" >&2
    exit 1
fi
echo "test-apis: passed (${SECONDS} s)"
