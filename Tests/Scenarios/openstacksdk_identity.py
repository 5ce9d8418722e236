#!/usr/bin/env python3
"""Calls every method of openstacksdk's identity proxy that has a resource behind it, and prints the transcript.

Runs in the environment of openstacksdk and reads IDENTITY_URL, ADMIN_PASSWORD, CA_FILE and REGION. The first half
makes a resource of each kind, finds, lists and changes it; the second takes all away in the opposite order.
"""
import atexit, json, os, sys, time, warnings

import openstack
from openstack import exceptions, resource
from transcript import Transcript, write

warnings.filterwarnings("ignore")
# `extra` is what Keystone keeps of unknown members inside; a changed project shows it by mistake.
LEFT_OUT = ("location", "links", "extra")
transcript = Transcript(os.environ["IDENTITY_URL"])
called = set()
atexit.register(write, transcript)


def connect(**auth):
    return openstack.connect(auth_url=os.environ["IDENTITY_URL"],
                             region_name=os.environ.get("REGION", "RegionOne"),
                             interface="public",
                             identity_api_version="3",
                             cacert=os.environ.get("CA_FILE") or None,
                             load_yaml_config=False,
                             load_envvars=False,
                             **auth)


admin = connect(username="admin",
                password=os.environ["ADMIN_PASSWORD"],
                project_name="admin",
                user_domain_name="Default",
                project_domain_name="Default")


def plain(found):
    if isinstance(found, resource.Resource):
        found = found.to_dict(computed=False)
        found = {key: value for key, value in found.items() if value is not None and key not in LEFT_OUT}
    return json.loads(json.dumps(found, default=str))


def do(method, *words, on=admin.identity, **options):
    """Calls a method and writes down what it was given and what came."""
    called.add(method)
    shown = [transcript.row(plain(word.id if isinstance(word, resource.Resource) else word)) for word in words]
    shown += [
        f"{key}={transcript.row(plain(value.id if isinstance(value, resource.Resource) else value))}"
        for key, value in sorted(options.items())
    ]
    transcript.say(f"{method}({', '.join(shown)})")
    try:
        found = getattr(on, method)(*words, **options)
        found = list(found) if hasattr(found, "__next__") else found
    except exceptions.HttpException as error:
        transcript.say(f"  {type(error).__name__} {error.status_code}")
        return None
    except exceptions.SDKException as error:
        transcript.say(f"  {type(error).__name__}")
        return None
    if isinstance(found, list):
        for row in transcript.rows([plain(one) for one in found], options.pop("_all", False)):
            transcript.say(f"  {row}")
        return found
    told = plain(found)
    if isinstance(told, dict):
        transcript.label(told.get("id"), str(told.get("name") or method.partition("_")[2]))
    transcript.say(f"  {transcript.row(told)}")
    return found


def kind(noun, plural, made, changes, again=True, key=(), find=True, parent={}, query={}, on=admin.identity):
    """Makes one resource and does all with it that the proxy can."""
    transcript.say(f"\n# {noun}")
    one = do(f"create_{noun}", *key, on=on, **made)
    if again:
        do(f"create_{noun}", *key, on=on, **made)
    if one is None:
        sys.exit(f"no {noun} was made")
    do(f"get_{noun}", *key, one.id, on=on, **parent)
    do(f"get_{noun}", *key, "no-such-" + noun, on=on, **parent)
    if find:
        do(f"find_{noun}", *key, one.name or one.id, on=on, **parent)
        do(f"find_{noun}", *key, "no-such-" + noun, on=on, **parent)
    if changes:
        do(f"update_{noun}", *key, one.id, on=on, **changes)
        do(f"update_{noun}", *key, "no-such-" + noun, on=on, **changes)
    do(plural, *key, on=on, **query)
    return one


def gone(noun, one, *key, on=admin.identity, **parent):
    do(f"delete_{noun}", *key, one.id, on=on, ignore_missing=False, **parent)
    do(f"delete_{noun}", *key, one.id, on=on, ignore_missing=False, **parent)


domain = kind("domain", "domains", {"name": "tour-sdk", "description": "By the SDK"}, {"description": "changed"})
do("domains", name="tour-sdk")
do("domains", is_enabled=False)
project = kind("project",
               "projects", {
                   "name": "tour-project",
                   "domain_id": domain.id,
                   "tags": ["a", "b"]
               }, {
                   "description": "changed",
                   "is_enabled": False
               },
               query={"domain_id": domain.id})
do("update_project", project.id, is_enabled=True)
child = do("create_project", name="tour-below", domain_id=domain.id, parent_id=project.id)
do("projects", parent_id=project.id)
do("projects", tags="a,b")
do("find_project", "tour-below", domain_id=domain.id)
user = kind("user",
            "users", {
                "name": "tour-user",
                "domain_id": domain.id,
                "password": "user-secret-1",
                "email": "u@example.org"
            }, {
                "description": "changed",
                "email": "v@example.org"
            },
            query={"domain_id": domain.id})
do("users", domain_id=domain.id, name="tour-user")
group = kind("group",
             "groups", {
                 "name": "tour-group",
                 "domain_id": domain.id
             }, {"description": "changed"},
             query={"domain_id": domain.id})
do("add_user_to_group", user, group)
do("check_user_in_group", user, group)
do("group_users", group)
do("user_groups", user)
do("remove_user_from_group", user, group)
do("check_user_in_group", user, group)
do("add_user_to_group", user, group)

role = kind("role", "roles", {"name": "tour-role", "description": "A role"}, {"description": "changed"})
do("roles", name="tour-role")
transcript.say("\n# Assignments")
for scope, where in (("domain", (domain, )), ("project", (project, )), ("system", ())):
    for actor, who in (("user", user), ("group", group)):
        words = (*where, who, role) if where else (who, role, "all")
        do(f"assign_{scope}_role_to_{actor}", *words)
        do(f"validate_{actor}_has_{scope}_role", *words)
        do("role_assignments_filter", **{scope: where[0] if where else "all", actor: who})
        if scope != "project":
            do(f"unassign_{scope}_role_from_{actor}", *words)
            do(f"validate_{actor}_has_{scope}_role", *words)
for query in ({
        "user_id": user.id
}, {
        "group_id": group.id
}, {
        "scope_project_id": project.id
}, {
        "role_id": role.id
}, {
        "user_id": user.id,
        "effective": True
}, {
        "role_id": role.id,
        "effective": True,
        "include_names": True
}):
    do("role_assignments", **query)
do("user_projects", user)

mine = connect(username="tour-user",
               password="user-secret-1",
               user_domain_name="tour-sdk",
               project_name="tour-project",
               project_domain_name="tour-sdk")
transcript.say("\n# As the user")
do("get_user", user.id, on=mine.identity)
do("users", on=mine.identity)
do("create_project", name="tour-not", on=mine.identity)
do("update_password", user.id, "user-secret-1", "user-secret-2", on=mine.identity)
time.sleep(1.1)  # Keystone revokes by whole seconds
mine = connect(username="tour-user",
               password="user-secret-2",
               user_domain_name="tour-sdk",
               project_name="tour-project",
               project_domain_name="tour-sdk")

transcript.say("\n# Tokens")
token = mine.auth_token
called |= {"validate_token", "check_token", "revoke_token"}
TOLD = ("methods", "user", "project", "roles", "is_domain", "expires_at", "issued_at")
found = plain(admin.identity.validate_token(token))
transcript.say(f"validate_token  {transcript.row({key: found[key] for key in TOLD})}")
transcript.say(f"check_token  {admin.identity.check_token(token)}")
admin.identity.revoke_token(token)
transcript.say(f"check_token after revoke_token  {admin.identity.check_token(token)}")
time.sleep(1.1)
mine = connect(username="tour-user",
               password="user-secret-2",
               user_domain_name="tour-sdk",
               project_name="tour-project",
               project_domain_name="tour-sdk")

region = kind("region", "regions", {"id": "tour-region", "description": "A region"}, {"description": "changed"})
do("regions", parent_region_id="tour-region")
service = kind("service",
               "services", {
                   "name": "tour-service",
                   "type": "tour-type"
               }, {"description": "changed"},
               again=False)
do("services", type="tour-type")
endpoint = kind("endpoint",
                "endpoints", {
                    "service_id": service.id,
                    "interface": "public",
                    "url": "http://e.example.org",
                    "region_id": region.id
                }, {"url": "http://f.example.org"},
                again=False,
                query={"service_id": service.id})
do("associate_endpoint_with_project", project, endpoint)
do("project_endpoints", project)
do("endpoint_projects", endpoint)
do("disassociate_endpoint_from_project", project, endpoint)
endpoint_group = kind("endpoint_group",
                      "endpoint_groups", {
                          "name": "tour-endpoints",
                          "filters": {
                              "service_id": service.id
                          }
                      }, {
                          "description": "changed",
                          "filters": {
                              "service_id": service.id
                          }
                      },
                      again=False)
do("associate_project_with_endpoint_group", endpoint_group, project)
do("endpoint_group_projects", endpoint_group)
do("project_endpoint_groups", project)
do("endpoint_group_endpoints", endpoint_group)
do("disassociate_project_from_endpoint_group", endpoint_group, project)

credential = kind("credential",
                  "credentials", {
                      "user_id": user.id,
                      "type": "tour-kind",
                      "blob": "one",
                      "project_id": project.id
                  }, {"blob": "two"},
                  again=False)
policy = kind("policy", "policies", {"type": "application/json", "blob": "{}"}, {"blob": "{\"a\": \"!\"}"}, again=False)
registered = kind("registered_limit",
                  "registered_limits", {
                      "service_id": service.id,
                      "resource_name": "tour_things",
                      "default_limit": 5,
                      "region_id": region.id
                  },
                  None,
                  again=False,
                  find=False,
                  query={"service_id": service.id})
do("update_registered_limit", registered.id, default_limit=6)
limit = kind("limit",
             "limits", {
                 "service_id": service.id,
                 "resource_name": "tour_things",
                 "resource_limit": 7,
                 "region_id": region.id,
                 "project_id": project.id
             },
             None,
             again=False,
             find=False,
             query={"service_id": service.id})
do("update_limit", limit.id, resource_limit=8)
application = kind("application_credential",
                   "application_credentials", {
                       "name": "tour-program",
                       "roles": [{
                           "id": role.id
                       }],
                       "secret": "program-secret",
                       "unrestricted": False,
                       "access_rules": [{
                           "path": "/v3/users",
                           "method": "GET",
                           "service": "identity"
                       }]
                   },
                   None,
                   key=(user, ),
                   on=mine.identity)
do("access_rules", user, on=mine.identity)
rule = next(iter(mine.identity.access_rules(user)), None)
do("get_access_rule", user, rule, on=mine.identity)
trust = kind("trust",
             "trusts", {
                 "trustor_user_id": user.id,
                 "trustee_user_id": user.id,
                 "project_id": project.id,
                 "is_impersonation": False,
                 "roles": [{
                     "id": role.id
                 }]
             },
             None,
             again=False,
             query={"trustor_user_id": user.id},
             find=False,
             on=mine.identity)
do("find_trust", trust.id)

mapping = kind("mapping", "mappings", {
    "id": "tour-map",
    "rules": [{
        "local": [{
            "user": {
                "name": "{0}"
            }
        }],
        "remote": [{
            "type": "OIDC-sub"
        }]
    }]
}, {"rules": [{
    "local": [{
        "user": {
            "name": "{0}"
        }
    }],
    "remote": [{
        "type": "OIDC-email"
    }]
}]})
provider = kind("identity_provider", "identity_providers", {
    "id": "tour-provider",
    "domain_id": domain.id,
    "remote_ids": ["https://i.example.org"]
}, {
    "description": "changed",
    "is_enabled": True
})
protocol = kind("federation_protocol",
                "federation_protocols", {
                    "id": "tour-protocol",
                    "mapping_id": mapping.id
                },
                None,
                key=(provider, ),
                again=False,
                find=False)
do("find_federation_protocol", provider, "tour-protocol")
do("update_federation_protocol", provider, protocol, mapping_id=mapping.id)
partner = kind("service_provider", "service_providers", {
    "id": "tour-partner",
    "auth_url": "https://p.example.org/v3",
    "sp_url": "https://p.example.org/sp"
}, {"description": "changed"})
do("create_domain_config", domain, identity={"driver": "ldap"}, ldap={"url": "ldap://l.example.org"})
do("get_domain_config", domain)
do("update_domain_config", domain, ldap={"url": "ldap://m.example.org"})
do("delete_domain_config", domain)
do("get_domain_config", domain)

transcript.say("\n# All is taken away")
gone("service_provider", partner)
gone("federation_protocol", protocol, provider)
gone("identity_provider", provider)
gone("mapping", mapping)
gone("trust", trust, on=mine.identity)
gone("application_credential", application, user, on=mine.identity)
gone("access_rule", rule, user, on=mine.identity)
gone("limit", limit)
gone("registered_limit", registered)
gone("policy", policy)
gone("credential", credential)
gone("endpoint_group", endpoint_group)
gone("endpoint", endpoint)
gone("service", service)
gone("region", region)
do("unassign_project_role_from_user", project, user, role)
do("validate_user_has_project_role", project, user, role)
do("unassign_project_role_from_group", project, group, role)
do("validate_group_has_project_role", project, group, role)
gone("role", role)
gone("group", group)
gone("user", user)
gone("project", child)
gone("project", project)
do("update_domain", domain.id, is_enabled=False)
gone("domain", domain)

offered = {
    name
    for name in dir(admin.identity)
    if name.startswith(("create_", "get_", "find_", "update_", "delete_", "assign_", "unassign_", "validate_", "check_",
                        "revoke_", "add_", "remove_", "associate_", "disassociate_")) or name.endswith("s")
}
foreign = {
    name
    for name in offered if name.startswith("wait_") or hasattr(openstack.proxy.Proxy, name)
    or not callable(getattr(admin.identity, name, None))
}
left = sorted(offered - foreign - called)
transcript.say("\n# Methods of the proxy that this did not call")
transcript.say(", ".join(left) or "none")
