#!/usr/bin/env python3
"""OpenStack's own client logs in by OpenID Connect: openid_login.py, in the environment of python-openstackclient.

Runs an identity provider on loopback (TLS with an authority of its own, discovery, keys, a token endpoint for passwords and
client credentials) and a conductor that is told of it, and goes through what an operator sets up and a user then does.
"""
import base64, datetime, http.server, ipaddress, json, os, ssl, subprocess, sys, tempfile, threading, time, urllib.parse

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.x509.oid import NameOID

from servers import Conductor

PEM, NONE = serialization.Encoding.PEM, serialization.NoEncryption()


def text(raw):
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def number(value):
    return text(value.to_bytes((value.bit_length() + 7) // 8, "big"))


class Provider:
    """An identity provider with one user, alice, and one client, the robot."""

    def __init__(self, folder):
        self.key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self.ca = f"{folder}/provider-ca.pem"
        certificate = f"{folder}/provider.pem"
        self.certify(certificate)
        handler = type("Handler", (Handler,), {"provider": self, "log_message": lambda *_: None})
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        self.url = f"https://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def certify(self, path):
        """An authority, and the server's certificate with its key in one file."""
        def make(subject, key, issuer, issuer_key, *extensions):
            now = datetime.datetime.now(datetime.timezone.utc)
            name = lambda word: x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, word)])
            builder = (x509.CertificateBuilder().subject_name(name(subject)).issuer_name(name(issuer))
                       .public_key(key.public_key()).serial_number(x509.random_serial_number())
                       .not_valid_before(now - datetime.timedelta(minutes=5))
                       .not_valid_after(now + datetime.timedelta(days=1))
                       .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False)
                       .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), False))
            for extension, critical in extensions:
                builder = builder.add_extension(extension, critical)
            return builder.sign(issuer_key, hashes.SHA256())

        authority, server = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
        usage = dict.fromkeys(("digital_signature", "content_commitment", "key_encipherment", "data_encipherment",
                               "key_agreement", "crl_sign", "encipher_only", "decipher_only"), False)
        root = make("provider's authority", authority, "provider's authority", authority,
                    (x509.BasicConstraints(True, 0), True), (x509.KeyUsage(key_cert_sign=True, **usage), True))
        own = make("provider", server, "provider's authority", authority,
                   (x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), False))
        with open(self.ca, "wb") as file:
            file.write(root.public_bytes(PEM))
        with open(path, "wb") as file:
            os.fchmod(file.fileno(), 0o600)
            file.write(server.private_bytes(PEM, serialization.PrivateFormat.PKCS8, NONE) + own.public_bytes(PEM))

    def token(self, user, audience="muster", groups=("ops",)):
        now = int(time.time())
        header = {"alg": "RS256", "kid": "1", "typ": "JWT"}
        claims = {"iss": self.url, "aud": audience, "sub": f"{user}-1", "preferred_username": user,
                  "groups": list(groups), "iat": now, "exp": now + 300}
        signed = ".".join(text(json.dumps(part).encode()) for part in (header, claims))
        return f"{signed}.{text(self.key.sign(signed.encode(), padding.PKCS1v15(), hashes.SHA256()))}"

    def keys(self):
        numbers = self.key.public_key().public_numbers()
        return {"keys": [{"kid": "1", "kty": "RSA", "use": "sig", "n": number(numbers.n), "e": number(numbers.e)}]}

    def discovery(self):
        return {"issuer": self.url, "jwks_uri": f"{self.url}/keys", "token_endpoint": f"{self.url}/token",
                "grant_types_supported": ["password", "client_credentials"]}


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        pages = {"/.well-known/openid-configuration": self.provider.discovery, "/keys": self.provider.keys}
        page = pages.get(self.path)
        self.say(200, page()) if page else self.say(404, {})

    def do_POST(self):
        form = dict(urllib.parse.parse_qsl(self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()))
        client = base64.b64decode(self.headers.get("Authorization", "Basic ").split(" ")[1]).decode()
        grant = form.get("grant_type")
        if client != "openstack:client secret":
            return self.say(401, {"error": "invalid_client"})
        if grant == "password" and (form.get("username"), form.get("password")) == ("alice", "her password"):
            return self.say(200, {"access_token": self.provider.token("alice"), "token_type": "Bearer"})
        if grant == "client_credentials":
            return self.say(200, {"access_token": self.provider.token("robot"), "token_type": "Bearer"})
        self.say(400, {"error": "invalid_grant"})

    def say(self, status, body):
        body = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


class Tour:
    """What an operator and users do; each step says what it has seen."""

    def __init__(self, folder, provider, conductor):
        self.provider, self.bundle = provider, f"{folder}/bundle.pem"
        with open(self.bundle, "w") as bundle:
            for path in (conductor.ca, provider.ca):
                with open(path) as file:
                    bundle.write(file.read())
        self.endpoint = {"auth-url": conductor.identity_url, "cacert": self.bundle, "identity-api-version": "3",
                         "region-name": "RegionOne"}
        self.admin = {"username": "admin", "password": conductor.password, "project-name": "admin",
                      "user-domain-name": "Default", "project-domain-name": "Default"}
        self.provided = {"identity-provider": "sso", "protocol": "openid"}
        self.lab = {"project-name": "lab", "project-domain-name": "Default"}
        self.client = {"client-id": "openstack", "client-secret": "client secret",
                       "discovery-endpoint": f"{provider.url}/.well-known/openid-configuration", **self.provided}
        self.folder = folder

    def openstack(self, auth, *words):
        options = [f"--os-{name}={value}" for name, value in {**self.endpoint, **auth}.items()]
        program = os.path.join(os.path.dirname(sys.executable), "openstack")
        environment = {name: value for name, value in os.environ.items() if not name.startswith("OS_")}
        return subprocess.run([program, *options, *words], env=environment, capture_output=True, text=True, timeout=120)

    def must(self, auth, *words):
        done = self.openstack(auth, *words)
        if done.returncode != 0:
            sys.exit(f"openstack {' '.join(words)}: {done.returncode}\n{done.stdout}{done.stderr}")
        return done.stdout

    def token(self, auth):
        return json.loads(self.must(auth, "token", "issue", "-f", "json"))

    def refused(self, auth, part):
        done = self.openstack(auth, "token", "issue")
        if done.returncode == 0 or part not in done.stderr:
            sys.exit(f"not refused because of {part!r}: {done.returncode}\n{done.stdout}{done.stderr}")
        print(f"refused: {part}")

    def set_up(self):
        rules = [{"local": [{"user": {"name": "{0}"}}, {"groups": "{1}", "domain": {"name": "Default"}}],
                  "remote": [{"type": "OIDC-preferred_username"}, {"type": "OIDC-groups"}]}]
        with open(f"{self.folder}/rules.json", "w") as file:
            json.dump(rules, file)
        for line in (
                f"identity provider create sso --remote-id {self.provider.url}",
                f"mapping create staff --rules {self.folder}/rules.json",
                "federation protocol create openid --identity-provider sso --mapping staff",
                "project create lab", "group create ops", "role add member --group ops --project lab"):
            self.must(self.admin, *line.split())
        print("the operator has set it up")

    def log_in(self):
        auth = {"auth-type": "v3oidcaccesstoken", "access-token": self.provider.token("alice"), **self.provided}
        unscoped, scoped = self.token(auth), self.token({**auth, **self.lab})
        assert "project_id" not in unscoped and scoped["project_id"], (unscoped, scoped)
        assert unscoped["user_id"] == scoped["user_id"]
        projects = json.loads(self.must(auth, "federation", "project", "list", "-f", "json"))
        assert [project["Name"] for project in projects] == ["lab"], projects
        print("v3oidcaccesstoken: a token, and one of the project")
        password = {"auth-type": "v3oidcpassword", "username": "alice", "password": "her password", **self.client}
        assert self.token({**password, **self.lab})["user_id"] == scoped["user_id"]
        print("v3oidcpassword: the same user")
        robot = self.token({"auth-type": "v3oidcclientcredentials", **self.client, **self.lab})
        assert robot["user_id"] != scoped["user_id"] and robot["project_id"] == scoped["project_id"]
        print("v3oidcclientcredentials: another user")
        self.refused({**auth, "access-token": self.provider.token("alice", audience="other")}, "audience")
        self.refused({**auth, "access-token": self.provider.token("alice")[:-8] + "AAAAAAAA"}, "signature")
        self.refused({**auth, **self.lab, "access-token": self.provider.token("mallory", groups=["none"])}, "401")
        live = {"auth-type": "v3token", "token": scoped["id"], **self.lab}
        self.must(live, "token", "issue")
        self.must(self.admin, "identity", "provider", "set", "--disable", "sso")
        self.refused(live, "401")
        self.refused(auth, "disabled")


def main():
    with tempfile.TemporaryDirectory(prefix="muster-openid.") as folder:
        provider = Provider(folder)
        settings = f"{folder}/oidc-settings.yaml"
        with open(settings, "w") as file:
            file.write(f"issuers:\n  {provider.url}:\n    audiences: [muster]\n    caFile: {provider.ca}\n"
                       "    allowPrivateAddresses: true\n")
        with Conductor(more=("--oidc-settings", settings)) as conductor:
            tour = Tour(folder, provider, conductor)
            tour.set_up()
            tour.log_in()
        provider.server.shutdown()


main()
