import APISupport
import CatalogBareMetal
import Policy
import Primitives
import ReconcileRuntime
import ResourceModel

extension APICall where Backend == BareMetalBackend {
    /// Everything as it is now.
    var now: CacheSnapshot { directory }

    /// A node as it is now.
    func view(_ source: NodeSource, _ now: CacheSnapshot) -> NodeView {
        NodeView(source, owner: backend.ownerOfMachines(now), conductor: backend.conductor(now))
    }

    /// The node that the path names by UUID or, since version 1.5, by name.
    ///
    /// Throws 404 also when the caller may not see it, and 409 when two have the name.
    func node(in now: CacheSnapshot) throws -> NodeView { try node(parameter("node_ident"), in: now) }

    /// The node of this UUID or name; throws as `node(in:)` does.
    func node(_ wanted: String, in now: CacheSnapshot) throws -> NodeView {
        var ident = wanted
        // Until version 1.90 a name could have the form that is asked for behind it.
        if minor < 91, ident.hasSuffix(".json"), now.nodes(named: ident).isEmpty { ident.removeLast(5) }
        var found: [NodeSource] = []
        if MachineUUID.isUUID(ident.lowercased()) {
            found = now.node(uuid: ident.lowercased()).map { [$0] } ?? []
        } else if minor >= 5 {
            found = now.nodes(named: ident)
        }
        guard let source = found.first else { throw APIError.missing("Node", wanted) }
        guard found.count == 1 else {
            throw APIError.conflict("\(found.count) nodes have the name '\(ident.printable(limit: 80))'; use the UUID.")
        }
        let view = view(source, now)
        guard policy.isAllowed("baremetal:node:get", caller.credentials, view.target) else {
            throw APIError.missing("Node", wanted)
        }
        return view
    }

    /// The members of `query` that are asked for; nil: all. Throws 400 for one that nodes do not have, and 406 for one
    /// that this version does not have.
    func fields(known: Set<String>, firstMinor: [String: Int]) throws -> Set<String>? {
        guard let text = query["fields"] else { return nil }
        guard minor >= 8 else { throw APIError.notInVersion }
        let names = text.split(separator: ",").map(String.init)
        for name in names {
            guard known.contains(name) else {
                throw APIError.badRequest("Field(s) \"\(name.printable(limit: 80))\" are not valid")
            }
            guard firstMinor[name].map({ $0 <= minor }) ?? true else { throw APIError.notInVersion }
        }
        return Set(names)
    }

    /// What `view` is to the caller: who may not see all has some members left out.
    func render(_ view: NodeView, fields: Set<String>? = nil) -> JSONValue {
        let node = view.render(minor, base: base, fields: fields)
        guard !policy.isAllowed("baremetal:node:get:filter_threshold", caller.credentials, view.target),
            case .object(var members) = node
        else { return node }
        for (name, hidden) in NodeRedaction.members where members[name] != nil {
            if !policy.isAllowed("baremetal:node:get:\(name)", caller.credentials, view.target) {
                members[name] = hidden
            }
        }
        return .object(members)
    }
}

/// What stands in the place of members that a caller may not see.
enum NodeRedaction {
    /// What clients keep with a node, but for passwords, secrets and config drives: nobody is shown those again.
    static func withoutSecrets(_ members: [String: JSONValue]) -> [String: JSONValue] {
        var shown = members
        for name in members.keys
        where ["password", "secret", "configdrive"].contains(where: name.lowercased().contains) {
            shown[name] = "******"
        }
        return shown
    }

    static let members: [String: JSONValue] = [
        "last_error": "** Value Redacted - Requires baremetal:node:get:last_error permission. **",
        "reservation": "** Redacted - requires baremetal:node:get:reservation permission. **",
        "driver_info": ["content": "** Redacted - requires baremetal:node:get:driver_info permission. **"],
        "driver_internal_info": [
            "content": "** Redacted - Requires baremetal:node:get:driver_internal_info permission. **"
        ],
    ]
}

extension NodeView {
    /// As rules see it; members that are null are not there, so that a token without a project is of no owner.
    var target: PolicyTarget {
        var members: [String: JSONValue] = [:]
        if let owner { members["owner"] = .string(owner) }
        if let lessee { members["lessee"] = .string(lessee) }
        return PolicyTarget(["node": .object(members)])
    }
}
