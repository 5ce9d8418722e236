"""Makes what a server has answered comparable: ids, times, secrets and addresses are replaced, lists are sorted.

Two runs of one tour give the same text, whichever server was asked, if the answers mean the same.
"""
import json, os, re

ID = re.compile(r"\b(?:[0-9a-f]{64}|[0-9a-f]{32}|[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12})\b")
TIME = re.compile(r"\b20[0-3]\d-\d\d-\d\d([T ])\d\d:\d\d:\d\d(\.\d+)?(Z|\+00:00|\+0000)?")
SECRETS = {"secret", "oauth_token_secret", "oauth_verifier", "verifier"}


def digits(match):
    """A time of which only the shape is left."""
    return re.sub(r"\d", "0", match.group(0))


class Transcript:
    """The text of a tour. Names that begin with `mine` belong to it; rows of lists that name nothing of the tour's are
    left out, as servers are delivered with different content."""

    def __init__(self, identity_url, mine="tour"):
        self.root = re.sub(r"/v3/?$", "", identity_url)
        self.region = os.environ.get("REGION") or "RegionOne"
        self.mine, self.labels, self.counts, self.lines = mine, {}, {}, []

    def say(self, line=""):
        self.lines.append(line)

    def label(self, value, name):
        """Calls an id by a name from now on."""
        if isinstance(value, str) and ID.fullmatch(value) and value not in self.labels:
            count = self.counts[name] = self.counts.get(name, 0) + 1
            self.labels[value] = f"<{name}>" if count == 1 else f"<{name} {count}>"

    def error(self, text):
        """What a client says of a refusal, without the server's own words for it: programs look at the status."""
        text = re.sub(r"((?:Client|Server) Error for url: [^ ,]+), .*", r"\1", text)
        return self.text(re.sub(r"^.*\(HTTP (\d+)\).*", r"HTTP \1", text))

    def text(self, text, name="id"):
        text = re.sub(r"\breq-" + ID.pattern[2:], "req-<request>", text)
        text = TIME.sub(digits, text.replace(self.root, "<identity>"))
        text = re.sub(rf"\b{re.escape(self.region)}\b", "<region>", text)

        def known(match):
            self.label(match.group(0), name.lower().replace("_", " "))
            return self.labels[match.group(0)]

        return ID.sub(known, text)

    def value(self, value, name="id"):
        if isinstance(value, dict):
            return {self.text(key): self.value(one, key) for key, one in sorted(value.items())}
        if isinstance(value, list):
            # Keystone gives links to some of what is inside of another resource and not to others.
            value = [{key: one[key] for key in one if key != "links"} if isinstance(one, dict) else one
                     for one in value]
            is_set = all(not isinstance(one, list) for one in value)
            return sorted((self.value(one, name) for one in self.ordered(value)), key=json.dumps) if is_set else [
                self.value(one, name) for one in value]
        if name == "Access Rules" and value is None:
            return []  # Keystone shows none at all of what it has created with an empty list
        if not isinstance(value, str):
            return value
        if name == "conductor":
            return f"<{name}>"
        if name.lower() in SECRETS and not value.startswith(self.mine):
            return f"<{name}>" if value else value
        return self.text(value, name)

    def ordered(self, rows):
        """Rows in an order that does not depend on ids which have no label yet."""
        label = lambda found: self.labels.get(found.group(0), "?")
        return sorted(rows, key=lambda row: ID.sub(label, TIME.sub(digits, json.dumps(row))))

    def row(self, value):
        return json.dumps(self.value(value), ensure_ascii=False)

    def is_mine(self, row):
        text = json.dumps(row)
        return self.mine in text or any(found in self.labels for found in ID.findall(text))

    def rows(self, rows, all_of_them=False):
        """A list, one line a row, sorted by what is known of each row before its own ids get labels."""
        kept = [row for row in rows if all_of_them or self.is_mine(row)]
        return sorted(self.row(row) for row in self.ordered(kept))


def write(transcript, path=None):
    text = "\n".join(transcript.lines) + "\n"
    if path:
        with open(path + ".new", "w") as file:
            file.write(text)
        os.replace(path + ".new", path)
    else:
        print(text, end="")
