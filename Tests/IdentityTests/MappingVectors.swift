import Testing

/// Mappings, what identity providers say, and what Keystone 30.0.0 makes of them; nil: it refuses.
enum MappingVectors {
    struct Vector: Sendable, CustomTestStringConvertible {
        var testDescription: String
        var version: String
        var rules: String
        var attributes: [String: String]
        var identity: String?
    }

    static let all: [Vector] = [
        Vector(
            testDescription: "a name and a group, for everybody", version: "1.0",
            rules: #"""
                [{"remote": [{"type": "FirstName"}, {"type": "LastName"}],
                  "local": [{"user": {"name": "{0} {1}"}, "group": {"id": "0cd5e9"}}]}]
                """#,
            attributes: [
                "Email": "bob@example.com", "UserName": "bob", "FirstName": "Bob", "LastName": "Thompson",
                "orgPersonType": "Admin;Chief",
            ],
            identity: #"""
                {"group_ids": ["0cd5e9"], "group_names": [], "projects": [],
                 "user": {"name": "Bob Thompson", "type": "ephemeral"}}
                """#),
        Vector(
            testDescription: "an e-mail address and a domain", version: "1.0",
            rules: #"""
                [{"remote": [{"type": "UserName"}, {"type": "Email"}],
                  "local": [{"user": {"name": "{0}", "email": "{1}", "domain": {"name": "{1}"}}}]}]
                """#,
            attributes: [
                "Email": "bob@example.com", "UserName": "bob", "FirstName": "Bob", "LastName": "Thompson",
                "orgPersonType": "Admin;Chief",
            ],
            identity: #"""
                {"group_ids": [], "group_names": [], "projects": [],
                 "user": {"domain": {"name": "bob@example.com"}, "email": "bob@example.com", "name": "bob",
                          "type": "ephemeral"}}
                """#),
        Vector(
            testDescription: "one of some values is enough", version: "1.0",
            rules: #"""
                [{"remote": [{"type": "UserName"},
                             {"type": "orgPersonType", "any_one_of": ["Admin", "Big Cheese"]}],
                  "local": [{"user": {"name": "{0}"}}, {"group": {"id": "admins"}}]}]
                """#,
            attributes: [
                "Email": "bob@example.com", "UserName": "bob", "FirstName": "Bob", "LastName": "Thompson",
                "orgPersonType": "Admin;Chief",
            ],
            identity: #"""
                {"group_ids": ["admins"], "group_names": [], "projects": [],
                 "user": {"name": "bob", "type": "ephemeral"}}
                """#),
        Vector(
            testDescription: "none of the values is there", version: "1.0",
            rules: #"""
                [{"remote": [{"type": "UserName"}, {"type": "orgPersonType", "any_one_of": ["Tester"]}],
                  "local": [{"user": {"name": "{0}"}}]}]
                """#,
            attributes: [
                "Email": "bob@example.com", "UserName": "bob", "FirstName": "Bob", "LastName": "Thompson",
                "orgPersonType": "Admin;Chief",
            ],
            identity: nil),
        Vector(
            testDescription: "a value that must not be", version: "1.0",
            rules: #"""
                [{"remote": [{"type": "UserName"}, {"type": "orgPersonType", "not_any_of": ["Contractor"]}],
                  "local": [{"user": {"name": "{0}"}}]}]
                """#,
            attributes: [
                "Email": "tim@example.com", "UserName": "tbo", "FirstName": "Tim", "LastName": "Bo",
                "orgPersonType": "Developer;Manager;Contractor", "Thing": "yes!;maybe!",
            ],
            identity: nil),
        Vector(
            testDescription: "no value that must not be", version: "1.0",
            rules: #"""
                [{"remote": [{"type": "UserName"}, {"type": "orgPersonType", "not_any_of": ["Contractor"]}],
                  "local": [{"user": {"name": "{0}"}}]}]
                """#,
            attributes: [
                "Email": "bob@example.com", "UserName": "bob", "FirstName": "Bob", "LastName": "Thompson",
                "orgPersonType": "Admin;Chief",
            ],
            identity: #"""
                {"group_ids": [], "group_names": [], "projects": [],
                 "user": {"name": "bob", "type": "ephemeral"}}
                """#),
        Vector(
            testDescription: "an attribute that is missing", version: "1.0",
            rules: #"""
                [{"remote": [{"type": "UserName"}, {"type": "Nothing"}], "local": [{"user": {"name": "{0}"}}]}]
                """#,
            attributes: [
                "Email": "bob@example.com", "UserName": "bob", "FirstName": "Bob", "LastName": "Thompson",
                "orgPersonType": "Admin;Chief",
            ],
            identity: nil),
        Vector(
            testDescription: "patterns are searched for", version: "1.0",
            rules: #"""
                [{"remote": [{"type": "UserName"},
                             {"type": "Email", "any_one_of": ["@example.com$"], "regex": true}],
                  "local": [{"user": {"name": "{0}"}}, {"group": {"id": "testers"}}]}]
                """#,
            attributes: [
                "Email": "bob@example.com", "UserName": "bob", "FirstName": "Bob", "LastName": "Thompson",
                "orgPersonType": "Admin;Chief",
            ],
            identity: #"""
                {"group_ids": ["testers"], "group_names": [], "projects": [],
                 "user": {"name": "bob", "type": "ephemeral"}}
                """#),
        Vector(
            testDescription: "patterns that must not match", version: "1.0",
            rules: #"""
                [{"remote": [{"type": "UserName"},
                             {"type": "orgPersonType", "not_any_of": ["^Dev", "x"], "regex": true}],
                  "local": [{"user": {"name": "{0}"}}]}]
                """#,
            attributes: [
                "Email": "tim@example.com", "UserName": "tbo", "FirstName": "Tim", "LastName": "Bo",
                "orgPersonType": "Developer;Manager;Contractor", "Thing": "yes!;maybe!",
            ],
            identity: nil),
        Vector(
            testDescription: "a whitelist of groups", version: "1.0",
            rules: #"""
                [{"remote": [{"type": "orgPersonType", "whitelist": ["Developer", "Contractor"]},
                             {"type": "UserName"}],
                  "local": [{"groups": "{0}", "domain": {"id": "5abc43"}}, {"user": {"name": "{1}"}}]}]
                """#,
            attributes: [
                "Email": "tim@example.com", "UserName": "tbo", "FirstName": "Tim", "LastName": "Bo",
                "orgPersonType": "Developer;Manager;Contractor", "Thing": "yes!;maybe!",
            ],
            identity: #"""
                {"group_ids": [],
                 "group_names": [{"domain": {"id": "5abc43"}, "name": "Contractor"},
                                 {"domain": {"id": "5abc43"}, "name": "Developer"}],
                 "projects": [], "user": {"name": "tbo", "type": "ephemeral"}}
                """#),
        Vector(
            testDescription: "a whitelist that leaves one", version: "1.0",
            rules: #"""
                [{"remote": [{"type": "orgPersonType", "whitelist": ["Chief", "x"]}, {"type": "UserName"}],
                  "local": [{"groups": "{0}", "domain": {"name": "d"}}, {"user": {"name": "{1}"}}]}]
                """#,
            attributes: [
                "Email": "bob@example.com", "UserName": "bob", "FirstName": "Bob", "LastName": "Thompson",
                "orgPersonType": "Admin;Chief",
            ],
            identity: #"""
                {"group_ids": [], "group_names": [{"domain": {"name": "d"}, "name": "Chief"}], "projects": [],
                 "user": {"name": "bob", "type": "ephemeral"}}
                """#),
        Vector(
            testDescription: "a whitelist that leaves none", version: "1.0",
            rules: #"""
                [{"remote": [{"type": "orgPersonType", "whitelist": ["x"]}, {"type": "UserName"}],
                  "local": [{"groups": "{0}", "domain": {"name": "d"}}, {"user": {"name": "{1}"}}]}]
                """#,
            attributes: [
                "Email": "bob@example.com", "UserName": "bob", "FirstName": "Bob", "LastName": "Thompson",
                "orgPersonType": "Admin;Chief",
            ],
            identity: #"""
                {"group_ids": [], "group_names": [], "projects": [],
                 "user": {"name": "bob", "type": "ephemeral"}}
                """#),
        Vector(
            testDescription: "a blacklist of groups", version: "1.0",
            rules: #"""
                [{"remote": [{"type": "orgPersonType", "blacklist": ["Developer"]}, {"type": "UserName"}],
                  "local": [{"groups": "{0}", "domain": {"id": "5abc43"}}, {"user": {"name": "{1}"}}]}]
                """#,
            attributes: [
                "Email": "tim@example.com", "UserName": "tbo", "FirstName": "Tim", "LastName": "Bo",
                "orgPersonType": "Developer;Manager;Contractor", "Thing": "yes!;maybe!",
            ],
            identity: #"""
                {"group_ids": [],
                 "group_names": [{"domain": {"id": "5abc43"}, "name": "Contractor"},
                                 {"domain": {"id": "5abc43"}, "name": "Manager"}],
                 "projects": [], "user": {"name": "tbo", "type": "ephemeral"}}
                """#),
        Vector(
            testDescription: "a blacklist of patterns", version: "1.0",
            rules: #"""
                [{"remote": [{"type": "orgPersonType", "blacklist": ["^M", "er$"], "regex": true},
                             {"type": "UserName"}],
                  "local": [{"groups": "{0}", "domain": {"id": "5abc43"}}, {"user": {"name": "{1}"}}]}]
                """#,
            attributes: [
                "Email": "tim@example.com", "UserName": "tbo", "FirstName": "Tim", "LastName": "Bo",
                "orgPersonType": "Developer;Manager;Contractor", "Thing": "yes!;maybe!",
            ],
            identity: #"""
                {"group_ids": [], "group_names": [{"domain": {"id": "5abc43"}, "name": "Contractor"}],
                 "projects": [], "user": {"name": "tbo", "type": "ephemeral"}}
                """#),
        Vector(
            testDescription: "a whitelist of patterns", version: "1.0",
            rules: #"""
                [{"remote": [{"type": "orgPersonType", "whitelist": [".*er$"], "regex": true},
                             {"type": "UserName"}],
                  "local": [{"groups": "{0}", "domain": {"id": "5abc43"}}, {"user": {"name": "{1}"}}]}]
                """#,
            attributes: [
                "Email": "tim@example.com", "UserName": "tbo", "FirstName": "Tim", "LastName": "Bo",
                "orgPersonType": "Developer;Manager;Contractor", "Thing": "yes!;maybe!",
            ],
            identity: #"""
                {"group_ids": [],
                 "group_names": [{"domain": {"id": "5abc43"}, "name": "Developer"},
                                 {"domain": {"id": "5abc43"}, "name": "Manager"}],
                 "projects": [], "user": {"name": "tbo", "type": "ephemeral"}}
                """#),
        Vector(
            testDescription: "groups without a domain", version: "1.0",
            rules: #"""
                [{"remote": [{"type": "orgPersonType", "whitelist": ["Developer"]}],
                  "local": [{"groups": "{0}"}]}]
                """#,
            attributes: [
                "Email": "tim@example.com", "UserName": "tbo", "FirstName": "Tim", "LastName": "Bo",
                "orgPersonType": "Developer;Manager;Contractor", "Thing": "yes!;maybe!",
            ],
            identity: nil),
        Vector(
            testDescription: "identifiers of groups", version: "1.0",
            rules: #"""
                [{"remote": [{"type": "orgPersonType"}, {"type": "UserName"}],
                  "local": [{"group_ids": "{0}"}, {"user": {"name": "{1}"}}, {"group": {"id": "Manager"}}]}]
                """#,
            attributes: [
                "Email": "tim@example.com", "UserName": "tbo", "FirstName": "Tim", "LastName": "Bo",
                "orgPersonType": "Developer;Manager;Contractor", "Thing": "yes!;maybe!",
            ],
            identity: #"""
                {"group_ids": ["Contractor", "Developer", "Manager"], "group_names": [], "projects": [],
                 "user": {"name": "tbo", "type": "ephemeral"}}
                """#),
        Vector(
            testDescription: "a list that the mapping spells out", version: "1.0",
            rules: #"""
                [{"remote": [{"type": "UserName"}],
                  "local": [{"group_ids": "['a', \"b\"]"}, {"groups": "['x','y']", "domain": {"id": "d"}},
                            {"user": {"name": "{0}"}}]}]
                """#,
            attributes: [
                "Email": "tim@example.com", "UserName": "tbo", "FirstName": "Tim", "LastName": "Bo",
                "orgPersonType": "Developer;Manager;Contractor", "Thing": "yes!;maybe!",
            ],
            identity: #"""
                {"group_ids": ["a", "b"],
                 "group_names": [{"domain": {"id": "d"}, "name": "x"}, {"domain": {"id": "d"}, "name": "y"}],
                 "projects": [], "user": {"name": "tbo", "type": "ephemeral"}}
                """#),
        Vector(
            testDescription: "groups by their names", version: "1.0",
            rules: #"""
                [{"remote": [{"type": "UserName"}],
                  "local": [{"group": {"name": "one", "domain": {"name": "d"}}},
                            {"group": {"name": "two", "domain": {"id": "e"}}},
                            {"group": {"name": "one", "domain": {"name": "d"}}}, {"user": {"name": "{0}"}}]}]
                """#,
            attributes: [
                "Email": "tim@example.com", "UserName": "tbo", "FirstName": "Tim", "LastName": "Bo",
                "orgPersonType": "Developer;Manager;Contractor", "Thing": "yes!;maybe!",
            ],
            identity: #"""
                {"group_ids": [],
                 "group_names": [{"domain": {"id": "e"}, "name": "two"},
                                 {"domain": {"name": "d"}, "name": "one"}],
                 "projects": [], "user": {"name": "tbo", "type": "ephemeral"}}
                """#),
        Vector(
            testDescription: "groups as JSON with their domains", version: "1.0",
            rules: #"""
                [{"remote": [{"type": "openstack_user"}, {"type": "openstack_groups"}],
                  "local": [{"user": {"name": "{0}"}}, {"groups": "{1}"}]}]
                """#,
            attributes: [
                "openstack_user": "bwilliams",
                "openstack_groups":
                    #"JSON:{"name":"group1","domain":{"name":"xxx"}};JSON:{"name":"group2","domain":{"name":"yyy"}}"#,
            ],
            identity: #"""
                {"group_ids": [],
                 "group_names": [{"domain": {"name": "xxx"}, "name": "group1"},
                                 {"domain": {"name": "yyy"}, "name": "group2"}],
                 "projects": [], "user": {"name": "bwilliams", "type": "ephemeral"}}
                """#),
        Vector(
            testDescription: "one group that is a number", version: "1.0",
            rules: #"""
                [{"remote": [{"type": "groups"}, {"type": "UserName"}],
                  "local": [{"groups": "{0}", "domain": {"id": "d"}}, {"user": {"name": "{1}"}}]}]
                """#, attributes: ["groups": "1234", "UserName": "jsmith"],
            identity: #"""
                {"group_ids": [], "group_names": [{"domain": {"id": "d"}, "name": "1234"}], "projects": [],
                 "user": {"name": "jsmith", "type": "ephemeral"}}
                """#),
        Vector(
            testDescription: "one group with a space", version: "1.0",
            rules: #"""
                [{"remote": [{"type": "groups"}, {"type": "UserName"}],
                  "local": [{"groups": "{0}", "domain": {"id": "d"}}, {"user": {"name": "{1}"}}]}]
                """#, attributes: ["groups": "ALL USERS", "UserName": "jsmith"],
            identity: #"""
                {"group_ids": [], "group_names": [{"domain": {"id": "d"}, "name": "ALL USERS"}], "projects": [],
                 "user": {"name": "jsmith", "type": "ephemeral"}}
                """#),
        Vector(
            testDescription: "a name of several values", version: "1.0",
            rules: #"""
                [{"remote": [{"type": "orgPersonType"}], "local": [{"user": {"name": "{0}"}}]}]
                """#,
            attributes: [
                "Email": "tim@example.com", "UserName": "tbo", "FirstName": "Tim", "LastName": "Bo",
                "orgPersonType": "Developer;Manager;Contractor", "Thing": "yes!;maybe!",
            ],
            identity: #"""
                {"group_ids": [], "group_names": [], "projects": [],
                 "user": {"name": "['Developer', 'Manager', 'Contractor']", "type": "ephemeral"}}
                """#),
        Vector(
            testDescription: "a user that exists here", version: "1.0",
            rules: #"""
                [{"remote": [{"type": "UserName"}],
                  "local": [{"user": {"name": "{0}", "domain": {"id": "Local"}, "type": "local"}}]}]
                """#,
            attributes: [
                "Email": "bob@example.com", "UserName": "bob", "FirstName": "Bob", "LastName": "Thompson",
                "orgPersonType": "Admin;Chief",
            ],
            identity: #"""
                {"group_ids": [], "group_names": [], "projects": [],
                 "user": {"domain": {"id": "Local"}, "name": "bob", "type": "local"}}
                """#),
        Vector(
            testDescription: "the first user of all rules", version: "1.0",
            rules: #"""
                [{"remote": [{"type": "FirstName"}], "local": [{"user": {"name": "{0}"}, "group": {"id": "a"}}]},
                 {"remote": [{"type": "LastName"}], "local": [{"user": {"name": "{0}"}, "group": {"id": "b"}}]}]
                """#,
            attributes: [
                "Email": "bob@example.com", "UserName": "bob", "FirstName": "Bob", "LastName": "Thompson",
                "orgPersonType": "Admin;Chief",
            ],
            identity: #"""
                {"group_ids": ["a", "b"], "group_names": [], "projects": [],
                 "user": {"name": "Bob", "type": "ephemeral"}}
                """#),
        Vector(
            testDescription: "the rules that apply only", version: "1.0",
            rules: #"""
                [{"remote": [{"type": "orgPersonType", "any_one_of": ["x"]}, {"type": "UserName"}],
                  "local": [{"user": {"name": "wrong"}}]},
                 {"remote": [{"type": "UserName"}], "local": [{"user": {"id": "{0}"}}]}]
                """#,
            attributes: [
                "Email": "bob@example.com", "UserName": "bob", "FirstName": "Bob", "LastName": "Thompson",
                "orgPersonType": "Admin;Chief",
            ],
            identity: #"""
                {"group_ids": [], "group_names": [], "projects": [], "user": {"id": "bob", "type": "ephemeral"}}
                """#),
        Vector(
            testDescription: "a reference to nothing", version: "1.0",
            rules: #"""
                [{"remote": [{"type": "UserName"}], "local": [{"user": {"name": "{1}"}}]}]
                """#,
            attributes: [
                "Email": "bob@example.com", "UserName": "bob", "FirstName": "Bob", "LastName": "Thompson",
                "orgPersonType": "Admin;Chief",
            ],
            identity: nil),
        Vector(
            testDescription: "text without references and with braces", version: "1.0",
            rules: #"""
                [{"remote": [{"type": "UserName"}], "local": [{"user": {"name": "a {{0}} é"}}]}]
                """#,
            attributes: [
                "Email": "bob@example.com", "UserName": "bob", "FirstName": "Bob", "LastName": "Thompson",
                "orgPersonType": "Admin;Chief",
            ],
            identity: #"""
                {"group_ids": [], "group_names": [], "projects": [],
                 "user": {"name": "a {0} é", "type": "ephemeral"}}
                """#),
        Vector(
            testDescription: "unicode", version: "1.0",
            rules: #"""
                [{"remote": [{"type": "FirstName"}, {"type": "LastName"}],
                  "local": [{"user": {"name": "{0} {1}"}}]}]
                """#, attributes: ["FirstName": "Jon Kåre", "LastName": "Hellån"],
            identity: #"""
                {"group_ids": [], "group_names": [], "projects": [],
                 "user": {"name": "Jon Kåre Hellån", "type": "ephemeral"}}
                """#),
        Vector(
            testDescription: "projects with roles", version: "1.0",
            rules: #"""
                [{"remote": [{"type": "UserName"}],
                  "local": [{"user": {"name": "{0}"}},
                            {"projects": [{"name": "Production", "roles": [{"name": "reader"}]},
                                          {"name": "Project for {0}",
                                           "roles": [{"name": "admin"}, {"name": "{0}"}]}]}]}]
                """#,
            attributes: [
                "Email": "bob@example.com", "UserName": "bob", "FirstName": "Bob", "LastName": "Thompson",
                "orgPersonType": "Admin;Chief",
            ],
            identity: #"""
                {"group_ids": [], "group_names": [],
                 "projects": [{"name": "Production", "roles": [{"name": "reader"}]},
                              {"name": "Project for bob", "roles": [{"name": "admin"}, {"name": "bob"}]}],
                 "user": {"name": "bob", "type": "ephemeral"}}
                """#),
        Vector(
            testDescription: "only the last projects", version: "1.0",
            rules: #"""
                [{"remote": [{"type": "UserName"}],
                  "local": [{"user": {"name": "{0}"}, "projects": [{"name": "a", "roles": []}]}]},
                 {"remote": [{"type": "UserName"}], "local": [{"projects": [{"name": "b", "roles": []}]}]}]
                """#,
            attributes: [
                "Email": "bob@example.com", "UserName": "bob", "FirstName": "Bob", "LastName": "Thompson",
                "orgPersonType": "Admin;Chief",
            ],
            identity: #"""
                {"group_ids": [], "group_names": [], "projects": [{"name": "b", "roles": []}],
                 "user": {"name": "bob", "type": "ephemeral"}}
                """#),
        Vector(
            testDescription: "version 1 without the domain of the mapping", version: "1.0",
            rules: #"""
                [{"remote": [{"type": "UserName"}],
                  "local": [{"user": {"name": "{0}"}, "domain": {"name": "d"},
                             "projects": [{"name": "a", "roles": []}]}]}]
                """#,
            attributes: [
                "Email": "bob@example.com", "UserName": "bob", "FirstName": "Bob", "LastName": "Thompson",
                "orgPersonType": "Admin;Chief",
            ],
            identity: #"""
                {"group_ids": [], "group_names": [], "projects": [{"name": "a", "roles": []}],
                 "user": {"name": "bob", "type": "ephemeral"}}
                """#),
        Vector(
            testDescription: "version 2 with the domain of the mapping", version: "2.0",
            rules: #"""
                [{"remote": [{"type": "UserName"}],
                  "local": [{"user": {"name": "{0}"}, "domain": {"name": "d"},
                             "projects": [{"name": "a", "roles": []},
                                          {"name": "b", "domain": {"name": "own"}, "roles": []}]}]}]
                """#,
            attributes: [
                "Email": "bob@example.com", "UserName": "bob", "FirstName": "Bob", "LastName": "Thompson",
                "orgPersonType": "Admin;Chief",
            ],
            identity: #"""
                {"group_ids": [], "group_names": [],
                 "projects": [{"domain": {"name": "d"}, "name": "a", "roles": []},
                              {"domain": {"name": "own"}, "name": "b", "roles": []}],
                 "user": {"domain": {"name": "d"}, "name": "bob", "type": "ephemeral"}}
                """#),
        Vector(
            testDescription: "version 2 with a user of its own domain", version: "2.0",
            rules: #"""
                [{"remote": [{"type": "UserName"}],
                  "local": [{"user": {"name": "{0}", "domain": {"id": "u"}}, "domain": {"name": "d"}}]}]
                """#,
            attributes: [
                "Email": "bob@example.com", "UserName": "bob", "FirstName": "Bob", "LastName": "Thompson",
                "orgPersonType": "Admin;Chief",
            ],
            identity: #"""
                {"group_ids": [], "group_names": [], "projects": [],
                 "user": {"domain": {"id": "u"}, "name": "bob", "type": "ephemeral"}}
                """#),
        Vector(
            testDescription: "version 2 and the last domain", version: "2.0",
            rules: #"""
                [{"remote": [{"type": "UserName"}],
                  "local": [{"user": {"name": "{0}"}, "domain": {"name": "d"}}, {"group": {"id": "g"}}]}]
                """#,
            attributes: [
                "Email": "bob@example.com", "UserName": "bob", "FirstName": "Bob", "LastName": "Thompson",
                "orgPersonType": "Admin;Chief",
            ],
            identity: #"""
                {"group_ids": ["g"], "group_names": [], "projects": [],
                 "user": {"name": "bob", "type": "ephemeral"}}
                """#),
        Vector(
            testDescription: "version 3 with projects of the provider", version: "3.0",
            rules: #"""
                [{"remote": [{"type": "UserName"}, {"type": "p"}],
                  "local": [{"user": {"name": "{0}"}, "projects": [{"name": "a", "roles": []}],
                             "projects_json": "{1}", "domain": {"id": "d"}}]}]
                """#,
            attributes: [
                "UserName": "bob",
                "p": #"[{"name":"b {0}","domain":{"name":"own"},"roles":[{"name":"reader"}]},{"name":"c","roles":[]}]"#,
            ],
            identity: #"""
                {"group_ids": [], "group_names": [],
                 "projects": [{"domain": {"id": "d"}, "name": "a", "roles": []},
                              {"domain": {"name": "own"}, "name": "b {0}", "roles": [{"name": "reader"}]},
                              {"domain": {"id": "d"}, "name": "c", "roles": []}],
                 "user": {"domain": {"id": "d"}, "name": "bob", "type": "ephemeral"}}
                """#),
        Vector(
            testDescription: "version 3 with wrong projects of the provider", version: "3.0",
            rules: #"""
                [{"remote": [{"type": "UserName"}, {"type": "p"}],
                  "local": [{"user": {"name": "{0}"}, "projects_json": "{1}"}]}]
                """#, attributes: ["UserName": "bob", "p": #"[{"name":"b"}]"#],
            identity: nil),
    ]

    /// Mappings that Keystone 30.0.0 refuses to store.
    static let invalid: [Vector] = [
        Vector(
            testDescription: "no rules", version: "1.0",
            rules: #"""
                []
                """#, attributes: [:], identity: nil),
        Vector(
            testDescription: "no list", version: "1.0",
            rules: #"""
                {}
                """#, attributes: [:], identity: nil),
        Vector(
            testDescription: "no remote", version: "1.0",
            rules: #"""
                [{"local": []}]
                """#, attributes: [:], identity: nil),
        Vector(
            testDescription: "empty remote", version: "1.0",
            rules: #"""
                [{"local": [{"user": {"name": "x"}}], "remote": []}]
                """#, attributes: [:], identity: nil),
        Vector(
            testDescription: "no local", version: "1.0",
            rules: #"""
                [{"remote": [{"type": "x"}]}]
                """#, attributes: [:], identity: nil),
        Vector(
            testDescription: "more in a rule", version: "1.0",
            rules: #"""
                [{"local": [], "remote": [{"type": "x"}], "more": 1}]
                """#, attributes: [:], identity: nil),
        Vector(
            testDescription: "local is no list", version: "1.0",
            rules: #"""
                [{"local": {}, "remote": [{"type": "x"}]}]
                """#, attributes: [:], identity: nil),
        Vector(
            testDescription: "no type", version: "1.0",
            rules: #"""
                [{"local": [], "remote": [{"any_one_of": ["x"]}]}]
                """#, attributes: [:], identity: nil),
        Vector(
            testDescription: "unknown test", version: "1.0",
            rules: #"""
                [{"local": [], "remote": [{"type": "x", "bad_requirement": ["y"]}]}]
                """#, attributes: [:], identity: nil),
        Vector(
            testDescription: "values are no list", version: "1.0",
            rules: #"""
                [{"local": [], "remote": [{"type": "x", "any_one_of": "y"}]}]
                """#, attributes: [:], identity: nil),
        Vector(
            testDescription: "two tests", version: "1.0",
            rules: #"""
                [{"local": [], "remote": [{"type": "x", "whitelist": ["y"], "blacklist": ["z"]}]}]
                """#, attributes: [:], identity: nil),
        Vector(
            testDescription: "regex without a test", version: "1.0",
            rules: #"""
                [{"local": [], "remote": [{"type": "x", "regex": true}]}]
                """#, attributes: [:], identity: nil),
        Vector(
            testDescription: "regex is no boolean", version: "1.0",
            rules: #"""
                [{"local": [], "remote": [{"type": "x", "any_one_of": [], "regex": "true"}]}]
                """#, attributes: [:], identity: nil),
        Vector(
            testDescription: "type is no text", version: "1.0",
            rules: #"""
                [{"local": [], "remote": [{"type": 1}]}]
                """#, attributes: [:], identity: nil),
        Vector(
            testDescription: "user is a text", version: "1.0",
            rules: #"""
                [{"local": [{"user": "x"}], "remote": [{"type": "x"}]}]
                """#, attributes: [:], identity: nil),
        Vector(
            testDescription: "unknown in a user", version: "1.0",
            rules: #"""
                [{"local": [{"user": {"name": "{0}", "groups": "{1}"}}], "remote": [{"type": "x"}]}]
                """#, attributes: [:], identity: nil),
        Vector(
            testDescription: "unknown type of user", version: "1.0",
            rules: #"""
                [{"local": [{"user": {"name": "{0}", "type": "x"}}], "remote": [{"type": "x"}]}]
                """#, attributes: [:], identity: nil),
        Vector(
            testDescription: "unknown in local", version: "1.0",
            rules: #"""
                [{"local": [{"whatisthis": "x"}], "remote": [{"type": "x"}]}]
                """#, attributes: [:], identity: nil),
        Vector(
            testDescription: "group without a domain", version: "1.0",
            rules: #"""
                [{"local": [{"group": {"name": "x"}}], "remote": [{"type": "x"}]}]
                """#, attributes: [:], identity: nil),
        Vector(
            testDescription: "group by identifier with a domain", version: "1.0",
            rules: #"""
                [{"local": [{"group": {"id": "x", "domain": {"id": "d"}}}], "remote": [{"type": "x"}]}]
                """#, attributes: [:], identity: nil),
        Vector(
            testDescription: "group that is empty", version: "1.0",
            rules: #"""
                [{"local": [{"group": {}}], "remote": [{"type": "x"}]}]
                """#, attributes: [:], identity: nil),
        Vector(
            testDescription: "unknown in a domain", version: "1.0",
            rules: #"""
                [{"local": [{"group": {"name": "x", "domain": {"badkey": "d"}}}], "remote": [{"type": "x"}]}]
                """#, attributes: [:], identity: nil),
        Vector(
            testDescription: "project without roles", version: "1.0",
            rules: #"""
                [{"local": [{"projects": [{"name": "a"}]}], "remote": [{"type": "x"}]}]
                """#, attributes: [:], identity: nil),
        Vector(
            testDescription: "project without a name", version: "1.0",
            rules: #"""
                [{"local": [{"projects": [{"roles": []}]}], "remote": [{"type": "x"}]}]
                """#, attributes: [:], identity: nil),
        Vector(
            testDescription: "project with a domain in version 1", version: "1.0",
            rules: #"""
                [{"local": [{"projects": [{"name": "a", "roles": [], "domain": {"id": "d"}}]}],
                  "remote": [{"type": "x"}]}]
                """#, attributes: [:], identity: nil),
        Vector(
            testDescription: "projects_json before version 3", version: "2.0",
            rules: #"""
                [{"local": [{"projects_json": "{0}"}], "remote": [{"type": "x"}]}]
                """#, attributes: [:], identity: nil),
    ]
}
