#!/usr/bin/env python3
"""What three controllers cost and what losing one does: ha.py [SECTION...]

Sections: writes (over etcd, beside the same program on SQLite), barrier (what a read costs more on etcd), lag (a write at one
conductor read at another), failover (gaps of the API and of the virtual address), start (a fresh conductor over 10,000
nodes), memory, resettle (agents of a conductor that is killed; a bed of its own), journey (a site moves to a controller and
grows to three, as ControllerJourneyTests has it, whose build is needed). The controllers are network namespaces of this machine (muster-bed), made and removed here; members,
conductors and load share its processors and its disk. Prints Markdown; --out FILE writes it too.
"""
import argparse, json, os, re, shutil, signal, statistics, subprocess, sys, tempfile, time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
CONTROLLERS = {"c1": "10.98.0.1", "c2": "10.98.0.2", "c3": "10.98.0.3"}
CLIENT, VIRTUAL = "10.98.0.200", "10.98.0.100:443"
PUT = """
local n, thread = 0, 0
function setup(t) thread = thread + 1; t:set("id", thread) end
function request()
  n = n + 1
  return wrk.format("PUT", "/identity/v3/regions/%s-" .. id .. "-" .. n,
    {["X-Auth-Token"] = "%s", ["Content-Type"] = "application/json"}, '{"region":{}}')
end
"""


class Bed:
    """The bed, and programs in its client's namespace."""

    def __init__(self, options, work, agents=0):
        self.program, self.folder, self.work = f"{options.bin}/muster-bed", f"{work}/bed", work
        self.options, self.agents = options, agents

    def __enter__(self):
        self.do("up", "--controllers", "3", "--agents", str(self.agents))
        record = json.load(open(f"{self.folder}/bed.json"))
        self.holders = {name: process["pid"] for name, process in record["holders"].items()}
        self.ca = f"{self.folder}/c1/conductor/ca.pem"
        self.token = sign_in(self, VIRTUAL, f"{self.folder}/c1/conductor")
        return self

    def __exit__(self, *_):
        self.do("down")

    def do(self, verb, *words, check=True):
        done = subprocess.run(
            [self.program, verb, "--directory", self.folder, *words], text=True, stdout=subprocess.PIPE)
        if check and done.returncode:
            sys.exit(f"muster-bed {verb}: {done.stdout}")
        return done.stdout

    def inside(self, place, *words):
        return ["nsenter", f"--net=/proc/{self.holders[place]}/ns/net", "--", *words]

    def pid(self, name):
        return json.load(open(f"{self.folder}/run/{name}.json"))["pid"]


class Embedded:
    """The same conductor on SQLite, in the client's namespace."""

    def __init__(self, bed):
        self.bed, self.state = bed, f"{bed.work}/embedded"

    def __enter__(self):
        log = open(f"{self.bed.work}/embedded.log", "w")
        self.child = subprocess.Popen(
            self.bed.inside(
                "client", f"{self.bed.options.bin}/muster-conductor", "--state-dir", self.state, "--api-host", CLIENT,
                "--name", CLIENT, "--api-rate", "0", "--log-level", "warning"), stdout=log, stderr=log)
        self.ca = f"{self.state}/ca.pem"
        for _ in range(300):
            if os.path.exists(self.ca) and answers(self.bed, self.ca, f"https://{CLIENT}:9443/fleet/v1"):
                break
            time.sleep(0.1)
        self.token = sign_in(self.bed, f"{CLIENT}:9443", self.state)
        return self

    def __exit__(self, *_):
        self.child.kill()
        self.child.wait()


def answers(bed, ca, url):
    return subprocess.run(bed.inside("client", "curl", "-sf", "-m", "2", "--cacert", ca, "-o", "/dev/null", url)).returncode == 0


def sign_in(bed, address, state):
    """A token of the cloud's first administrator."""
    password = re.search(r"password: '([^']*)'", open(f"{state}/clouds.yaml").read()).group(1)
    user = {"name": "admin", "password": password, "domain": {"id": "default"}}
    body = {"auth": {"identity": {"methods": ["password"], "password": {"user": user}}, "scope": {"system": {"all": True}}}}
    text = subprocess.run(
        bed.inside(
            "client", "curl", "-sf", "--cacert", f"{state}/ca.pem", "-D", "-", "-o", "/dev/null", "-H",
            "Content-Type: application/json", "--data-binary", "@-", f"https://{address}/identity/v3/auth/tokens"),
        input=json.dumps(body), text=True, capture_output=True, check=True).stdout
    return re.search(r"(?im)^x-subject-token: (\S+)", text).group(1)


def wrk(bed, url, connections, seconds, script, environment=None):
    """Requests a second, p50 and p99 in milliseconds, answers that were no success."""
    words = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "10s", "--latency", "-s", script, url]
    text = subprocess.run(
        bed.inside("client", *words), text=True, capture_output=True, check=True,
        env={**os.environ, **(environment or {})}).stdout
    number = lambda pattern: re.search(pattern, text).group(1)
    scale = {"us": 0.001, "ms": 1, "s": 1000}
    def latency(percent):
        value, unit = re.search(rf"{percent}%\s+([0-9.]+)(us|ms|s)", text).groups()
        return float(value) * scale[unit]
    bad = re.search(r"Non-2xx or 3xx responses: (\d+)", text)
    return float(number(r"Requests/sec:\s+([0-9.]+)")), latency(50), latency(99), int(bad.group(1)) if bad else 0


def writes(bed, out):
    out("\n**Writes**: one new document with its audit event, over TLS, at one conductor.\n")
    out("| | clients | writes/s | p50 ms | p99 ms | refused |\n|---|---|---|---|---|---|")
    def measure(name, address, token):
        for clients in (1, 64):
            script = f"{bed.work}/put.lua"
            with open(script, "w") as file:
                file.write(PUT % (f"{name.lower()}{clients}", token))
            rate, p50, p99, bad = wrk(bed, f"https://{address}:9443", clients, bed.options.seconds, script)
            out(f"| {name} | {clients} | {rate:.0f} | {p50:.1f} | {p99:.1f} | {bad} |")
    measure("etcd", CONTROLLERS["c1"], bed.token)
    with Embedded(bed) as embedded:
        measure("SQLite", CLIENT, embedded.token)


def barrier(bed, out):
    out("\n**Reads** of one document; on etcd each waits for a linearizable read that all waiting share.\n")
    out("| | clients | reads/s | p50 ms | p99 ms |\n|---|---|---|---|---|")
    script = f"{ROOT}/Tests/Benchmarks/request.lua"
    figures = {}
    def measure(name, address, token):
        for clients in (1, 64):
            rate, p50, p99, _ = wrk(
                bed, f"https://{address}:9443/identity/v3/regions/RegionOne", clients, bed.options.seconds, script,
                {"HEADERS": f"X-Auth-Token: {token}"})
            figures[name, clients] = p50
            out(f"| {name} | {clients} | {rate:.0f} | {p50:.2f} | {p99:.1f} |")
    measure("etcd", CONTROLLERS["c1"], bed.token)
    with Embedded(bed) as embedded:
        measure("SQLite", CLIENT, embedded.token)
    for clients in (1, 64):
        out(f"\nThe barrier costs {figures['etcd', clients] - figures['SQLite', clients]:.2f} ms a read (p50) "
            f"with {clients} client{'s' if clients > 1 else ''}.")


LAG = r"""
import http.client, json, ssl, sys, time
ca, token, rounds = sys.argv[1], sys.argv[2], int(sys.argv[3])
context = ssl.create_default_context(cafile=ca)
one, other = (http.client.HTTPSConnection(host, 9443, context=context, timeout=10) for host in sys.argv[4:6])
headers = {"X-Auth-Token": token, "Content-Type": "application/json"}
def call(connection, method, path, body=None):
    connection.request(method, path, body, headers)
    answer = connection.getresponse()
    return answer.status, answer.read()
plain, after = [], []
for number in range(rounds):
    begin = time.perf_counter()
    call(other, "GET", "/identity/v3/regions/RegionOne")
    plain.append(time.perf_counter() - begin)
    name = "lag-%d" % number
    status, _ = call(one, "PUT", "/identity/v3/regions/" + name, '{"region":{}}')
    begin = time.perf_counter()
    seen, _ = call(other, "GET", "/identity/v3/regions/" + name)
    after.append(time.perf_counter() - begin)
    if status != 201 or seen != 200:
        sys.exit("%s: %d, then %d" % (name, status, seen))
print(json.dumps({"plain": plain, "after": after}))
"""


def percentile(values, share):
    return sorted(values)[min(len(values) - 1, int(len(values) * share))] * 1000


def lag(bed, out):
    text = subprocess.run(
        bed.inside("client", sys.executable, "-c", LAG, bed.ca, bed.token, "500", CONTROLLERS["c1"], CONTROLLERS["c2"]),
        text=True, capture_output=True)
    if text.returncode:
        sys.exit(text.stderr)
    figures = json.loads(text.stdout)
    out("\n**From conductor to conductor**: a document written at one is read at another at once; each was there.\n")
    out("| read at another conductor | p50 ms | p99 ms |\n|---|---|---|")
    for name, key in (("without a write before", "plain"), ("right after the acknowledgement", "after")):
        out(f"| {name} | {percentile(figures[key], 0.5):.2f} | {percentile(figures[key], 0.99):.2f} |")


def failover(bed, out):
    faults = ["kill conductor leader", "pause conductor leader", "kill etcd etcd", "pause etcd etcd", "kill all vip",
              "pause all vip", "cut etcd both clients"]
    costs, lost, found = {}, 0, 0
    for number in range(bed.options.rounds):
        words = [word for fault in faults for word in ("--fault", fault)]
        text = bed.do("run", "--json", "--seed", str(int(time.time()) + number), "--lasts", "6", *words, check=False)
        report = json.loads(text.splitlines()[-1])
        lost, found = lost + len(report["lost"]), found + report["foundCount"]
        if report["violations"]:
            sys.exit("\n".join(report["violations"]))
        for fault, cost in zip(faults, report["costs"]):
            costs.setdefault(fault, []).append((cost["apiGap"], cost["addressGap"]))
    out("\n**Losing a controller or a part of it**: longest time without an acknowledged write of one client at the virtual "
        f"address, and without a connection to it; {bed.options.rounds} rounds, lost = {lost}, found = {found}.\n")
    out("| fault | API gap s, median | most | address gap s, median | most |\n|---|---|---|---|---|")
    for fault, pairs in costs.items():
        api, address = zip(*pairs)
        out(f"| {fault} | {statistics.median(api):.2f} | {max(api):.2f} | {statistics.median(address):.2f} "
            f"| {max(address):.2f} |")


NODES = """
local n = 0
function request()
  n = n + 1
  return wrk.format("POST", "/baremetal/v1/nodes",
    {["X-Auth-Token"] = "%s", ["Content-Type"] = "application/json", ["X-OpenStack-Ironic-API-Version"] = "1.81"},
    '{"driver":"fake-hardware","name":"n' .. n .. '","extra":{"rack":"r1","note":"' .. string.rep("x", 500) .. '"}}')
end
"""


def start(bed, out):
    script = f"{bed.work}/nodes.lua"
    with open(script, "w") as file:
        file.write(NODES % bed.token)
    made = 0
    while made < bed.options.nodes:
        rate, *_ = wrk(bed, f"https://{CONTROLLERS['c1']}:9443", 32, 10, script)
        made += int(rate * 10)
    times = []
    for _ in range(3):
        bed.do("fault", "kill", "conductor", "c2")
        begin = time.time()
        healing = subprocess.Popen(
            [bed.program, "heal", "--directory", bed.folder], stdout=subprocess.DEVNULL)
        ask = bed.inside("client", "curl", "-sf", "--cacert", bed.ca, "-H", f"X-Auth-Token: {bed.token}",
                         f"https://{CONTROLLERS['c2']}:9443/identity/v3/regions/RegionOne")
        while subprocess.run(ask, stdout=subprocess.DEVNULL).returncode:
            time.sleep(0.02)
        times.append(time.time() - begin)
        if healing.wait():
            sys.exit("muster-bed heal failed")
    out(f"\n**A fresh conductor over {made} nodes** answers {statistics.median(times):.1f} s after the order to start it "
        "(median of three).")


def memory(bed, out):
    out("\n**Memory**, resident, after all of the above.\n\n| | etcd MiB | conductor MiB | HAProxy MiB | keepalived MiB |")
    out("|---|---|---|---|---|")
    for controller in json.loads(bed.do("status", "--json"))["controllers"]:
        part = controller["memory"]
        out(f"| {controller['name']} | " + " | ".join(
            str(part.get(name, "-")) for name in ("etcd", "conductor", "haproxy", "keepalived")) + " |")


def spent(pid):
    """Seconds of processor that a process has taken."""
    fields = open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def resident(pid):
    return int(re.search(r"VmRSS:\s+(\d+)", open(f"/proc/{pid}/status").read()).group(1)) >> 10


def resettle(out, options, work):
    with Bed(options, work, options.agents) as bed:
        time.sleep(20)
        idle = {name: spent(bed.pid(f"{name}-conductor")) for name in CONTROLLERS}
        time.sleep(20)
        idle = {name: (spent(bed.pid(f"{name}-conductor")) - value) / 20 for name, value in idle.items()}
        streams = json.loads(bed.do("status", "--json"))["agents"]["streams"]
        killed = max(streams, key=streams.get)
        left = [name for name in CONTROLLERS if name != killed]
        pids = {name: bed.pid(f"{name}-conductor") for name in left}
        before = {name: (spent(pid), resident(pid)) for name, pid in pids.items()}
        begun = time.monotonic()
        bed.do("fault", "kill", "conductor", killed)
        whole, gone, status = None, 0, {}
        while whole is None and time.monotonic() - begun < 180:
            status = json.loads(bed.do("status", "--json"))["agents"]
            gone = max(gone, status["gone"])
            if status["open"] == status["wanted"] == sum(status["streams"].values()):
                whole = time.monotonic() - begun
            time.sleep(0.3)
        if whole is None:
            sys.exit(f"not all agents are connected again after 180 s: {status}")
        lines = [json.loads(line) for line in open(f"{bed.folder}/run/agents.journal")]
        ends = [line for line in lines if line["time"] > begun * 1e9 and "endpoint" not in line]
        first, lost, back = min(line["time"] for line in ends), set(), []
        for line in lines:
            if line["time"] >= first and "endpoint" not in line:
                lost.add(line["node"])
            elif line["time"] >= first and line["node"] in lost:
                lost.remove(line["node"])
                back.append((line["time"] - first) / 1e9)
        back.sort()
        share = lambda part: back[min(len(back) - 1, int(len(back) * part))]
        out(f"\n**{status['wanted']} agents, the conductor with most of them, {streams[killed]}, is killed**: each is the whole agent of "
            "a node, all in one process beside the controllers.\n")
        out("| back | 50 % | 99 % | all | the catalog says so | most that were told to be gone |\n|---|---|---|---|---|---|")
        out(f"| {len(back)} | {share(0.5):.1f} s | {share(0.99):.1f} s | {back[-1]:.1f} s | {whole:.1f} s | {gone} |")
        out("\n| left | agents | idle, of a core | processor for those that came | MiB before, after |\n|---|---|---|---|---|")
        for name in left:
            cpu, memory = before[name]
            out(f"| {name} | {streams[name]} → {status['streams'][name]} | {idle[name] * 100:.1f} % "
                f"| {spent(pids[name]) - cpu:.1f} s | {memory}, {resident(pids[name])} |")
        bed.do("heal")


def journey(out, options):
    done = subprocess.run(
        ["swift", "test", "--skip-build", "--filter", "ControllerJourneyTests"], cwd=ROOT, text=True, capture_output=True,
        env={**os.environ, "MUSTER_TEST_PROGRAMS": os.path.abspath(options.bin), "MUSTER_JOURNEY_TIMED": "1"})
    found = re.search(r"nobody took writes for ([0-9.]+) s in the pivot; longest gaps: (.*); (\d+) acknowledged, lost = (\d+)",
                      done.stdout)
    if done.returncode or not found:
        sys.exit(f"the journey has failed: {done.stdout[-4000:]}")
    frozen, events, acknowledged, lost = found.groups()
    out("\n**A site moves to a controller and grows**: whole controllers in namespaces, by the commands that operators type, while a "
        f"machine registers every 250 ms; {acknowledged} were acknowledged, lost = {lost}. In the pivot nobody took writes for "
        f"{frozen} s at the most.\n")
    out("| event | longest time without an acknowledgement s | settled after s |\n|---|---|---|")
    for what, gap, took in re.findall(r"([a-z ]+) ([0-9.]+) s of ([0-9.]+) s", events):
        out(f"| {what.strip()} | {gap} | {took} |")


def main():
    sections = {"writes": writes, "barrier": barrier, "lag": lag, "failover": failover, "start": start, "memory": memory}
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sections", nargs="*", metavar="SECTION")
    parser.add_argument("--bin", default=f"{ROOT}/.build/release")
    parser.add_argument("--seconds", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--nodes", type=int, default=10_000)
    parser.add_argument("--agents", type=int, default=5_000)
    parser.add_argument("--out")
    options = parser.parse_args()
    work = tempfile.mkdtemp(prefix="muster-ha-")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    lines = []

    def out(line):
        print(line, flush=True)
        lines.append(line)

    try:
        known = [*sections, "resettle", "journey"]
        names = options.sections or known
        if strange := set(names) - set(known):
            parser.error(f"there is no section {', '.join(sorted(strange))}; there are {', '.join(known)}")
        shared = [name for name in names if name in sections]
        if shared:
            with Bed(options, work) as bed:
                for name in shared:
                    sections[name](bed, out)
        if "resettle" in names:
            resettle(out, options, work)
        if "journey" in names:
            journey(out, options)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    if options.out:
        with open(options.out, "w") as file:
            file.write("\n".join(lines) + "\n")


main()
