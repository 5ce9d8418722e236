import FoundationEssentials
import Primitives
import Testing

@testable import Identity

@Suite struct MappingTests {
    private func json(_ text: String) throws -> JSONValue {
        try JSONDecoder().decode(JSONValue.self, from: Data(text.utf8))
    }

    private func mapping(_ rules: String, version: String = "1.0") throws -> MappingRules {
        try MappingRules(json(rules), schemaVersion: version)
    }

    @Test(arguments: MappingVectors.all) func `gives what Keystone gives`(vector: MappingVectors.Vector) throws {
        let mapping = try mapping(vector.rules, version: vector.version)
        let assertion = FederationAssertion(attributes: vector.attributes)
        guard let expected = vector.identity else {
            #expect(throws: MappingError.self) { try mapping.evaluate(assertion) }
            return
        }
        #expect(try mapping.evaluate(assertion).shape == json(expected))
    }

    @Test(arguments: MappingVectors.invalid) func `refuses what Keystone refuses`(vector: MappingVectors.Vector) {
        let error = #expect(throws: MappingError.self) { try mapping(vector.rules, version: vector.version) }
        guard case .invalid(let what) = error else {
            Issue.record("\(String(describing: error))")
            return
        }
        #expect(what.hasPrefix("rules"))
    }

    @Test func `says where a mapping is wrong`() throws {
        #expect(throws: MappingError.invalid("rules[1].remote[0].any_one_of: '(' is no regular expression")) {
            try mapping(
                """
                [{"local": [], "remote": [{"type": "x"}]},
                 {"local": [], "remote": [{"type": "x", "any_one_of": ["a", "("], "regex": true}]}]
                """)
        }
        #expect(throws: MappingError.invalid("schema_version: expected 1.0, 2.0 or 3.0")) {
            try mapping(#"[{"local": [], "remote": [{"type": "x"}]}]"#, version: "4.0")
        }
        for name in ["{", "}", "{0", "{a}", "{0.__class__}", "{0[0]}", "{0!r}", "{}", "{1234}", "{{0}"] {
            #expect(throws: MappingError.self) {
                try mapping(#"[{"local": [{"user": {"name": "\#(name)"}}], "remote": [{"type": "x"}]}]"#)
            }
        }
    }

    /// A provider's values stay values: they become no lists, no templates and no patterns.
    @Test func `what a provider says is not read as more than text`() throws {
        let groups = try mapping(
            """
            [{"remote": [{"type": "g"}, {"type": "u"}],
              "local": [{"groups": "{0}", "domain": {"id": "d"}}, {"group_ids": "{0}"}, {"user": {"name": "{1}"}}]}]
            """)
        let identity = try groups.evaluate(
            FederationAssertion(attributes: ["g": "['admin', 'root']", "u": "{0} ['x']"]))
        #expect(identity.groups.map(\.name) == ["['admin', 'root']"])
        #expect(identity.groupIDs == ["['admin', 'root']"])
        #expect(identity.user.name == "{0} ['x']")
        let claims = try groups.evaluate(FederationAssertion(values: ["g": ["a;admin"], "u": ["x"]]))
        #expect(claims.groups.map(\.name) == ["a;admin"])
        let list = try mapping(
            #"[{"remote": [{"type": "u", "whitelist": ["x.z"]}], "local": [{"user": {"name": "{0}"}}]}]"#)
        #expect(throws: MappingError.missingValue("{0}")) {
            try list.evaluate(FederationAssertion(attributes: ["u": "xyz"]))
        }
    }

    @Test func `a group in JSON needs a name and a domain`() throws {
        let groups = try mapping(#"[{"remote": [{"type": "g"}], "local": [{"groups": "{0}"}]}]"#)
        for wrong in [
            "{", "{}", #"{"name": "x"}"#, #"{"name": 1, "domain": {"id": "d"}}"#, #"{"name":"x","domain":{}}"#,
        ] {
            #expect(throws: MappingError.self, "\(wrong)") {
                try groups.evaluate(FederationAssertion(values: ["g": ["JSON:\(wrong)"]]))
            }
        }
    }

    @Test func `large things are refused`() throws {
        let twice = try mapping(
            #"[{"remote": [{"type": "x"}], "local": [{"user": {"name": "{0}{0}{0}"}}]}]"#)
        let half = String(repeating: "x", count: 30_000)
        #expect(throws: MappingError.tooLarge) { try twice.evaluate(FederationAssertion(attributes: ["x": half])) }
        #expect(throws: MappingError.tooLarge) {
            try twice.evaluate(FederationAssertion(attributes: ["x": "y", "z": half + half + half]))
        }
        let rule = #"{"local": [], "remote": [{"type": "x"}]}"#
        #expect(throws: MappingError.invalid("rules: at most 1000")) {
            try mapping("[\(Array(repeating: rule, count: 1001).joined(separator: ","))]")
        }
    }

    @Test func `lists of Python come back`() {
        for texts in [[], ["a"], ["it's", "say \"x\"", "'\"", "a\\b\n", "é, [x]"]] {
            #expect(PythonList.texts(PythonList.text(texts)) == texts)
        }
        for wrong in ["", "[", "]", "['a'", "['a]", "[a]", "['a' 'b']", "['a'] x", "'a'", "['a',,]"] {
            #expect(PythonList.texts(wrong) == nil, "\(wrong)")
        }
        #expect(PythonList.texts(" [ 'a' , \"b\", ] ") == ["a", "b"])
    }
}

extension MappedIdentity {
    /// In the form of Keystone's own result, with sorted groups.
    fileprivate var shape: JSONValue {
        var user: [String: JSONValue] = ["type": .string(self.user.isLocal ? "local" : "ephemeral")]
        user["id"] = self.user.id.map(JSONValue.string)
        user["name"] = self.user.name.map(JSONValue.string)
        user["email"] = self.user.email.map(JSONValue.string)
        user["domain"] = self.user.domain.map(\.shape)
        let names = groups.sorted {
            // As their JSON is sorted: by the domain first.
            ($0.domain.id == nil ? 1 : 0, $0.domain.id ?? $0.domain.name ?? "", $0.name)
                < ($1.domain.id == nil ? 1 : 0, $1.domain.id ?? $1.domain.name ?? "", $1.name)
        }
        return .object([
            "user": .object(user), "group_ids": .array(groupIDs.sorted().map(JSONValue.string)),
            "group_names": .array(
                names.map { .object(["name": .string($0.name), "domain": $0.domain.shape]) }),
            "projects": .array(
                projects.map { project in
                    var object: [String: JSONValue] = ["name": .string(project.name)]
                    object["domain"] = project.domain.map(\.shape)
                    object["roles"] = .array(project.roles.map { .object(["name": .string($0)]) })
                    return .object(object)
                }),
        ])
    }
}

extension MappedIdentity.Domain {
    fileprivate var shape: JSONValue {
        var object: [String: JSONValue] = [:]
        object["id"] = id.map(JSONValue.string)
        object["name"] = name.map(JSONValue.string)
        return .object(object)
    }
}
