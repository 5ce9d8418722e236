#!/usr/bin/env bash
# What the ramdisk's agent costs beside its peers, each pair in one run: node.sh ROUNDS
#   inventory: beside ironic-python-agent's (13.0.0, its own collection of this machine's hardware)
#   image:     beside zstd -dc | dd conv=sparse,fsync of the same image, to the same file system
set -euo pipefail
cd "$(dirname "$0")/../.."
rounds=${1:-5}
bench=$PWD/.build/release/node-bench
cache=${MUSTER_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/muster}
image=$PWD/.cache/images/node-network.raw
[ -x "$bench" ] || { echo "build first: make bench-node" >&2; exit 1; }
[ -f "$image" ] || { echo "$image is missing: make bench-node builds it" >&2; exit 1; }

peer=$cache/ironic-python-agent-13.0.0
if [ ! -x "$peer/bin/ironic-python-agent" ]; then
    echo "installing ironic-python-agent into $peer"
    rm -rf "$peer"
    python3 -m venv "$peer"
    "$peer/bin/pip" install --quiet --disable-pip-version-check ironic-python-agent==13.0.0 || { rm -rf "$peer"; exit 1; }
fi

work=$(mktemp -d "$PWD/.cache/bench.XXXXXX")
trap 'rm -rf "$work"' EXIT
cat >"$work/peer.py" <<'PY'
import json, logging, os, resource, time
wall = time.time()
from oslo_config import cfg
from ironic_python_agent import config, encoding, hardware
cfg.CONF([], project="ironic-python-agent")
logging.getLogger().setLevel(logging.CRITICAL)
inventory = hardware.dispatch_to_managers("list_hardware_info")
times = os.times()
own, children = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
print(json.dumps({"wallSeconds": time.time() - wall, "wholeProcessorSeconds": sum(times[:4]), "peakMebibytes": max(own.ru_maxrss, children.ru_maxrss) / 1024,
                  "inventoryBytes": len(encoding.RESTJSONEncoder().encode(inventory))}))
PY
"$bench" pack "$image" --out "$work"
zstd -q -3 "$image" -o "$work/image.zst"
size=$(stat -c %s "$image")

# timed COMMAND: the processor seconds and wall seconds of a pipeline, as JSON.
timed() {
    python3 - "$1" <<'PY'
import json, resource, subprocess, sys, time
wall = time.time()
subprocess.run(["bash", "-o", "pipefail", "-c", sys.argv[1]], check=True)
use = resource.getrusage(resource.RUSAGE_CHILDREN)
print(json.dumps({"wallSeconds": time.time() - wall, "processorSeconds": use.ru_utime + use.ru_stime, "peakMebibytes": use.ru_maxrss / 1024}))
PY
}

for _ in $(seq "$rounds"); do
    "$bench" collect >>"$work/collect.ours"
    PATH=$peer/bin:$PATH "$peer/bin/python" "$work/peer.py" >>"$work/collect.peer"
    rm -f "$work/disk" && truncate -s "$size" "$work/disk"
    "$bench" write "$work" --disk "$work/disk" >>"$work/write.ours"
    rm -f "$work/disk" && truncate -s "$size" "$work/disk"
    timed "zstd -dcq '$work/image.zst' | dd of='$work/disk' bs=1M iflag=fullblock conv=sparse,fsync,notrunc status=none" >>"$work/write.peer"
done

python3 - "$work" "$rounds" <<'PY'
import json, statistics, sys
work, rounds = sys.argv[1:]
def median(name, key):
    return statistics.median(json.loads(line)[key] for line in open(f"{work}/{name}"))
print(f"medians of {rounds} rounds, both in turn\n")
print("| what | Muster | peer | Muster / peer |\n|---|---|---|---|")
for title, name, key, unit in [
    ("inventory, processor of the whole process", "collect", "wholeProcessorSeconds", "s"),
    ("inventory, wall", "collect", "wallSeconds", "s"),
    ("inventory, peak memory", "collect", "peakMebibytes", "MiB"),
    ("image, processor", "write", "processorSeconds", "s"),
    ("image, wall to synced", "write", "wallSeconds", "s"),
]:
    ours, peer = median(f"{name}.ours", key), median(f"{name}.peer", key)
    print(f"| {title} | {ours:.3f} {unit} | {peer:.3f} {unit} | {ours / peer:.2f} |")
PY
