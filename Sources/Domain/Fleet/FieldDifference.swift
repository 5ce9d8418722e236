import FleetContract
import FoundationEssentials
import Primitives
import ResourceModel

/// Tells which fields of two specifications differ.
enum FieldDifference {
    /// Fields that people did not write and need not see.
    private static let hidden: Set<String> = [
        "passwordSecret", "power.number", "power.action", "passwordOrder.number", "passwordOrder.source",
        "passwordOrder.by", "passwordOrder.at",
    ]
    private static let valueLengthMax = 120

    /// The fields in which `new` differs from `old`, by path; all of `new` when there is no `old`.
    static func between<Spec: Encodable>(_ old: Spec?, _ new: Spec) throws(StoreError) -> [SitePlanReply.Field] {
        let before = try old.map { (spec) throws(StoreError) in try flat(spec) } ?? [:]
        let after = try flat(new)
        return Set(before.keys).union(after.keys).subtracting(hidden).sorted().compactMap { path in
            guard before[path] != after[path] else { return nil }
            return SitePlanReply.Field(
                path: path, before: before[path]?.printable(limit: valueLengthMax),
                after: after[path]?.printable(limit: valueLengthMax))
        }
    }

    private static func flat(_ spec: some Encodable) throws(StoreError) -> [String: String] {
        do {
            var fields: [String: String] = [:]
            collect(try JSONDecoder().decode(JSONValue.self, from: JSONEncoder().encode(spec)), at: "", &fields)
            return fields
        } catch {
            throw .invalid("a specification cannot be encoded")
        }
    }

    private static func collect(_ value: JSONValue, at path: String, _ fields: inout [String: String]) {
        switch value {
        case .null: break
        case .bool(let value): fields[path] = String(value)
        case .integer(let value): fields[path] = String(value)
        case .unsigned(let value): fields[path] = String(value)
        case .number(let value): fields[path] = String(value)
        case .string(let value): fields[path] = value
        case .array(let elements):
            for (index, element) in elements.enumerated() { collect(element, at: "\(path)[\(index)]", &fields) }
        case .object(let members):
            for (name, member) in members { collect(member, at: path.isEmpty ? name : "\(path).\(name)", &fields) }
        }
    }
}
