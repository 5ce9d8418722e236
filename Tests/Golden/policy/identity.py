#!/usr/bin/env python3
"""usage: identity.py >identity.txt, with the python of an environment that has keystone 30.0.0

Asks oslo.policy what Keystone's own rules decide and prints the table that IdentityPolicyTests holds ours against.
"""

import itertools
import logging
import re

import keystone.common.policies
import keystone.conf
from oslo_policy import policy

ROLES = ["admin", "manager", "member", "reader", "service", "none"]
SCOPES = ["system", "domain", "project", "unscoped"]
MISSING = object()
HEAD = """\
# What Keystone 30.0.0's own rules decide, asked through oslo.policy 6.0.1, rule by rule; rules that decide the same stand
# together. The caller is the user u-own of the domain d-token with one role, and a token of one scope: the system, the
# domain d-token, the project p-own of the domain d-project, or none. identity.py beside this file wrote it.
#
# "target" names the members of the target that these rules ask. Each is tried with four values, in this order: the
# caller's own user, project or d-token; another user, project or d-project; null; and missing. target.role.name is tried
# with manager, member, reader, admin, null, missing. A digit stands for each combination, the last member changing
# fastest: 1 is allowed. "all" and "-" are all and none of them; more than 24 are counted, with the FNV-1a of the digits.
"""


def members(rules, name):
    """Members of the target that the rule, or one that it refers to, asks."""
    text = rules[name].check_str
    found = set(re.findall(r"%\(([^)]+)\)s", text))
    for reference in re.findall(r"rule:([\w:]+)", text):
        found |= members(rules, reference)
    return found


def values(member):
    """What a member is tried with."""
    if member == "target.role.name":
        return ["manager", "member", "reader", "admin", None, MISSING]
    if member.endswith("user_id") or member == "target.user.id":
        return ["u-own", "u-other", None, MISSING]
    if member.endswith(("project.id", "project_id")):
        return ["p-own", "p-other", None, MISSING]
    return ["d-token", "d-project", None, MISSING]


def caller(role, scope):
    """The attributes that Keystone gives oslo.policy for such a token."""
    roles = [] if role == "none" else [role]
    token = {"user": {"id": "u-own", "domain": {"id": "d-token"}}, "roles": [{"name": name} for name in roles]}
    who = {
        "user_id": "u-own", "user_domain_id": "d-token", "system_scope": None, "domain_id": None, "project_id": None,
        "project_domain_id": None, "roles": roles, "is_admin_project": scope != "domain", "token": token,
    }
    if scope == "system":
        who["system_scope"] = "all"
        token["system"] = {"all": True}
    elif scope == "domain":
        who["domain_id"] = "d-token"
        token["domain"] = {"id": "d-token"}
    elif scope == "project":
        who["project_id"] = "p-own"
        who["project_domain_id"] = "d-project"
        token["project"] = {"id": "p-own", "domain": {"id": "d-project"}}
    return who


def digest(digits):
    """FNV-1a with 64 bits."""
    result = 0xCBF29CE484222325
    for byte in digits.encode():
        result = ((result ^ byte) * 0x100000001B3) & (2**64 - 1)
    return result


def cell(enforcer, name, who, targets):
    """all, -, a digit for each target, or their count and digest."""
    digits = "".join("1" if enforcer.enforce(name, target, dict(who)) else "0" for target in targets)
    if "0" not in digits:
        return "all"
    if "1" not in digits:
        return "-"
    if len(digits) <= 24:
        return digits
    return f"{digits.count('1')}of{len(digits)}:{digest(digits):016x}"


def main():
    logging.disable(logging.CRITICAL)
    keystone.conf.CONF([], project="keystone")
    enforcer = policy.Enforcer(keystone.conf.CONF)
    enforcer.suppress_deprecation_warnings = True
    enforcer.register_defaults(keystone.common.policies.list_rules())
    rules = {rule.name: rule for rule in keystone.common.policies.list_rules()}
    blocks = {}
    for name in sorted(rules):
        asked = sorted(members(rules, name))
        combinations = itertools.product(*[values(member) for member in asked])
        targets = [{k: v for k, v in zip(asked, c) if v is not MISSING} for c in combinations]
        rows = [
            f"  {scope}: " + " ".join(f"{r}={cell(enforcer, name, caller(r, scope), targets)}" for r in ROLES)
            for scope in SCOPES
        ]
        text = "\n".join([f"  target: {' '.join(asked) or '(nothing)'}", *rows])
        blocks.setdefault(text, []).append(name)
    print(HEAD)
    print("\n\n".join("\n".join([*names, text]) for text, names in sorted(blocks.items(), key=lambda b: b[1][0])))


if __name__ == "__main__":
    main()
