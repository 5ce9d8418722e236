import Primitives

/// A noun of the cloud's APIs, as clients write it.
struct CloudNoun: Sendable {
    struct Request: Sendable {
        var method: String
        var path: String
        var body: JSONValue?
    }

    /// For words on it, for example `users`.
    let name: String
    /// Makes one called `name`, with a text that tells its writes apart; nil: there is no place for more.
    let create: @Sendable (_ name: String, _ text: String) -> Request?
    /// Its identifier in the answer; nil: it is the name.
    let identifier: (@Sendable (JSONValue) -> String?)?
    let path: @Sendable (_ id: String) -> String
    /// Gives it another text; nil: it has none that can be changed.
    let update: (@Sendable (_ id: String, _ text: String) -> Request)?
    /// The text in what is shown of it; nil: none is shown.
    let text: (@Sendable (JSONValue) -> String?)?
    /// The list, and what of an element is the name; nil: the name is the identifier.
    let list: (path: String, member: String, naming: String)?
}

extension CloudNoun {
    private static let identity = "/identity/v3"

    /// A noun of the identity API with `naming` for its name and `description` for its text.
    private static func keystone(
        _ collection: String, _ member: String, naming: String = "name", in place: String = "", plural: Bool = false,
        name: @escaping @Sendable (String) -> JSONValue = { .string($0) }, _ more: [String: JSONValue] = [:]
    ) -> CloudNoun {
        let root = "\(identity)\(place)/\(collection)"
        return CloudNoun(
            name: collection,
            create: { called, text in
                var members = more
                members[naming] = name(called)
                members["description"] = .string(text)
                let body: JSONValue =
                    plural ? .object([collection: [.object(members)]]) : .object([member: .object(members)])
                return Request(method: "POST", path: root, body: body)
            },
            identifier: { (plural ? $0[collection]?.array?.first : $0[member])?["id"]?.string },
            path: { "\(root)/\($0)" },
            update: { id, text in
                Request(method: "PATCH", path: "\(root)/\(id)", body: .object([member: ["description": .string(text)]]))
            },
            text: { $0[member]?["description"]?.string },
            list: (root, collection, naming))
    }

    /// A noun that is made under a name of the client's own (PUT).
    private static func named(
        _ collection: String, _ member: String, _ members: [String: JSONValue]
    ) -> CloudNoun {
        let root = "\(identity)/OS-FEDERATION/\(collection)"
        @Sendable func body(_ text: String) -> JSONValue {
            var members = members
            members["description"] = .string(text)
            return .object([member: .object(members)])
        }
        return CloudNoun(
            name: collection, create: { Request(method: "PUT", path: "\(root)/\($0)", body: body($1)) },
            identifier: nil,
            path: { "\(root)/\($0)" },
            update: { id, text in
                Request(method: "PATCH", path: "\(root)/\(id)", body: .object([member: ["description": .string(text)]]))
            },
            text: { $0[member]?["description"]?.string }, list: nil)
    }

    /// One of many things that are only there or not; `target` is where that of a name is.
    ///
    /// Each name has a user of its own among those of `base`, as long as these last.
    private static func link(
        _ name: String, _ base: CloudBase, _ target: @escaping @Sendable (_ user: String) -> String
    ) -> CloudNoun {
        @Sendable func user(of name: String) -> String? {
            let numbers = name.dropFirst().split(separator: "-").compactMap { Int($0) }
            guard numbers.count == 2 else { return nil }
            let index = numbers[1] * base.writerCount + numbers[0]
            return base.users.indices.contains(index) ? base.users[index] : nil
        }
        return CloudNoun(
            name: name,
            create: { called, _ in user(of: called).map { Request(method: "PUT", path: target($0), body: nil) } },
            identifier: nil, path: { target(user(of: $0) ?? "") }, update: nil, text: nil, list: nil)
    }

    /// What all writers write, in a cloud that has `base`.
    static func all(_ base: CloudBase) -> [CloudNoun] {
        let service: JSONValue = .string(base.service)
        return [
            keystone("domains", "domain", ["enabled": false]), keystone("projects", "project"),
            keystone("users", "user", ["password": "geheim"]), keystone("groups", "group"), keystone("roles", "role"),
            keystone("regions", "region", naming: "id"), keystone("services", "service", ["type": "thing"]),
            keystone(
                "endpoints", "endpoint", naming: "url", name: { .string("https://\($0).example") },
                ["service_id": service, "interface": "public"]),
            keystone(
                "endpoint_groups", "endpoint_group", in: "/OS-EP-FILTER", ["filters": ["interface": "public"]]),
            keystone(
                "registered_limits", "registered_limit", naming: "resource_name", plural: true,
                ["service_id": service, "default_limit": 5]),
            keystone("consumers", "consumer", naming: "note", in: "/OS-OAUTH1"),
            keystone(
                "credentials", "credential", naming: "blob", ["user_id": .string(base.user), "type": "thing"]),
            keystone("policies", "policy", naming: "blob", ["type": "application/json"]),
            named("identity_providers", "identity_provider", [:]),
            named(
                "service_providers", "service_provider",
                ["auth_url": "https://a.example", "sp_url": "https://s.example"]),
            link("memberships", base) { "\(identity)/groups/\(base.group)/users/\($0)" },
            link("grants", base) { "\(identity)/projects/\(base.project)/users/\($0)/roles/\(base.role)" },
            nodes, ports(of: base.node),
        ]
    }

    private static let nodes = CloudNoun(
        name: "nodes",
        create: { name, text in
            Request(
                method: "POST", path: "/baremetal/v1/nodes",
                body: ["driver": "fake-hardware", "name": .string(name), "extra": ["text": .string(text)]])
        },
        identifier: { $0["uuid"]?.string }, path: { "/baremetal/v1/nodes/\($0)" }, update: patch("/baremetal/v1/nodes"),
        text: { $0["extra"]?["text"]?.string }, list: ("/baremetal/v1/nodes", "nodes", "name"))

    private static func ports(of node: String) -> CloudNoun {
        CloudNoun(
            name: "ports",
            create: { name, text in
                Request(
                    method: "POST", path: "/baremetal/v1/ports",
                    body: [
                        "node_uuid": .string(node), "address": .string(address(name)),
                        "extra": ["text": .string(text), "name": .string(name)],
                    ])
            },
            identifier: { $0["uuid"]?.string }, path: { "/baremetal/v1/ports/\($0)" },
            update: patch("/baremetal/v1/ports"), text: { $0["extra"]?["text"]?.string },
            list: ("/baremetal/v1/ports/detail", "ports", "address"))
    }

    private static func patch(_ root: String) -> @Sendable (String, String) -> Request {
        { id, text in
            Request(
                method: "PATCH", path: "\(root)/\(id)",
                body: [["op": "add", "path": "/extra/text", "value": .string(text)]])
        }
    }

    /// A MAC address for a name.
    static func address(_ name: String) -> String {
        let digits = name.utf8.reduce(UInt64(14_695_981_039_346_656_037)) { ($0 ^ UInt64($1)) &* 1_099_511_628_211 }
        let bytes = [0x02] + (0..<5).map { UInt8(truncatingIfNeeded: digits >> (8 * $0)) }
        return bytes.map { Hex.encode([$0]) }.joined(separator: ":")
    }

    /// What the list has in the place of a name.
    func listed(_ called: String) -> String {
        switch name {
        case "endpoints": "https://\(called).example"
        case "ports": Self.address(called)
        default: called
        }
    }
}

/// What the writers' things hang on.
struct CloudBase: Sendable {
    var service = ""
    var user = ""
    var group = ""
    var project = ""
    var role = ""
    var node = ""
    var users: [String] = []
    var writerCount = 1
}
