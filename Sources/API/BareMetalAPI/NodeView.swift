import APISupport
import AgentProtocol
import BareMetal
import CatalogBareMetal
import Primitives
import ResourceModel
import Synchronization

/// A node as the bare-metal API has it: a machine, or a node without hardware.
enum NodeSource: Sendable {
    /// A machine, with what clients keep with it and its BMC.
    case machine(Node, MachineMembers?, BMC?)
    case fake(FakeNode)
}

/// One node, ready to be listed; it never changes, and each form of it is encoded once.
final class NodeView: Sendable {
    /// What it is made of.
    let source: NodeSource
    /// Tells whether another one made of the same documents would be the same.
    let stamp: Stamp
    /// The UUID.
    let uuid: String
    let name: String?
    let created: Timestamp
    /// The project that owns it.
    let owner: String?
    /// The project that it is lent to.
    let lessee: String?
    let driver: String
    /// In the API's words; nil: there is none in older versions.
    let provisionState: String
    let isInMaintenance: Bool
    let instanceUUID: String?
    let resourceClass: String?
    private let conductor: String?
    private let texts = Mutex<[Form: [UInt8]]>([:])

    /// The revisions of what a view was made of.
    struct Stamp: Hashable {
        var revision: Revision?
        var generations: [Generation]
        var created: [Timestamp]
        var owner: String?
        var conductor: String?
    }

    /// One form of a node.
    struct Form: Hashable {
        /// Whether all members are shown.
        var isDetailed: Bool
        /// The version, 1.`minor` as `NodeField.step` has it.
        var step: Int
        /// The service's address.
        var base: String
    }

    /// The most forms that are kept.
    private static let formCountMax = 8

    /// A view; `owner` is the project that owns machines of which nobody has said another.
    init(_ source: NodeSource, revision: Revision? = nil, owner machinesOwner: String?, conductor: String?) {
        self.source = source
        self.conductor = conductor
        stamp = Self.stamp(source, revision: revision, owner: machinesOwner, conductor: conductor)
        let members: ClientMembers
        switch source {
        case .machine(let node, let kept, let bmc):
            members = kept?.spec ?? ClientMembers()
            uuid = MachineUUID.uuid(of: node.metadata.name)
            name = node.spec.name
            created = node.metadata.created
            driver = DriverName.of(bmc)
            provisionState = node.status.state.ironicName
            isInMaintenance = node.spec.isInMaintenance
            owner = members.members["owner"].map(\.string) ?? machinesOwner
            resourceClass = members.members["resource_class"]?.string ?? node.spec.role?.rawValue
        case .fake(let node):
            members = node.spec
            uuid = node.metadata.name
            name = members.members["name"]?.string
            created = node.metadata.created
            driver = DriverName.fake
            provisionState = node.status.state.rawValue
            isInMaintenance = members.members["maintenance"]?.bool ?? false
            owner = members.members["owner"]?.string
            resourceClass = members.members["resource_class"]?.string
        }
        lessee = members.members["lessee"]?.string
        instanceUUID = members.members["instance_uuid"]?.string
    }

    /// The stamp that a view of `source` would have.
    static func stamp(
        _ source: NodeSource, revision: Revision?, owner: String?, conductor: String?
    ) -> Stamp {
        let documents: [Metadata]
        switch source {
        case .machine(let node, let kept, let bmc):
            documents = [node.metadata, kept?.metadata, bmc?.metadata].compactMap { $0 }
        case .fake(let node): documents = [node.metadata]
        }
        return Stamp(
            revision: revision, generations: documents.map(\.generation), created: documents.map(\.created),
            owner: owner, conductor: conductor)
    }

    /// What clients keep with it.
    var kept: ClientMembers {
        switch source {
        case .machine(_, let kept, _): kept?.spec ?? ClientMembers()
        case .fake(let node): node.spec
        }
    }

    /// All members of the newest version, without links.
    func members() -> [String: JSONValue] {
        var members = NodeField.defaults
        switch source {
        case .machine(let node, let kept, let bmc):
            node.addIronicMembers(kept?.spec ?? ClientMembers(), bmc, to: &members)
        case .fake(let node): node.addIronicMembers(to: &members)
        }
        members["uuid"] = .string(uuid)
        members["driver"] = .string(driver)
        members["owner"] = .optional(owner)
        members["resource_class"] = .optional(resourceClass)
        members["conductor"] = .optional(conductor)
        members["created_at"] = .string(created.ironic)
        members["traits"] = .array(kept.traits.map { .string($0) })
        return members
    }

    /// The node as version 1.`minor` has it, all of it or the members in `fields`.
    func render(_ minor: Int, base: String, fields: Set<String>? = nil) -> JSONValue {
        var shown = members().filter { name, _ in
            NodeField.isShown(name, in: minor) && fields?.contains(name) ?? true
        }
        for name in ["driver_info", "instance_info"] {
            if let members = shown[name]?.object { shown[name] = .object(NodeRedaction.withoutSecrets(members)) }
        }
        if minor < 2, shown["provision_state"] == "available" { shown["provision_state"] = nil as JSONValue }
        if fields == nil {
            for name in ["ports", "states", "portgroups", "volume"] where NodeField.isShown(name, in: minor) {
                shown[name] = .array(IronicAPI.links(base, "nodes", "\(uuid)/\(name)"))
            }
        }
        if fields?.contains("links") ?? true { shown["links"] = .array(IronicAPI.links(base, "nodes", uuid)) }
        return .object(shown)
    }

    /// The same as JSON text, encoded once for each form.
    func appendText(_ form: Form, to page: inout [UInt8]) {
        texts.withLock { texts in
            if let text = texts[form] {
                page += text
                return
            }
            let fields = form.isDetailed ? nil : NodeField.short.union(["links"])
            let text = render(form.step, base: form.base, fields: fields).text
            if texts.count >= Self.formCountMax { texts = [:] }
            texts[form] = text
            page += text
        }
    }
}

/// How the identifiers of machines look as UUIDs.
enum MachineUUID {
    /// The identifier itself when it is a UUID, else its bytes between a mark and zeros when they are few enough to be
    /// found again in it.
    static func uuid(of id: String) -> String {
        if isUUID(id) { return id }
        let bytes = Array(id.utf8.prefix(length))
        return UUIDText.format([mark, UInt8(bytes.count)] + bytes + Array(repeating: 0, count: length - bytes.count))
    }

    /// The identifiers that a machine of this UUID may have, the likely one first.
    static func identifiers(of uuid: String) -> [String] {
        guard let bytes = Hex.decode(uuid.replacing("-", with: "")), bytes.count == 16, bytes[0] == mark,
            Int(bytes[1]) <= length, let id = String(validating: bytes[2..<2 + Int(bytes[1])], as: UTF8.self)
        else { return [uuid] }
        return [uuid, id]
    }

    /// Whether a text is a UUID in lower case.
    static func isUUID(_ text: String) -> Bool {
        text.utf8.count == 36
            && text.utf8.enumerated().allSatisfy { place, byte in
                [8, 13, 18, 23].contains(place)
                    ? byte == UInt8(ascii: "-")
                    : (0x30...0x39).contains(byte) || (0x61...0x66).contains(byte)
            }
    }

    private static let mark: UInt8 = 0xFF
    private static let length = 14
}
