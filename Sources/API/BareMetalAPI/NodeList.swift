import APISupport
import CatalogBareMetal
import Policy
import Primitives

extension APICall where Backend == BareMetalBackend {
    /// The nodes that the query asks for and the caller may see, all of them or a page.
    func listNodes(isDetailed given: Bool) throws -> APIAnswer {
        let isDetailed = try given || (minor >= 43 && query["detail"].map(flag(of:)) ?? false)
        let known = Set(NodeField.defaults.keys).union(Self.listedMembers)
        let fields = try fields(known: known, firstMinor: NodeField.firstMinor)
        guard fields == nil || !isDetailed else {
            throw APIError.badRequest("Can't fetch a subset of fields with 'detail' set")
        }
        let now = now
        var nodes = backend.nodes(now)[...]
        let seesAll = policy.isAllowed("baremetal:node:list_all", caller.credentials, PolicyTarget())
        let project = try project(seesAll: seesAll)
        if let project { nodes = nodes.filter { $0.owner == project || $0.lessee == project }[...] }
        let filter = try NodeFilter(self)
        if !filter.isEmpty { nodes = nodes.filter(filter.admits)[...] }
        nodes = try sorted(nodes, known: known)
        let (page, next) = try page(nodes, path: isDetailed ? "nodes/detail" : "nodes", id: \.uuid)
        let isPlain = policy.isAllowed("baremetal:node:get:filter_threshold", caller.credentials, PolicyTarget())
        guard fields == nil, isPlain || page.allSatisfy({ $0.owner == project }) || !isDetailed else {
            return .list(
                "nodes", page.map { render($0, fields: fields ?? (isDetailed ? nil : Self.shortMembers)).text }, next)
        }
        return .json(page, NodeView.Form(isDetailed: isDetailed, step: NodeField.step(minor), base: base), next)
    }

    private static var listedMembers: Set<String> {
        ["uuid", "driver", "conductor", "created_at", "provision_state", "traits", "links"]
    }
    private static var shortMembers: Set<String> { NodeField.short.union(["links"]) }

    /// The project whose nodes are asked for; nil: those of all.
    private func project(seesAll: Bool) throws -> String? {
        if seesAll { return query["project"] }
        guard let own = caller.credentials.projectID else { throw APIError.notAllowed("baremetal:node:list_all") }
        return own
    }

    private func flag(of text: String) throws -> Bool {
        guard let flag = NodeField.flag(text) else {
            throw APIError.badRequest("'\(text.printable(limit: 40))' is neither true nor false.")
        }
        return flag
    }

    private func sorted(_ nodes: ArraySlice<NodeView>, known: Set<String>) throws -> ArraySlice<NodeView> {
        let key = query["sort_key"] ?? "id"
        let direction = query["sort_dir"] ?? "asc"
        guard ["asc", "desc"].contains(direction) else {
            throw APIError.badRequest(
                "Invalid sort direction: \(direction.printable(limit: 40)). Acceptable values are 'asc' or 'desc'")
        }
        var result = Array(nodes)
        if key != "id" {
            guard known.contains(key), key != "links", NodeField.isShown(key, in: minor) else {
                throw APIError.badRequest("The sort_key value \"\(key.printable(limit: 80))\" is invalid for sorting")
            }
            let keyed = result.map { ($0, SortKey($0.members()[key] ?? nil)) }
            result = keyed.sorted { ($0.1, $0.0.uuid) < ($1.1, $1.0.uuid) }.map(\.0)
        }
        return (direction == "desc" ? result.reversed() : result)[...]
    }
}

/// A member as lists are sorted by it: null first, then truths, numbers and texts.
private enum SortKey: Comparable {
    case null
    case number(Double)
    case text(String)

    init(_ value: JSONValue) {
        switch value {
        case .bool(let flag): self = .number(flag ? 1 : 0)
        case .integer(let number): self = .number(Double(number))
        case .unsigned(let number): self = .number(Double(number))
        case .number(let number): self = .number(number)
        case .string(let text): self = .text(text)
        case .null, .array, .object: self = .null
        }
    }
}

extension APICall where Backend == BareMetalBackend {
    /// The most elements of a page.
    static var pageCountMax: Int { 1000 }

    /// A page of `elements` and the address of the next; throws 400 for a limit or marker that there is not.
    func page<Element>(
        _ elements: ArraySlice<Element>, path: String, id: (Element) -> String
    ) throws -> (page: ArraySlice<Element>, next: String?) {
        var rest = elements
        if let marker = query["marker"] {
            guard let place = rest.firstIndex(where: { id($0) == marker }) else {
                throw APIError.badRequest("The marker \(marker.printable(limit: 80)) is not in the list.")
            }
            rest = rest[(place + 1)...]
        }
        var limit = Self.pageCountMax
        if let text = query["limit"] {
            guard let number = Int(text), number >= 0 else { throw APIError.badRequest("Limit must be positive") }
            if number > 0 { limit = min(number, limit) }
        }
        guard rest.count > limit else { return (rest, nil) }
        let page = rest.prefix(limit)
        var others = query.items.filter { !["marker", "limit"].contains($0.name) }
        others += [("limit", "\(limit)"), ("marker", page.last.map(id) ?? "")]
        let text = others.map { "\($0.name)=\($0.value.percentEncoded)" }.joined(separator: "&")
        return (page, "\(base)/v1/\(path)?\(text)")
    }
}

extension APIAnswer {
    /// A list of elements that are JSON text already.
    static func list(_ collection: String, _ elements: [[UInt8]], _ next: String?) -> APIAnswer {
        frame(collection, next) { body in
            for (index, element) in elements.enumerated() {
                if index > 0 { body.append(UInt8(ascii: ",")) }
                body += element
            }
        }
    }

    /// A list of nodes in one form.
    fileprivate static func json(_ nodes: ArraySlice<NodeView>, _ form: NodeView.Form, _ next: String?) -> APIAnswer {
        frame("nodes", next) { body in
            body.reserveCapacity(nodes.count * (form.isDetailed ? 3500 : 500))
            var isFirst = true
            for node in nodes {
                if !isFirst { body.append(UInt8(ascii: ",")) }
                isFirst = false
                node.appendText(form, to: &body)
            }
        }
    }

    private static func frame(_ collection: String, _ next: String?, _ write: (inout [UInt8]) -> Void) -> APIAnswer {
        var body = Array("{\"\(collection)\":[".utf8)
        write(&body)
        body.append(UInt8(ascii: "]"))
        if let next {
            body += Array(",\"next\":".utf8)
            JSONValue.string(next).write(to: &body)
        }
        body.append(UInt8(ascii: "}"))
        return APIAnswer(body: body)
    }
}

/// Which nodes of a list are asked for.
struct NodeFilter {
    private var tests: [@Sendable (NodeView) -> Bool] = []

    /// Parameters that are no filters.
    private static let others: Set<String> = [
        "limit", "marker", "sort_key", "sort_dir", "fields", "detail", "project", "include_children",
    ]
    /// Members that are compared as texts, and since which minor version they are filters.
    private static let texts: [String: Int] = [
        "conductor_group": 46, "fault": 42, "parent_node": 83, "instance_name": 104, "conductor": 49, "chassis_uuid": 1,
        "shard": 82,
    ]

    /// The filters of a call; throws 400 for a parameter that there is not, and 406 for one of a later version.
    init(_ call: BareMetalCall) throws {
        for (name, value) in call.query.items where !Self.others.contains(name) {
            func since(_ minor: Int) throws { if call.minor < minor { throw APIError.notInVersion } }
            switch name {
            case "provision_state":
                try since(9)
                tests.append { $0.provisionState == value }
            case "maintenance":
                let flag = try Self.flag(value, name)
                tests.append { $0.isInMaintenance == flag }
            case "associated":
                let flag = try Self.flag(value, name)
                tests.append { ($0.instanceUUID != nil) == flag }
            case "driver":
                try since(16)
                tests.append { $0.driver == value }
            case "resource_class":
                try since(21)
                tests.append { $0.resourceClass == value }
            case "instance_uuid": tests.append { $0.instanceUUID == value }
            case "owner":
                try since(50)
                tests.append { $0.owner == value }
            case "lessee":
                try since(65)
                tests.append { $0.lessee == value }
            case "description_contains":
                try since(51)
                tests.append { $0.kept.members["description"]?.string?.contains(value) ?? false }
            case "retired":
                try since(61)
                let flag = try Self.flag(value, name)
                tests.append { ($0.kept.members["retired"]?.bool ?? false) == flag }
            default:
                guard let first = Self.texts[name] else {
                    throw APIError.badRequest("Unexpected arguments: \(name.printable(limit: 80))")
                }
                try since(first)
                tests.append { ($0.members()[name]?.string ?? "") == value }
            }
        }
    }

    var isEmpty: Bool { tests.isEmpty }

    func admits(_ node: NodeView) -> Bool { tests.allSatisfy { $0(node) } }

    private static func flag(_ text: String, _ name: String) throws -> Bool {
        guard let flag = NodeField.flag(text) else {
            throw APIError.badRequest(
                "Invalid value for \(name): '\(text.printable(limit: 40))' is neither true nor false.")
        }
        return flag
    }
}
