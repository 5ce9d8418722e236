#!/usr/bin/env bash
# Three controllers in network namespaces that stay up: demo-ha.sh [--down]
# `make demo-ha` builds the programs first. Everything that this makes is in .muster/bed and in the bed's namespaces.
set -euo pipefail
cd "$(dirname "$0")"
bed=$PWD/.build/release/muster-bed
started=$SECONDS

step() { printf '\n\033[1m==> %s\033[0m (%d s)\n' "$*" $((SECONDS - started)); }
fail() { printf '\ndemo-ha: %s\n' "$*" >&2; exit 1; }

[ "$(id -u)" = 0 ] || fail "namespaces and bridges need root: sudo make demo-ha"
[ -x "$bed" ] || fail "there is no $bed; was it ever built?"

if [ "${1:-}" = --down ]; then
    "$bed" down
    exit 0
fi

step "Three controllers: an etcd member, a conductor, HAProxy and keepalived each"
"$bed" up --controllers 3

# A look each second while something happens.
watch_while() {
    "$@" &
    local worker=$!
    while kill -0 $worker 2>/dev/null; do
        "$bed" status || true
        sleep 2
    done
    wait $worker
}

for part in conductor etcd; do
    case $part in conductor) leader=leader ;; etcd) leader=etcd ;; esac
    step "$part: kill -9, SIGSTOP and a cut cable of the leader, under a writer"
    watch_while "$bed" run --seed "$(date +%s)" --lasts 8 --fault "kill $part $leader" --fault "pause $part $leader" \
        --fault "cut $leader both clients"
done
step "The virtual address: its holder is killed, stopped and cut off"
watch_while "$bed" run --seed "$(date +%s)" --lasts 8 --fault "kill all vip" --fault "pause all vip" --fault "cut vip both clients"

cat <<TEXT

The controllers stay up. What to type next:
  $bed status --watch                        # members, leaders, the virtual address, who is behind
  $bed fault kill conductor leader           # and many others, see --help
  $bed heal
  make demo-ha-down                          # removes it all
Ready after $((SECONDS - started)) s.
TEXT
