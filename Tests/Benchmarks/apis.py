#!/usr/bin/env python3
"""What OpenStack's APIs cost a conductor, beside OpenStack's own services: apis.py [SECTION...]

Sections: identity (beside Keystone), growth (of ours, from 100 users to 10,000 with 50,000 assignments), baremetal
(beside Ironic). The cost of a request is the user and system time of all processes of a server during a load, divided
by the requests that it answered: how many a second one core can give does not depend on what else the machine does.
Databases inside the process count, memcached does not. Prints Markdown; --out FILE writes it too.
"""
import argparse, http.client, json, multiprocessing, os, re, resource, signal, ssl, statistics, subprocess, sys, time
import urllib.parse

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, f"{HERE}/../Scenarios")
from servers import Conductor, Ironic, Keystone, processor_seconds, resident_mebibytes  # noqa: E402

WRITERS = 16


class Client:
    """One connection to a server that stays, with a token where there is one."""

    def __init__(self, url, ca="", token="", headers=None):
        self.url, self.ca, self.connection = urllib.parse.urlsplit(url), ca, None
        self.headers = {"Content-Type": "application/json", "Accept": "application/json", **(headers or {})}
        if token:
            self.headers["X-Auth-Token"] = token

    def connect(self):
        if self.url.scheme == "https":
            return http.client.HTTPSConnection(self.url.hostname, self.url.port, timeout=120,
                                               context=ssl.create_default_context(cafile=self.ca))
        return http.client.HTTPConnection(self.url.hostname, self.url.port, timeout=120)

    def call(self, method, path, body=None, wanted=(200, 201, 202, 204)):
        """Headers and document of an answer; ends the program if it is not what is wanted."""
        for again in (True, False):
            self.connection = self.connection or self.connect()
            try:
                data = None if body is None else json.dumps(body)
                self.connection.request(method, self.url.path + path, data, self.headers)
                answer = self.connection.getresponse()
                data = answer.read()
                break
            except (ConnectionError, http.client.HTTPException):
                self.connection = None
                if not again:
                    raise
        if answer.will_close:
            self.connection.close()
            self.connection = None
        if answer.status not in wanted:
            sys.exit(f"{method} {path}: {answer.status} {data[:300]!r}")
        return answer.headers, json.loads(data) if data else None


# One token makes all requests, as fast as it can.
UNBOUNDED = ("--api-rate", "0")
SCOPE = {"project": {"name": "admin", "domain": {"id": "default"}}}


def password_login(name, password):
    user = {"name": name, "domain": {"id": "default"}, "password": password}
    return {"auth": {"identity": {"methods": ["password"], "password": {"user": user}}, "scope": SCOPE}}


def token_login(token):
    return {"auth": {"identity": {"methods": ["token"], "token": {"id": token}}, "scope": SCOPE}}


def login(server):
    headers, _ = Client(server.identity_url, server.ca).call(
        "POST", "/auth/tokens", password_login("admin", server.password))
    return headers["X-Subject-Token"]


def each(server, token, calls, root=None, headers=None):
    """Makes many calls on WRITERS connections; the documents, in the calls' order."""
    with multiprocessing.Pool(WRITERS, start_client, (root or server.identity_url, server.ca, token, headers)) as pool:
        return pool.map(one_call, calls, chunksize=max(1, min(64, len(calls) // WRITERS)))


def start_client(*words):
    global client
    client = Client(*words)


def one_call(words):
    return client.call(*words)[1]


def load(server, url, seconds, headers=(), method="GET", body=None, connections=2):
    """What one request costs and how long it takes: milliseconds of processor, of the median, of the 99th of 100."""
    environment = {**os.environ, "METHOD": method, "HEADERS": "\n".join(headers)}
    if body is not None:
        environment["BODY"] = json.dumps(body)
    words = ["wrk", "-t1", f"-c{connections}", "--timeout", "60s", "--latency", "-s", f"{HERE}/request.lua", url]
    subprocess.run([*words, "-d1s"], env=environment, stdout=subprocess.DEVNULL, check=True)
    before = processor_seconds(server.process.pid)
    words.append(f"-d{seconds}s")
    done = subprocess.run(words, env=environment, stdout=subprocess.PIPE, text=True, check=True).stdout
    spent = processor_seconds(server.process.pid) - before
    count = int(re.search(r"(\d+) requests in", done).group(1))
    bad = re.search(r"Non-2xx or 3xx responses: (\d+)", done)
    if bad or not count:
        sys.exit(f"{method} {url}: {bad.group(1) if bad else 'all'} of {count} failed\n{server.log()}")
    return spent / count * 1000, milliseconds(done, "50%"), milliseconds(done, "99%")


def milliseconds(report, line):
    value, unit = re.search(rf"^\s+{line}\s+([\d.]+)(us|ms|s)", report, re.M).groups()
    return float(value) * {"us": 0.001, "ms": 1, "s": 1000}[unit]


class Tables:
    def __init__(self):
        self.lines = []

    def add(self, title, head, rows):
        made = [f"**{title}**", "", "| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
        made += ["| " + " | ".join(str(cell) for cell in row) + " |" for row in rows] + [""]
        self.lines += made
        print("\n".join(made), flush=True)


def number(value):
    return f"{value:.3f}" if value < 1 else f"{value:.1f}" if value < 100 else f"{value:,.0f}"


def beside(ours, theirs, name):
    """Rows of what one request costs ours and theirs, and how many of ours the processor time of one of theirs pays."""
    head = ["request", "Muster, ms of processor", f"{name}, ms of processor",
            f"Muster's requests a processor second / {name}'s", "Muster, p50 and p99 ms", f"{name}, p50 and p99 ms"]
    rows = [[what, number(ours[what][0]), number(theirs[what][0]), f"{theirs[what][0] / ours[what][0]:.0f}",
             ", ".join(map(number, ours[what][1:])), ", ".join(map(number, theirs[what][1:]))]
            for what in ours if what in theirs]
    return head, rows


def people(server, token, users, projects):
    """Users and projects of a domain of their own."""
    admin = Client(server.identity_url, server.ca, token)
    domain = admin.call("POST", "/domains", {"domain": {"name": "bench"}})[1]["domain"]["id"]
    made = each(server, token, [("POST", "/projects", {"project": {"name": f"project-{i}", "domain_id": domain}})
                                for i in range(projects)])
    projects = [one["project"]["id"] for one in made]
    made = each(server, token, [
        ("POST", "/users", {"user": {"name": f"user-{i}", "domain_id": domain, "email": f"u{i}@example.org"}})
        for i in range(users)])
    return domain, [one["user"]["id"] for one in made], projects


def roles(server, token):
    found = Client(server.identity_url, server.ca, token).call("GET", "/roles")[1]["roles"]
    return {role["name"]: role["id"] for role in found}


def identity_costs(server, seconds):
    """What each request costs with 1,000 users and 1,000 projects."""
    token = login(server)
    domain, users, projects = people(server, token, 1000, 1000)
    known = roles(server, token)
    admin = Client(server.identity_url, server.ca, token)
    group = admin.call("POST", "/groups", {"group": {"name": "bench", "domain_id": domain}})[1]["group"]["id"]
    admin.call("PUT", f"/groups/{group}/users/{users[0]}")
    admin.call("PUT", f"/projects/{projects[0]}/users/{users[0]}/roles/{known['admin']}")
    admin.call("PUT", f"/projects/{projects[1]}/groups/{group}/roles/{known['member']}")
    admin.call("PUT", f"/OS-INHERIT/domains/{domain}/groups/{group}/roles/{known['reader']}/inherited_to_projects")
    auth, url = [f"X-Auth-Token: {token}"], server.identity_url
    return {
        "validate a token": load(server, f"{url}/auth/tokens", seconds, [*auth, f"X-Subject-Token: {token}"]),
        "version document": load(server, url, seconds),
        "log in with a password": load(server, f"{url}/auth/tokens", 3 * seconds, method="POST",
                                       body=password_login("admin", server.password), connections=1),
        "log in with a token (all but the hash)": load(
            server, f"{url}/auth/tokens", seconds, method="POST", body=token_login(token)),
        "list of 1,000 users": load(server, f"{url}/users?domain_id={domain}", seconds, auth),
        "list of 1,000 projects": load(server, f"{url}/projects?domain_id={domain}", seconds, auth),
        "one user": load(server, f"{url}/users/{users[0]}", seconds, auth),
        "effective roles of a user in a project": load(
            server, f"{url}/role_assignments?effective&user.id={users[0]}&scope.project.id={projects[0]}",
            seconds, auth),
        "effective assignments of a user, 1,000 projects by inheritance": load(
            server, f"{url}/role_assignments?effective&user.id={users[0]}", seconds, auth),
    }


def identity(options, tables):
    costs, rows = [], []
    for make in (lambda: Conductor(program=options.conductor, more=UNBOUNDED), lambda: Keystone(rounds=12, cached=True)):
        with make() as server:
            fresh = resident_mebibytes(server.process.pid)
            costs.append(identity_costs(server, options.seconds))
            rows.append([type(server).__name__, f"{server.first_answer:.2f} s", f"{fresh:.0f} MiB",
                         f"{resident_mebibytes(server.process.pid):.0f} MiB"])
    tables.add("Identity: 1,000 users, 1,000 projects; passwords hashed as delivered", *beside(*costs, "Keystone"))
    tables.add("Start with an empty store", ["server", "first answer", "memory then", "memory after all this"], rows)


def growth(options, tables):
    rows, small = [], None
    for users, projects, assignments in ((100, 10, 500), (10_000, 1_000, 50_000)):
        with Conductor(program=options.conductor, more=UNBOUNDED) as server:
            token, began = login(server), time.monotonic()
            domain, people_, homes = people(server, token, users, projects)
            known = list(roles(server, token).values())[:3]
            pairs = [(people_[i % users], homes[(i // users * 7 + i) % projects], known[i % 3])
                     for i in range(assignments)]
            each(server, token, [("PUT", f"/projects/{home}/users/{who}/roles/{role}") for who, home, role in pairs])
            seeded = time.monotonic() - began
            url, auth = server.identity_url, [f"X-Auth-Token: {token}"]
            costs = {
                "log in with a token": load(
                    server, f"{url}/auth/tokens", options.seconds, method="POST", body=token_login(token)),
                "effective assignments of a user": load(
                    server, f"{url}/role_assignments?effective&user.id={pairs[0][0]}", options.seconds, auth),
                "effective assignments in a project by a user": load(
                    server, f"{url}/role_assignments?effective&user.id={pairs[0][0]}&scope.project.id={pairs[0][1]}",
                    options.seconds, auth),
            }
            memory = resident_mebibytes(server.process.pid)
            server.process.terminate()
            server.process.wait()
            again = server.launch()
            small = small or costs
            for what, cost in costs.items():
                rows.append([f"{users:,} users, {projects:,} projects, {assignments:,} assignments", what,
                             number(cost[0]), f"{cost[0] / small[what][0]:.2f}", number(cost[1]), number(cost[2])])
            rows.append([f"{users:,} users", "start to first answer", f"{again:.2f} s", "", "", ""])
            rows.append([f"{users:,} users", "memory", f"{memory:.0f} MiB", "", "", ""])
            rows.append([f"{users:,} users", "seeding through the API", f"{seeded:.0f} s", "", "", ""])
    tables.add("Growth", ["with", "what", "ms of processor", "/ the small one's", "p50 ms", "p99 ms"], rows)


def baremetal_costs(server, url, token, seconds):
    """What each request costs with 1,000 nodes of a port each, which are made here, one after the other."""
    version = {"X-OpenStack-Ironic-API-Version": "1.72"}
    client = Client(url, server.ca, token, version)
    times, before = [], processor_seconds(server.process.pid)
    for i in range(1000):
        began = time.monotonic()
        node = client.call("POST", "/v1/nodes", {
            "driver": "fake-hardware", "name": f"bench-{i}", "resource_class": "baremetal", "driver_info": {"a": "b"},
            "properties": {"cpus": 8, "memory_mb": 16384, "local_gb": 100, "cpu_arch": "x86_64"}})[1]["uuid"]
        client.call("POST", "/v1/ports", {"node_uuid": node, "address": f"52:54:00:00:{i >> 8:02x}:{i & 255:02x}"})
        times.append((time.monotonic() - began) * 1000)
    spent = processor_seconds(server.process.pid) - before
    made = (spent / len(times) * 1000, statistics.median(times), sorted(times)[len(times) * 99 // 100])
    headers = ["X-OpenStack-Ironic-API-Version: 1.72"] + ([f"X-Auth-Token: {token}"] if token else [])
    return {
        "create a node and its port": made,
        "one node": load(server, f"{url}/v1/nodes/{node}", seconds, headers),
        "list of 1,000 nodes": load(server, f"{url}/v1/nodes?limit=1000", seconds, headers),
        "list of 1,000 nodes in detail": load(server, f"{url}/v1/nodes/detail?limit=1000", seconds, headers),
    }


def baremetal(options, tables):
    with Conductor(program=options.conductor, more=UNBOUNDED) as server:
        url, token = f"{server.api_url}/baremetal", login(server)
        if Client(url, server.ca, token).call("GET", "/v1/nodes", wanted=range(600))[1] is None:
            print("baremetal: this conductor has no such API", file=sys.stderr)
            return
        ours = baremetal_costs(server, url, token, options.seconds)
        memory = [["Muster", "", f"{resident_mebibytes(server.process.pid):.0f} MiB"]]
    with Ironic() as server:
        theirs = baremetal_costs(server, server.url, "", options.seconds)
        memory.append(["Ironic", f"{server.first_answer:.2f} s", f"{resident_mebibytes(server.process.pid):.0f} MiB"])
    tables.add("Bare metal: 1,000 nodes; Ironic asks for no token, ours does", *beside(ours, theirs, "Ironic"))
    tables.add("Memory afterwards", ["server", "first answer", "memory"], memory)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    sections = {"identity": identity, "growth": growth, "baremetal": baremetal}
    parser.add_argument("sections", nargs="*", choices=[[], *sections], default=[])
    parser.add_argument("--conductor", help="the program; else the newest build")
    parser.add_argument("--seconds", type=int, default=5, help="of each load")
    parser.add_argument("--out")
    options = parser.parse_args()
    if os.geteuid() != 0:
        sys.exit("a conductor needs root")
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    tables = Tables()
    for name in options.sections or sections:
        sections[name](options, tables)
    if options.out:
        with open(options.out, "w") as file:
            file.write("\n".join(tables.lines))


if __name__ == "__main__":
    main()
