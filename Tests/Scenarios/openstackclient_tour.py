#!/usr/bin/env python3
"""Plays a tour of `openstack` commands and prints its transcript: openstackclient_tour.py [--words] FILE

--words tells the server's own words in refusals too, which are not compared.

Runs in the environment of python-openstackclient and reads IDENTITY_URL, ADMIN_PASSWORD, CA_FILE and REGION (or
BAREMETAL_URL alone). All commands run in one process, as an interactive `openstack` would run them. A line of the tour
is one of:

    # text                      a heading of the transcript
    as WORD [OPTION=VALUE...]   from here on with these authentication options (`as admin` alone: the
                                administrator in the project admin, `as system`: in the system)
    file NAME TEXT              a file of that text; commands write {NAME} for its path
    NAME <- COMMAND             a command whose answer has a name: {NAME} is its id, {NAME.FIELD} another field
    until FIELD=VALUE COMMAND   a command that is given again, for half a minute at most, until its answer says so
    COMMAND                     a command of `openstack`
"""
import contextlib, io, json, logging, os, re, shlex, signal, sys, tempfile, time

from cliff import lister, show
from openstackclient import shell as openstack
from openstackclient.common.clientmanager import ClientManager
from osc_lib.clientmanager import ClientCache
from transcript import Transcript, write

IDS = ("id", "uuid", "ID", "access", "key")


class Client:
    """One `openstack` that stays, with what it has printed."""

    def __init__(self, options):
        self.out, self.err = io.StringIO(), io.StringIO()
        words = [f"--os-{key.replace('_', '-')}={value}" for key, value in options.items()]
        logging.getLogger("").handlers.clear()
        for one in vars(ClientManager).values():
            if isinstance(one, ClientCache):
                one._handle = None  # else the client of the first user would be that of all
        with contextlib.redirect_stdout(self.out), contextlib.redirect_stderr(self.err):
            self.shell = openstack.OpenStackShell()
            self.shell.interact = lambda: None
            self.shell.run(words)
        self.shell.interactive_mode = False

    def run(self, words):
        """Exit code, the answer (None when it is text), and the text of a command."""
        for stream in (self.out, self.err):
            stream.seek(0), stream.truncate()
        with contextlib.redirect_stdout(self.out), contextlib.redirect_stderr(self.err):
            try:
                command = self.shell.command_manager.find_command(words)[0]
                told = issubclass(command, (lister.Lister, show.ShowOne))
                code = self.shell.run_subcommand([*words, "-f", "json"] if told else words)
            except (SystemExit, ValueError) as error:
                told, code = False, getattr(error, "code", 2)
                if isinstance(error, ValueError):
                    print(error, file=self.err)
        answer = json.loads(self.out.getvalue()) if told and self.out.getvalue().strip() else None
        return code, answer, ("" if told else self.out.getvalue()) + self.err.getvalue()


class Tour:
    def __init__(self, folder, words):
        self.words = words
        self.folder, self.names, self.client = folder, {"password": os.environ.get("ADMIN_PASSWORD", "")}, None
        self.transcript = Transcript(os.environ.get("IDENTITY_URL", os.environ.get("BAREMETAL_URL")))
        if "IDENTITY_URL" not in os.environ:  # a service by itself, which asks for no token
            self.endpoint = {"auth_type": "none", "endpoint": os.environ["BAREMETAL_URL"]}
            self.as_admin = self.as_system = {}
            return
        self.endpoint = {
            "auth_url": os.environ["IDENTITY_URL"], "region_name": os.environ.get("REGION", "RegionOne"),
            "interface": "public", "identity_api_version": "3"}
        if os.environ.get("CA_FILE"):
            self.endpoint["cacert"] = os.environ["CA_FILE"]
        self.as_admin = {
            "username": "admin", "password": os.environ["ADMIN_PASSWORD"], "project_name": "admin",
            "user_domain_name": "Default", "project_domain_name": "Default"}
        self.as_system = {
            "username": "admin", "password": os.environ["ADMIN_PASSWORD"], "user_domain_name": "Default",
            "system_scope": "all"}

    def fill(self, word):
        """Puts what is known in the place of {NAME} and {NAME.FIELD}."""
        def known(match):
            name, _, field = match.group(1).partition(".")
            found = self.names.get(match.group(1), self.names.get(name))
            if found is None:
                return match.group(0)
            if isinstance(found, str):
                return found
            return str(found.get(field) if field else next((found[key] for key in IDS if key in found), None))
        return re.sub(r"\{([a-z][a-z0-9-]*(?:\.[a-z_]+)?)\}", known, word)

    def play(self, line):
        kind, _, rest = line.partition(" ")
        if kind == "#":
            self.transcript.say(f"\n{line}" if self.transcript.lines else line)
        elif kind == "as":
            words = shlex.split(rest)
            more = dict(self.fill(word).split("=", 1) for word in words[1:])
            administrator = self.as_system if words[0] == "system" else self.as_admin
            self.client = Client({**self.endpoint, **(more or administrator)})
            self.transcript.say(f"\n{line}")
        elif kind == "file":
            name, _, text = rest.partition(" ")
            self.names[name] = f"{self.folder}/{name}"
            with open(self.names[name], "w") as file:
                file.write(self.fill(text))
        else:
            self.command(line)

    def command(self, line):
        name, arrow, rest = line.partition(" <- ")
        words = shlex.split(rest if arrow else line)
        wanted = None
        if words[0] == "until":
            wanted, words = words[1].split("=", 1), words[2:]
        code, answer, text = self.client.run([self.fill(word) for word in words])
        deadline = time.monotonic() + 30
        while wanted and time.monotonic() < deadline and (answer or {}).get(wanted[0]) != wanted[1]:
            time.sleep(0.3)
            code, answer, text = self.client.run([self.fill(word) for word in words])
        noun = " ".join(words[:2]) if words[1] not in ("create", "show", "issue") else words[0]
        ending = f"    => {code}" if code in (1, 2) else ""
        self.transcript.say(f"$ openstack {' '.join(map(shlex.quote, words))}{ending}")
        if arrow:
            self.names[name] = answer or {}
        if isinstance(answer, dict):
            self.show(words, name if arrow else noun, answer)
        elif answer is not None:
            for row in self.transcript.rows(answer, not {"versions", "--auth-user", "trait"}.isdisjoint(words)):
                self.transcript.say(row)
        lines = text.strip().splitlines()
        if code == 2:
            lines = [line.partition("error: ")[2] for line in lines if "error: " in line]
        if "Failed to establish a new connection" in text:
            write(self.transcript)
            sys.exit(f"the server is gone: {line}")
        for one in lines:
            if one.endswith("Attempt 6 of 6"):
                continue  # the client tries a conflict again, as it may be a lock
            one = one.replace(self.folder, "<folder>")
            self.transcript.say(self.transcript.text(one) if self.words else self.transcript.error(one))

    def show(self, words, name, answer):
        if words[:2] == ["token", "issue"]:
            answer = {**answer, "id": "<token>"}
        found = next((answer[key] for key in IDS if key in answer), None)
        self.transcript.label(found, str(answer.get("name") or answer.get("Name") or name))
        for key in sorted(answer):
            self.transcript.say(f"{key}: {json.dumps(self.transcript.value(answer[key], key), ensure_ascii=False)}")


def main():
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="muster-tour.") as folder, open(sys.argv[-1]) as file:
        tour = Tour(folder, "--words" in sys.argv)
        lines = [line.strip() for line in file if line.strip()]
        for line in lines:
            tour.play(line)
    write(tour.transcript)
    print(f"{len(lines)} lines in {time.monotonic() - began:.0f} s", file=sys.stderr)


main()
