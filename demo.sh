#!/usr/bin/env bash
# From bare machines to active nodes, on a virtual rack that stays up: demo.sh [--down] RACK-FILE
# `make demo` builds the programs first. Everything that this makes is under .muster/demo and in the rack.
set -euo pipefail
cd "$(dirname "$0")"

down=
[ "${1:-}" = --down ] && { down=1; shift; }
rack=${1:-Inventory/example-rack/rack.yaml}
bin=$PWD/.build/release
images=$PWD/.cache/images
started=$SECONDS
roles=(compute network storage controller)

step() { printf '\n\033[1m==> %s\033[0m (%d s)\n' "$*" $((SECONDS - started)); }
fail() { printf '\ndemo: %s\n' "$*" >&2; exit 1; }
rack_do() { "$bin/muster-rack" "$1" --rack "$rack" "${@:2}"; }

[ "$(id -u)" = 0 ] || fail "namespaces, bridges and DHCP need root: sudo make demo"

if [ -n "$down" ]; then
    [ -x "$bin/muster-rack" ] || fail "there is no $bin/muster-rack; was the demo ever run here?"
    rack_do down
    rm -rf .muster
    echo "demo: nothing is left; images stay in ${MUSTER_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/muster} for the next time"
    exit 0
fi

# Whatever fails, say why: the conductor's own answer where it is up, its log where it is not.
explain() {
    local status=$?
    [ $status -eq 0 ] && return
    printf '\ndemo: failed after %d s\n' $((SECONDS - started)) >&2
    if [ -n "${MUSTER_API:-}" ]; then
        for node in $("$bin/muster" node list --json 2>/dev/null | jq -r '.nodes[].name' 2>/dev/null); do
            "$bin/muster" node why "$node" >&2 || true
        done
        [ -f "${MUSTER_RACK_STATE:-}/log/conductor.log" ] && tail -25 "$MUSTER_RACK_STATE/log/conductor.log" >&2
    fi
    printf 'demo: the rack is left as it is; look around with: eval "$(%s env --rack %s)"\n' "$bin/muster-rack" "$rack" >&2
}
trap explain EXIT

step "Images: the discovery ramdisk, and a disk for each role"
mkdir -p "$images"
Images/discovery/build.sh --agent "$bin/discovery-agent" --out "$images"
for role in "${roles[@]}"; do
    conductor=()
    [ "$role" != controller ] || conductor=(--conductor "$bin/muster-conductor")
    Images/node/build.sh --role "$role" --agent "$bin/$role-agent" "${conductor[@]}" --out "$images"
done
Images/boot/build.sh --out "$images"

step "Rack: namespace, bridge, libvirtd and Redfish BMCs"
rack_do up
eval "$(rack_do env)"

step "Conductor"
conductor_state=$MUSTER_RACK_STATE/conductor
if ! rack_do status --json | jq -e '.processes[] | select(.name == "conductor" and .isRunning)' >/dev/null; then
    rack_do spawn conductor -- "$bin/muster-conductor" --state-dir "$conductor_state" \
        --api-host "$MUSTER_CONDUCTOR_ADDRESS" --local-loader "$images/local.efi"
fi
for _ in $(seq 60); do
    "$bin/muster" version >/dev/null 2>&1 && break
    sleep 0.5
done
"$bin/muster" version

step "Images into the conductor: only chunks that it lacks are sent"
"$bin/muster" image push-ramdisk --kernel "$images/vmlinuz" --initrd "$images/initrd.zst"
for role in "${roles[@]}"; do "$bin/muster" image push "node-$role" --role "$role" --file "$images/node-$role.raw"; done

step "Site: segment, BMCs, rules, keys"
key=$PWD/.muster/demo/id_ed25519
mkdir -p .muster/demo
[ -f "$key" ] || ssh-keygen -q -t ed25519 -N '' -C muster-demo -f "$key"
site=$(dirname "$rack")/$(basename "$rack" | sed 's/^rack/site/')
if [ ! -f "$site" ] || [ "$site" = "$rack" ]; then
    site=.muster/demo/site.yaml
    rack_do site --ssh-key "$key.pub" >"$site"
fi
cat "$site"
MUSTER_SSH_KEY_FILE=$key.pub "$bin/muster" site apply "$site"

step "Power: the conductor switches on, by Redfish, what nobody knows yet"
machines=$(rack_do status --json | jq '.machines | length')
for _ in $(seq 600); do
    found=$("$bin/muster" node list --json | jq '.nodes | length')
    [ "$found" -ge "$machines" ] && break
    sleep 1
done
"$bin/muster" node list
[ "$found" -ge "$machines" ] || fail "only $found of $machines machines have registered"

step "Inventory: what these machines are, and what their disks hold"
nodes() { "$bin/muster" node list --json | jq -r ".nodes[] | select($1) | .name"; }
for node in $(nodes true); do
    for _ in $(seq 120); do
        "$bin/muster" node inventory "$node" >/dev/null 2>&1 && break
        sleep 1
    done
    "$bin/muster" node inventory "$node"
done

# Machines that a rule knows come in by it; the others wait for an operator, which is us.
step "Approval: machines that no rule lets in"
for node in $(nodes '.isApproved | not'); do
    "$bin/muster" node why "$node"
    role=controller
    [ -n "$(nodes '.role == "network"')" ] || role=network
    name=$node
    case $node in node-*) name=$role-1 ;; esac # nobody has named it yet
    "$bin/muster" node approve "$node" --role "$role" --name "$name"
done

step "Deployment"
for node in $(nodes true); do "$bin/muster" node watch "$node" --until active; done

step "How long each stage took"
"$bin/muster" node stages

step "The fleet"
"$bin/muster" node list
nodes=$(nodes true)
cat <<TEXT

The rack stays up. What to type next:
  eval "\$($bin/muster-rack env --rack $rack)"     # then:
  $bin/muster node list                            # the fleet
  $bin/muster node why ${nodes%%$'\n'*}
  $bin/muster node events ${nodes%%$'\n'*}
  $bin/muster node ssh ${nodes%%$'\n'*} --identity $key
  # OpenStack's own clients (python-openstackclient, python-ironicclient), in the rack's network:
  ip netns exec $MUSTER_NETNS openstack --os-cloud muster baremetal node list
  ip netns exec $MUSTER_NETNS openstack --os-cloud muster baremetal node power on ${nodes%%$'\n'*}
  make demo-down RACK=$rack                        # removes it all
Ready after $((SECONDS - started)) s.
TEXT
