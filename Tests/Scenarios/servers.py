#!/usr/bin/env python3
"""Runs a command against a fresh server on loopback: servers.py [--region NAME] conductor|keystone|ironic COMMAND...

The command finds IDENTITY_URL, ADMIN_PASSWORD, CA_FILE and REGION in its environment, for a conductor also STATE, its
state directory, and API_URL; for Ironic, which asks for no token, BAREMETAL_URL only. Its exit code is ours. The server
and all that it has written are gone afterwards, also when this is interrupted.

CONDUCTOR is the conductor's program (else the release or the debug build, whichever is newer). PEERS is the Python
environment that has Keystone and Ironic (see Tests/Benchmarks/requirements-peers.txt).
"""
import argparse, os, re, shutil, signal, socket, ssl, subprocess, sys, tempfile, time, urllib.error, urllib.request

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
TICKS = os.sysconf("SC_CLK_TCK")


def cache():
    home = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return os.environ.get("MUSTER_CACHE") or f"{home}/muster"


def peers():
    """The programs of the Python environment with OpenStack's services."""
    return (os.environ.get("PEERS") or f"{cache()}/api-peers") + "/bin"


def free_ports(count):
    """Ports of loopback that nobody has now."""
    held = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [one.getsockname()[1] for one in held]
    for one in held:
        one.close()
    return ports


def tree(pid):
    """A process and all that it has started and that lives."""
    found = [pid]
    try:
        for task in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{task}/children") as file:
                for child in file.read().split():
                    found += tree(int(child))
    except OSError:
        pass
    return found


def processor_seconds(pid):
    """User and system seconds that a process tree has used so far."""
    total = 0
    for one in tree(pid):
        try:
            with open(f"/proc/{one}/stat") as file:
                fields = file.read().rsplit(")", 1)[1].split()
            total += int(fields[11]) + int(fields[12])
        except OSError:
            pass
    return total / TICKS


def resident_mebibytes(pid):
    """Memory of a process tree, pages that several of its processes share divided among them."""
    total = 0
    for one in tree(pid):
        try:
            with open(f"/proc/{one}/smaps_rollup") as file:
                total += int(re.search(r"^Pss:\s+(\d+)", file.read(), re.M).group(1))
        except OSError:
            pass
    return total / 1024


class Server:
    """A server that a `with` block starts and stops. What it writes is in `state`."""

    name = "server"
    ca = ""

    def __init__(self, region="RegionOne"):
        self.region, self.process, self.children = region, None, []

    def __enter__(self):
        self.state = tempfile.mkdtemp(prefix=f"muster-{self.name}.")
        try:
            self.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        for child in reversed(self.children):
            if child.poll() is None:
                child.terminate()
                try:
                    child.wait(20)
                except subprocess.TimeoutExpired:
                    child.kill()
                    child.wait()
        self.children.clear()
        shutil.rmtree(self.state, ignore_errors=True)

    def spawn(self, *words, **options):
        """Starts a process that does not outlive this one."""
        log = open(f"{self.state}/{os.path.basename(words[0])}.log", "ab")
        words = ["setpriv", "--pdeathsig", "TERM", "--", *words]
        child = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=log, stderr=log, **options)
        log.close()
        self.children.append(child)
        return child

    def log(self):
        text = ""
        for name in sorted(os.listdir(self.state)):
            if name.endswith(".log"):
                with open(f"{self.state}/{name}", errors="replace") as file:
                    text += "".join(file.readlines()[-25:])
        return text

    def context(self):
        return ssl.create_default_context(cafile=self.ca) if self.ca else None

    def wait(self, url, seconds=60):
        """Seconds until the URL is answered with anything below 500."""
        began = time.monotonic()
        while time.monotonic() - began < seconds:
            if self.process.poll() is not None:
                break
            try:
                with urllib.request.urlopen(url, timeout=10, context=self.context()):
                    return time.monotonic() - began
            except urllib.error.HTTPError as error:
                if error.code < 500:
                    return time.monotonic() - began
            except (OSError, ssl.SSLError):
                pass
            time.sleep(0.01)
        sys.exit(f"{self.name}: no answer from {url}\n{self.log()}")

    def environment(self):
        return {"IDENTITY_URL": self.identity_url, "ADMIN_PASSWORD": self.password, "CA_FILE": self.ca,
                "REGION": self.region}


class Conductor(Server):
    """Muster's conductor with an empty store."""

    name = "conductor"

    def __init__(self, region="RegionOne", program=None, more=()):
        super().__init__(region)
        self.program, self.more = program or os.environ.get("CONDUCTOR") or self.built(), more

    @staticmethod
    def built():
        programs = [f"{ROOT}/.build/{kind}/muster-conductor" for kind in ("release", "debug")]
        programs = [path for path in programs if os.path.exists(path)]
        if not programs:
            sys.exit("there is no muster-conductor: build it, or say CONDUCTOR=FILE")
        return max(programs, key=os.path.getmtime)

    def start(self):
        os.chmod(self.state, 0o700)
        self.ports = free_ports(4)
        self.ca, self.api_url = f"{self.state}/ca.pem", f"https://127.0.0.1:{self.ports[0]}"
        self.first_answer = self.launch()
        self.identity_url = f"{self.api_url}/identity/v3"
        self.password = self.admin_password()

    def launch(self):
        """Starts the program with the state that is there; the seconds to its first answer."""
        words = [self.program, "--state-dir", self.state, "--api-host", "127.0.0.1", "--log-level", "warning"]
        for option, port in zip(("api", "boot", "provisioning", "agent"), self.ports):
            words += [f"--{option}-port", str(port)]
        if self.region != "RegionOne":
            words += ["--region", self.region]
        began = time.monotonic()
        self.process = self.spawn(*words, *self.more)
        while not os.path.exists(self.ca) and self.process.poll() is None and time.monotonic() - began < 60:
            time.sleep(0.01)
        if not os.path.exists(self.ca):
            sys.exit(f"conductor: it did not start\n{self.log()}")
        self.wait(f"{self.api_url}/fleet/v1/ready")
        return time.monotonic() - began

    def admin_password(self):
        path = f"{self.state}/clouds.yaml"
        if not os.path.exists(path):
            sys.exit(f"conductor: it has not written {os.path.basename(path)}\n{self.log()}")
        with open(path) as file:
            found = re.search(r"^\s*password:\s*(\S+)\s*$", file.read(), re.M)
        return found.group(1).strip("\"'")

    def environment(self):
        return {**super().environment(), "STATE": self.state, "API_URL": self.api_url}


class Keystone(Server):
    """OpenStack's Keystone on SQLite under uWSGI, one process of one thread, as its developers' deployment runs it.

    `rounds` is the cost of its bcrypt, 4 at least and 12 as delivered; `cached` keeps its cache in memcached, as its
    administrators do, else in the process."""

    name = "keystone"

    def __init__(self, region="RegionOne", rounds=4, cached=False):
        super().__init__(region)
        self.rounds, self.cached, self.password = rounds, cached, "loopback-password"
        self.bin = peers()

    def configuration(self, memcached):
        keep = f"dogpile.cache.pymemcache\nmemcache_servers=127.0.0.1:{memcached}" if self.cached else "oslo_cache.dict"
        return f"""
[DEFAULT]
log_file={self.state}/keystone-application.log
max_project_tree_depth=5
[database]
connection=sqlite:///{self.state}/keystone.db
[token]
provider=fernet
[fernet_tokens]
key_repository={self.state}/fernet
[credential]
key_repository={self.state}/credential
[cache]
enabled=true
backend={keep}
[identity]
password_hash_algorithm=bcrypt
password_hash_rounds={self.rounds}
[federation]
trusted_dashboard=http://127.0.0.1/auth/websso/
"""

    def start(self):
        if not os.path.exists(f"{self.bin}/keystone-manage"):
            sys.exit(f"keystone: there is none in {os.path.dirname(self.bin)}: say PEERS=FOLDER")
        port, memcached = free_ports(2)
        self.identity_url = f"http://127.0.0.1:{port}/v3"
        file = f"{self.state}/keystone.conf"
        with open(file, "w") as out:
            out.write(self.configuration(memcached))
        for name in ("fernet", "credential"):
            os.mkdir(f"{self.state}/{name}", 0o700)
        if self.cached:
            self.spawn("memcached", "-u", "root", "-l", "127.0.0.1", "-p", str(memcached), "-m", "64")
        kinds = ("admin", "public", "internal")
        urls = [word for kind in kinds for word in (f"--bootstrap-{kind}-url", f"http://127.0.0.1:{port}")]
        for words in (["db_sync"], ["fernet_setup", "--keystone-user", "root", "--keystone-group", "root"],
                      ["credential_setup", "--keystone-user", "root", "--keystone-group", "root"],
                      ["bootstrap", "--bootstrap-password", self.password, "--bootstrap-region-id", self.region,
                       *urls]):
            done = subprocess.run([f"{self.bin}/keystone-manage", "--config-file", file, *words],
                                  stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
            if done.returncode:
                sys.exit(f"keystone-manage {words[0]}: {done.stdout[-2000:]}")
        began = time.monotonic()
        self.process = self.spawn(
            f"{self.bin}/uwsgi", "--http-socket", f"127.0.0.1:{port}", "--module", "keystone.wsgi.api:application",
            "--master", "--processes", "1", "--threads", "1", "--enable-threads", "--lazy-apps", "--need-app",
            "--die-on-term",
            "--buffer-size", "65535", "--disable-logging", "--thunder-lock", "--add-header", "Connection: close",
            "--http-raw-body", "--post-buffering", "65536", "--home", os.path.dirname(self.bin),
            env={**os.environ, "OS_KEYSTONE_CONFIG_FILES": file})
        self.wait(self.identity_url)
        self.first_answer = time.monotonic() - began


class Ironic(Server):
    """OpenStack's Ironic in one process, without authentication, on SQLite and fake hardware."""

    name = "ironic"

    def start(self):
        self.bin = peers()
        port, = free_ports(1)
        self.url = f"http://127.0.0.1:{port}"
        for name in ("tftp", "http", "master", "images"):
            os.mkdir(f"{self.state}/{name}")
        kinds = ("bios", "console", "firmware", "inspect", "raid", "rescue", "vendor")
        fakes = "\n".join([f"enabled_{kind}_interfaces=fake,no-{kind}" for kind in kinds]
                          + [f"enabled_{kind}_interfaces=fake" for kind in ("boot", "deploy", "management", "power")])
        with open(f"{self.state}/ironic.conf", "w") as file:
            file.write(f"""
[DEFAULT]
auth_strategy=noauth
rpc_transport=none
host=localhost
my_ip=127.0.0.1
state_path={self.state}
log_file={self.state}/ironic-application.log
enabled_hardware_types=fake-hardware
{fakes}
enabled_network_interfaces=noop
enabled_storage_interfaces=noop
[api]
host_ip=127.0.0.1
port={port}
[conductor]
sync_power_state_interval=-1
[database]
connection=sqlite:///{self.state}/ironic.db
[dhcp]
dhcp_provider=none
[pxe]
tftp_root={self.state}/tftp
tftp_master_path={self.state}/master
images_path={self.state}/images
instance_master_path={self.state}/images
[deploy]
http_root={self.state}/http
http_url={self.url}
[oslo_messaging_notifications]
driver=noop
""")
        subprocess.run([f"{self.bin}/ironic-dbsync", "--config-file", f"{self.state}/ironic.conf", "create_schema"],
                       check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        began = time.monotonic()
        self.process = self.spawn(f"{self.bin}/ironic", "--config-file", f"{self.state}/ironic.conf")
        self.wait(f"{self.url}/v1")
        self.first_answer = time.monotonic() - began

    def environment(self):
        return {"BAREMETAL_URL": self.url}


SERVERS = {"conductor": Conductor, "keystone": Keystone, "ironic": Ironic}


def run(words, environment):
    """A command in a session of its own, all of which ends when we do."""
    child = subprocess.Popen(words, env={**os.environ, **environment}, start_new_session=True)
    try:
        return child.wait()
    finally:
        try:
            os.killpg(child.pid, signal.SIGTERM)
        except ProcessLookupError:
            pass


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("server", choices=SERVERS)
    parser.add_argument("--region", default=os.environ.get("REGION") or "RegionOne")
    parser.add_argument("command", nargs=argparse.REMAINDER)
    options = parser.parse_args()
    if not options.command:
        parser.error("which command?")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        with SERVERS[options.server](options.region) as server:
            return run(options.command, server.environment())
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
