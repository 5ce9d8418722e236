#!/usr/bin/env python3
"""What a fleet costs one conductor, and what stands beside it: fleet.py [SECTION...]

Sections: ingest (with idle, lists, changes and a storm at the end of the largest fleet), streams, store, dhcp, tftp.
Everything runs in two network namespaces that are made and removed here: the servers in one, the load in the other.
Prints Markdown; --out FILE writes it too.
"""
import argparse, json, os, resource, shutil, signal, statistics, subprocess, sys, tempfile, time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
SERVERS, LOAD = "muster-bench-s", "muster-bench-l"
TICKS = os.sysconf("SC_CLK_TCK")
children = []


def run(*words, **options):
    return subprocess.run(words, check=True, text=True, **options)


def inside(namespace, *words):
    return ["ip", "netns", "exec", namespace, *words]


def start(namespace, *words, **options):
    child = subprocess.Popen(inside(namespace, *words), text=True, **options)
    children.append(child)
    return child


def stop(child, how=signal.SIGTERM):
    if child.poll() is None:
        child.send_signal(how)
        try:
            child.wait(30)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
    if child in children:
        children.remove(child)


class Lab:
    """Two namespaces: 10.99.0.1 serves, 10.99.0.2 routes to the machines' network 10.98.0.0/16, where nobody answers."""

    def __enter__(self):
        self.__exit__()
        for name in (SERVERS, LOAD):
            run("ip", "netns", "add", name)
            run(*inside(name, "ip", "link", "set", "lo", "up"))
        run("ip", "link", "add", "mbs0", "netns", SERVERS, "type", "veth", "peer", "name", "mbl0", "netns", LOAD)
        for name, link, address in ((SERVERS, "mbs0", "10.99.0.1/16"), (LOAD, "mbl0", "10.99.0.2/16")):
            run(*inside(name, "ip", "address", "add", address, "dev", link))
            run(*inside(name, "ip", "link", "set", link, "up"))
        run(*inside(SERVERS, "ip", "route", "add", "10.98.0.0/16", "via", "10.99.0.2"))
        run(*inside(LOAD, "ip", "address", "add", "10.98.0.1/32", "dev", "mbl0"))
        run(*inside(LOAD, "ip", "route", "add", "blackhole", "10.98.0.0/16"))
        return self

    def __exit__(self, *_):
        for child in list(children):
            stop(child)
        for name in (SERVERS, LOAD):
            subprocess.run(["ip", "netns", "delete", name], stderr=subprocess.DEVNULL)


def usage(pid):
    """Processor seconds, resident and peak MiB of a process."""
    fields = open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()
    status = dict(line.split(":", 1) for line in open(f"/proc/{pid}/status") if ":" in line)
    mebibytes = lambda name: int(status[name].split()[0]) / 1024
    return (int(fields[11]) + int(fields[12])) / TICKS, mebibytes("VmRSS"), mebibytes("VmHWM")


def processor_of_all(pids):
    return sum(usage(pid)[0] for pid in pids)


class Conductor:
    """A conductor with a site of its own, an image and a ramdisk."""

    def __init__(self, work, options):
        self.state, self.options, self.site = f"{work}/state", options, f"{work}/site.yaml"
        self.work = work
        shutil.rmtree(self.state, ignore_errors=True)
        self.start()
        self.apply(15)
        for name, size in (("image", 8 << 20), ("kernel", 8 << 20), ("initrd", 32 << 20)):
            with open(f"{work}/{name}", "wb") as file:
                file.write(os.urandom(size))
        self.muster("image", "push", "load-network", "--role", "network", "--file", f"{work}/image")
        self.muster("image", "push-ramdisk", "--kernel", f"{work}/kernel", "--initrd", f"{work}/initrd")

    def start(self):
        log = open(f"{self.work}/conductor.log", "a")
        self.process = start(
            SERVERS, f"{self.options.bin}/muster-conductor", "--state-dir", self.state, "--log-level", "warning",
            "--local-loader", f"{self.work}/loader", stdout=log, stderr=log)
        self.pid = self.process.pid
        for _ in range(300):
            found = subprocess.run(
                inside(SERVERS, "sh", "-c", "ss -Hltn sport = :9443 | grep -q ."), stderr=subprocess.DEVNULL)
            if found.returncode == 0:
                return
            if self.process.poll() is not None:
                sys.exit(f"the conductor ended; see {self.work}/conductor.log")
            time.sleep(0.1)
        sys.exit("the conductor does not come up")

    def muster(self, *words):
        environment = {
            **os.environ, "MUSTER_API": "https://127.0.0.1:9443", "MUSTER_CA": f"{self.state}/ca.pem",
            "MUSTER_TOKEN_FILE": f"{self.state}/operator.token"}
        return run(*inside(SERVERS, f"{self.options.bin}/muster", *words), env=environment, capture_output=True)

    def apply(self, metrics_seconds):
        with open(self.site, "w") as file:
            file.write(f"""site: {{ name: bench, metricsIntervalSeconds: {metrics_seconds} }}
segments:
  - {{ name: load, relays: [10.98.0.1], network: 10.98.0.0/16, server: 10.99.0.1, leaseTime: 1h,
      pool: {{ start: 10.98.16.0, end: 10.98.255.254 }} }}
rules:
  - {{ name: load, order: 1, match: {{ system.vendor: Load }}, gives: {{ name: "load-{{n}}", role: network }}, approves: true }}
""")
        self.muster("site", "apply", self.site)

    def usage(self):
        return usage(self.pid)

    def stop(self, how=signal.SIGTERM):
        stop(self.process, how)


class Load:
    """A process of fleet-load that plays machines."""

    def __init__(self, options, machines):
        self.process = start(
            LOAD, f"{options.bin}/fleet-load", "ingest", "--machines", str(machines), "--concurrency",
            str(options.concurrency), stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def report(self):
        line = self.process.stdout.readline()
        if not line:
            sys.exit("fleet-load ended")
        return json.loads(line)

    def say(self, line):
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def stop(self):
        self.process.stdin.close()
        stop(self.process, signal.SIGKILL)


def figures(options, *words, namespace=LOAD):
    done = subprocess.run(
        inside(namespace, f"{options.bin}/fleet-load", *words), text=True, stdout=subprocess.PIPE, check=True)
    return json.loads(done.stdout.splitlines()[-1])


class Tables:
    def __init__(self):
        self.lines = []

    def add(self, title, head, rows):
        self.lines += [f"**{title}**", "", "| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
        self.lines += ["| " + " | ".join(str(cell) for cell in row) + " |" for row in rows] + [""]
        print("\n".join(self.lines[-len(rows) - 5:]), flush=True)


def ingest(options, work, tables):
    rows, details = [], []
    for machines in options.machines:
        conductor = Conductor(work, options)
        before = conductor.usage()
        load = Load(options, machines)
        report = load.report()
        print(json.dumps({key: report[key] for key in ("failures", "steps")}), file=sys.stderr, flush=True)
        if not report["count"]:
            sys.exit("no machine got through")
        after = conductor.usage()
        share = usage(load.process.pid)[0]
        lost = sum(count for why, count in report["failures"].items() if why.startswith("LOST"))
        rows.append([
            f"{machines:,}", f"{report['count'] / report['seconds'] * 60:,.0f}", f"{report['seconds']:.0f} s",
            f"{(after[0] - before[0]) / report['count'] * 1000:.1f} ms", f"{share / report['count'] * 1000:.1f} ms",
            f"{after[2]:.0f} MiB", f"{report['p50']:.0f}, {report['p99']:.0f} ms", lost,
            sum(report["failures"].values()) - lost])
        print(rows[-1], file=sys.stderr, flush=True)
        if machines == options.machines[-1]:
            details = settled(options, conductor, load, machines)
        load.stop()
        conductor.stop()
    tables.add(
        "Ingest: DORA twice, script, head and 64 KiB of the ramdisk, inventory, rule, order, manifest, CSR, stream",
        ["machines", "a minute", "in", "conductor's processor a machine", "load's", "peak memory", "a machine: p50, p99",
         "lost", "asked again"], rows)
    tables.add(f"The same {options.machines[-1]:,} machines afterwards", ["what", "figure"], details)


def settled(options, conductor, load, machines):
    time.sleep(10)
    before, began = conductor.usage(), time.time()
    time.sleep(options.idle)
    after, spent = conductor.usage(), time.time() - began
    rows = [["idle streams: memory", f"{after[1]:.0f} MiB"],
            ["idle streams: processor", f"{(after[0] - before[0]) / spent * 100:.1f} % of a core"]]
    api = ["--api", "10.99.0.1:9443", "--ca", f"{conductor.state}/ca.pem", "--token-file",
           f"{conductor.state}/operator.token"]
    for title, path, count, more in (
        (f"list of {machines:,} nodes, all pages of 500", "/fleet/v1/nodes", 200, ["--all-pages"]),
        ("one page of 500", "/fleet/v1/nodes", 200, []),
        ("one node in detail", "/fleet/v1/nodes/load-50", 500, []),
    ):
        before = conductor.usage()[0]
        report = figures(options, "read", *api, "--count", str(count), *more, path)
        spent = (conductor.usage()[0] - before) / count * 1000
        rows.append([title, f"p50 {report['p50']:.1f}, p99 {report['p99']:.1f} ms, {spent:.1f} ms of processor, "
                     f"{report['bytes'] / 1024:,.0f} KiB"])
    for seconds in (20, 25):
        before = conductor.usage()[0]
        load.say("change")
        time.sleep(0.2)
        conductor.apply(seconds)
        report = load.report()
    rows.append(["one change to all", f"p50 {report['p50'] - 200:.0f}, last {report['most'] - 200:.0f} ms from the "
                 f"command's start, {report['count']} told, {(conductor.usage()[0] - before) * 1000:.0f} ms of processor"])
    load.say("storm")
    conductor.stop(signal.SIGKILL)
    conductor.start()
    report = load.report()
    used = conductor.usage()
    rows.append(["conductor killed and started again: all streams back",
                 f"{report['seconds']:.1f} s after the first loss, {report['count']} streams, {used[0]:.1f} s of processor, peak {used[2]:.0f} MiB"])
    return rows


def streams(options, work, tables):
    rows = []
    for agents in (1000, 5000):
        done = run(f"{options.bin}/agent-load", "prove", "--agents", str(agents), "--ping", "15", "--json", stdout=subprocess.PIPE)
        found = json.loads(done.stdout)
        rows.append([f"{agents:,}", f"{found['rssConnected'] / 2**20:.0f} MiB",
                     f"{(found['rssConnected'] - found['rssStart']) / agents / 1024:.0f} KiB",
                     f"{found['connect']['seconds']:.1f} s", f"{found['idleCPU'] / found['idleSeconds'] * 100:.1f} % of a core"])
    tables.add("The agent port by itself", ["streams", "memory", "a stream", "all open in", "idle"], rows)


def store(options, work, tables):
    rows = []
    for writers in (1, 16, 64, 256):
        report = figures(options, "commit", "--directory", work, "--writers", str(writers), "--seconds", "5")
        rows.append([writers, f"{report['count'] / report['seconds']:,.0f}", f"{report['p50']:.2f}, {report['p99']:.2f} ms"])
    tables.add("Durable commits of 3 KiB", ["writers", "commits a second", "p50, p99"], rows)


KEA = {
    "Dhcp4": {
        "interfaces-config": {"interfaces": ["mbs0"], "dhcp-socket-type": "udp"},
        "lease-database": {"type": "memfile", "persist": True, "lfc-interval": 0},
        "valid-lifetime": 3600,
        "subnet4": [{"id": 1, "subnet": "10.98.0.0/16", "pools": [{"pool": "10.98.16.0-10.98.255.254"}],
                     "relay": {"ip-addresses": ["10.98.0.1"]}}],
        "loggers": [{"name": "kea-dhcp4", "severity": "ERROR", "output_options": [{"output": "stderr"}]}],
    }
}


def dhcp_servers(options, work):
    """Each server by name, and how it is started and stopped."""
    def conductor():
        made = Conductor(work, options)
        time.sleep(3)
        return made.process

    def kea():
        KEA["Dhcp4"]["lease-database"]["name"] = f"{work}/kea.csv"
        json.dump(KEA, open(f"{work}/kea.json", "w"))
        environment = {**os.environ, "KEA_PIDFILE_DIR": work, "KEA_LOCKFILE_DIR": work}
        return start(SERVERS, "kea-dhcp4", "-c", f"{work}/kea.json", env=environment, stdout=subprocess.DEVNULL)

    def dnsmasq():
        return start(
            SERVERS, "dnsmasq", "-k", "--conf-file=/dev/null", "--port=0", "--user=root", "--no-ping",
            "--dhcp-range=10.98.16.0,10.98.255.254,255.255.0.0,1h", f"--dhcp-leasefile={work}/dnsmasq.leases",
            "--dhcp-lease-max=70000", "--interface=mbs0", "--log-facility=/dev/null", f"--pid-file={work}/dnsmasq.pid")

    return {"Muster": conductor, "Kea, memfile": kea, "dnsmasq": dnsmasq}


# So many that at the highest rate none says more than a server may take for a flood: ours takes 4 messages a second of
# one machine.
CLIENTS = 4000


def perfdhcp(rate, clients, seconds):
    done = subprocess.run(
        inside(LOAD, "perfdhcp", "-4", "-l", "10.98.0.1", "-r", str(rate), "-R", str(clients), "-p", str(seconds),
               "-g", "single", "10.99.0.1"), text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    received, sent, part = 0, 0, ""
    for line in done.stdout.splitlines():
        if "REQUEST-ACK" in line:
            part = "ack"
        elif "DISCOVER-OFFER" in line:
            part = "offer"
        words = line.split(":")
        if part == "offer" and line.startswith("sent packets"):
            sent = int(words[1])
        if part == "ack" and line.startswith("received packets"):
            received = int(words[1])
    if not sent:
        sys.exit(f"perfdhcp: {done.stderr or done.stdout}")
    return sent, received


def dhcp(options, work, tables):
    rows, best = [], {}
    for name, begin in dhcp_servers(options, work).items():
        for file in ("kea.csv", "dnsmasq.leases"):
            if os.path.exists(f"{work}/{file}"):
                os.unlink(f"{work}/{file}")
        server = begin()
        time.sleep(1)
        perfdhcp(500, CLIENTS, 10)
        for rate in options.rates:
            before = usage(server.pid)[0]
            sent, done = perfdhcp(rate, CLIENTS, 8)
            spent = usage(server.pid)[0] - before
            rows.append([name, f"{rate:,}", f"{done / 8:,.0f}", f"{(1 - done / sent) * 100:.1f} %",
                         f"{done / spent:,.0f}" if spent else "-"])
            print(rows[-1], file=sys.stderr, flush=True)
            if done / sent > 0.98:
                best[name] = max(best.get(name, (0, 0)), (done / 8, done / spent if spent else 0))
        stop(server)
    tables.add(f"DHCP: perfdhcp over a relay, {CLIENTS:,} known clients, whole exchanges",
               ["server", "asked a second", "answered a second", "lost", "exchanges a second of processor"], rows)
    ours = best.get("Muster", (0, 0))
    tables.add("Most exchanges a second with under 2 % lost",
               ["server", "a second", "Muster / it", "a second of processor", "Muster / it"],
               [[name, f"{found[0]:,.0f}", f"{ours[0] / found[0]:.2f}", f"{found[1]:,.0f}", f"{ours[1] / max(found[1], 1):.2f}"]
                for name, found in best.items()])


def unpacked_tftpd():
    """tftpd-hpa without its installation, which would remove atftpd."""
    folder = f"{ROOT}/.cache/bench"
    program = f"{folder}/tftpd-hpa/usr/sbin/in.tftpd"
    if not os.path.exists(program):
        os.makedirs(folder, exist_ok=True)
        run("apt-get", "-qq", "download", "tftpd-hpa", cwd=folder, stderr=subprocess.DEVNULL)
        package = next(name for name in os.listdir(folder) if name.endswith(".deb"))
        run("dpkg", "-x", package, "tftpd-hpa", cwd=folder)
    return program


def tftp(options, work, tables):
    folder = f"{work}/tftp"
    os.makedirs(folder, exist_ok=True)
    with open(f"{work}/loader", "wb") as file:
        file.write(os.urandom(7 << 20))
    shutil.copy(f"{work}/loader", f"{folder}/local.efi")
    os.chmod(folder, 0o755), os.chmod(f"{folder}/local.efi", 0o644)
    hpa = unpacked_tftpd()
    servers = {
        "Muster": lambda: Conductor(work, options).process,
        "tftpd-hpa": lambda: start(SERVERS, hpa, "-L", "-a", "10.99.0.1:69", "-u", "root", "-s", folder),
        "atftpd": lambda: start(SERVERS, "atftpd", "--daemon", "--no-fork", "--bind-address", "10.99.0.1", "--user", "root",
                                "--group", "root", "--logfile", "/dev/null", folder),
    }
    found = {}
    # In turns, as one block after the other is a race of wake-ups, which vary from run to run.
    for name, begin in [pair for _ in range(3) for pair in servers.items()]:
        server = begin()
        time.sleep(2)
        for window in (1, 4, 16):
            before = children_processor(server.pid)
            report = figures(options, "fetch", "--server", "10.99.0.1:69", "--window-size", str(window), "--count", "10", "local.efi")
            # tftpd-hpa has children that nobody waits for; what they used is not to be had.
            spent = 0 if name == "tftpd-hpa" else children_processor(server.pid) - before
            size = report["bytes"] / 2**20
            found.setdefault((name, window), []).append((size / report["seconds"], size / spent if spent else 0))
        stop(server)
    middle = {key: [statistics.median(column) for column in zip(*runs)] for key, runs in found.items()}
    rows = [[name, window, f"{speed:.1f}", f"{middle['Muster', window][0] / speed:.2f}", f"{per:.0f}" if per else "-"]
            for (name, window), (speed, per) in middle.items()]
    tables.add("TFTP: 7 MiB at blksize 1468, one client, the median of three turns", ["server", "windowsize", "MiB/s", "Muster / it", "MiB a second of processor"], rows)


def children_processor(pid):
    """Processor seconds of a process with all its children, living and ended."""
    fields = open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()
    total = sum(int(field) for field in fields[11:15]) / TICKS
    try:
        for child in open(f"/proc/{pid}/task/{pid}/children").read().split():
            total += children_processor(int(child))
    except FileNotFoundError:
        pass
    return total


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    sections = {"store": store, "streams": streams, "tftp": tftp, "dhcp": dhcp, "ingest": ingest}
    parser.add_argument("sections", nargs="*", choices=[[], *sections], default=[])
    parser.add_argument("--bin", default=f"{ROOT}/.build/release")
    parser.add_argument("--machines", type=lambda text: [int(word) for word in text.split(",")], default=[1000, 4000, 10000])
    # All machines come from one address, which may have 64 connections at a port, those that are just ending included.
    parser.add_argument("--concurrency", type=int, default=48)
    parser.add_argument("--idle", type=int, default=30)
    parser.add_argument("--rates", type=lambda text: [int(word) for word in text.split(",")], default=[500, 1000, 2000, 4000])
    parser.add_argument("--out")
    options = parser.parse_args()
    if os.geteuid() != 0:
        sys.exit("this makes network namespaces and needs root")
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    tables = Tables()
    os.makedirs(f"{ROOT}/.cache", exist_ok=True)
    with tempfile.TemporaryDirectory(dir=f"{ROOT}/.cache", prefix="bench.") as work, Lab():
        os.makedirs(f"{work}/state", mode=0o700)
        open(f"{work}/loader", "wb").write(b"loader")
        try:
            for name in options.sections or sections:
                sections[name](options, work, tables)
        except (SystemExit, subprocess.CalledProcessError) as error:
            log = f"{work}/conductor.log"
            if os.path.exists(log):
                sys.stderr.write("".join(open(log).readlines()[-20:]))
            sys.stderr.write(getattr(error, "stderr", None) or "")
            raise
    if options.out:
        with open(options.out, "w") as file:
            file.write("\n".join(tables.lines))


main()
