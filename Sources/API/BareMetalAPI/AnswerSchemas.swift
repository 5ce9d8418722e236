import APISupport
import Primitives

extension Schema {
    /// Where a thing is, with the version in the path and without.
    static let ironicLinks = Schema.array(
        of: .object(["rel": .string(), "href": .string(form: .uri)], required: ["rel", "href"]))

    /// What a member is like of which `value` is said when nobody has given another.
    fileprivate init(default value: JSONValue, isFlag: Bool) {
        self =
            switch value {
            case .object: .object([:])
            case .bool: .boolean
            case .string: .string()
            default: isFlag ? Schema.boolean.orNull : Schema.string().orNull
            }
    }

    /// A page of a list.
    fileprivate static func page(_ collection: String, of element: Schema) -> Schema {
        .object([collection: .array(of: element), "next": .string(form: .uri)], required: [collection])
    }
}

/// What answers must be: one declaration a noun, for what is shown by itself and in lists. The version and `fields` say
/// which members there are, so that hardly one is in every answer.
extension IronicAPI {
    private static let nodeMembers: [String: Schema] = {
        var members = NodeField.defaults.reduce(into: [:]) { schemas, member in
            schemas[member.key] = Schema(default: member.value, isFlag: NodeField.flags.contains(member.key))
        }
        for name in ["links", "ports", "states", "portgroups", "volume"] { members[name] = Schema.ironicLinks }
        for name in ["uuid", "driver"] { members[name] = .string() }
        members["conductor"] = Schema.string().orNull
        members["created_at"] = .string(form: .time)
        members["provision_state"] = Schema.string().orNull
        members["traits"] = .array(of: .string())
        return members
    }()
    static let nodeElement = Schema.object(nodeMembers, others: nil)
    static let nodePage = Schema.page("nodes", of: nodeElement)
    static let nodeStates = Schema.object(nodeMembers.filter { NodeField.states.contains($0.key) }, others: nil)

    static let portElement: Schema = {
        var members = PortView.defaults.reduce(into: [:]) { schemas, member in
            schemas[member.key] = Schema(default: member.value, isFlag: false)
        }
        for name in ["uuid", "node_uuid", "address"] { members[name] = .string() }
        members["created_at"] = .string(form: .time)
        members["updated_at"] = Schema.string(form: .time).orNull
        members["links"] = .ironicLinks
        return .object(members, others: nil)
    }()
    static let portPage = Schema.page("ports", of: portElement)

    static let chassisElement = Schema.object(
        [
            "uuid": .string(), "description": Schema.string().orNull, "extra": .object([:]),
            "created_at": .string(form: .time), "updated_at": Schema.string(form: .time).orNull, "links": .ironicLinks,
            "nodes": .ironicLinks,
        ], required: ["uuid", "description", "extra", "links", "nodes"], others: nil)
    static let chassisPage = Schema.page("chassis", of: chassisElement)

    static let driverElement = Schema.object(
        [
            "name": .string(), "hosts": .array(of: .string()), "type": .string(), "links": .ironicLinks,
            "properties": .ironicLinks,
        ], required: ["name", "hosts", "links"])
    static let driverList = Schema.object(["drivers": .array(of: driverElement)], required: ["drivers"])

    static let conductorElement = Schema.object(
        [
            "hostname": .string(), "conductor_group": .string(), "alive": .boolean, "drivers": .array(of: .string()),
            "created_at": .string(form: .time), "updated_at": Schema.string(form: .time).orNull, "links": .ironicLinks,
        ], others: nil)
    static let conductorPage = Schema.page("conductors", of: conductorElement)
}
