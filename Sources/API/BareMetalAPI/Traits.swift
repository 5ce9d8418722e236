import APISupport
import CatalogBareMetal
import HTTPTypes
import Primitives

extension IronicAPI {
    private static let traits = "/v1/nodes/{node_ident}/traits"

    static let traitRoutes: [BareMetalRoute] = [
        BareMetalRoute(
            .get, traits, .rule("baremetal:node:traits:list"), "Lists a node's traits.",
            response: .object(["traits": .array(of: .string())], required: ["traits"]), target: { try $0.nodeTarget() }
        ) { call in
            try call.demandTraits()
            return .json(["traits": .array(try call.node(in: call.now).kept.traits.map { .string($0) })])
        },
        BareMetalRoute(
            .put, traits, .rule("baremetal:node:traits:set"), "Gives a node these traits and no others.",
            request: .object(["traits": .array(of: .string())], required: ["traits"], others: nil), status: .noContent,
            target: { try $0.nodeTarget() }
        ) { call in
            let given = Set((call.body["traits"]?.array ?? []).compactMap(\.string))
            try await call.setTraits { _ in given }
            return .empty
        },
        BareMetalRoute(
            .delete, traits, .rule("baremetal:node:traits:delete"), "Takes all traits from a node.",
            target: { try $0.nodeTarget() }
        ) { call in
            try await call.setTraits { _ in [] }
            return .empty
        },
        BareMetalRoute(
            .put, "\(traits)/{trait}", .rule("baremetal:node:traits:set"), "Gives a node a trait.",
            status: .noContent, target: { try $0.nodeTarget() }
        ) { call in
            try await call.setTraits { $0.union([call.parameter("trait")]) }
            return APIAnswer(headers: [.location: "\(call.base)/v1/nodes/\(call.parameter("node_ident"))/traits"])
        },
        BareMetalRoute(
            .delete, "\(traits)/{trait}", .rule("baremetal:node:traits:delete"), "Takes a trait from a node.",
            target: { try $0.nodeTarget() }
        ) { call in
            let trait = call.parameter("trait")
            try await call.setTraits { known in
                guard known.contains(trait) else {
                    throw APIError.notFound(
                        "Node \(call.parameter("node_ident").printable(limit: 80)) doesn't have a trait "
                            + "'\(trait.printable(limit: 255))'")
                }
                return known.subtracting([trait])
            }
            return .empty
        },
    ]
}

/// The traits that a node may have.
enum TraitName {
    /// The most traits of a node.
    static let countMax = 50
    private static let families = ["CUSTOM_", "COMPUTE_", "HW_", "MISC_", "OWNER_", "STORAGE_"]

    /// Whether a trait may be called so: of one of the families, of capital letters, digits and `_`.
    static func isValid(_ text: String) -> Bool {
        let isMade = text.utf8.allSatisfy { (0x41...0x5A).contains($0) || (0x30...0x39).contains($0) || $0 == 0x5F }
        return isMade && text.utf8.count <= 255 && families.contains { text.hasPrefix($0) && text != $0 }
    }
}

extension APICall where Backend == BareMetalBackend {
    /// Throws what Ironic answers to whoever asks in a version without traits.
    fileprivate func demandTraits() throws {
        guard minor < 37 else { return }
        switch method {
        case .get, .head: throw APIError.notInVersion
        case .put: throw APIError(.methodNotAllowed, "method_not_allowed", "Method Not Allowed")
        default: throw APIError.notFound("The resource could not be found.")
        }
    }

    fileprivate func setTraits(_ edit: (Set<String>) throws -> Set<String>) async throws {
        try demandTraits()
        try await changeKept("baremetal:node:traits:set", try node(in: now)) { kept in
            let traits = try edit(Set(kept.traits))
            guard traits.count <= TraitName.countMax else {
                throw APIError.badRequest("A node has at most \(TraitName.countMax) traits.")
            }
            if let wrong = traits.sorted().first(where: { !TraitName.isValid($0) }) {
                throw APIError.badRequest(
                    "Invalid traits. A valid trait must be no longer than 255 characters. Standard traits are defined in the "
                        + "os_traits library. A custom trait must start with the prefix CUSTOM_ and use the following "
                        + "characters: A-Z, 0-9 and _: \(wrong.printable(limit: 80))")
            }
            kept.traits = traits.sorted()
        }
    }
}
