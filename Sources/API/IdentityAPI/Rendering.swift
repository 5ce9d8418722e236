import APISupport
import CatalogIdentity
import Identity
import Primitives

/// How one noun of the API looks outside: its names, and its entries as JSON.
struct Noun<Spec: IdentitySpec>: Sendable {
    typealias Entry = IdentityEntry<Spec>

    /// The member of one, for example `user`.
    let member: String
    /// The member of a list, for example `users`.
    let collection: String
    /// Below the service's path, for example `/v3/users`.
    let path: String
    /// The members of an entry without `id` and `links`, which are added.
    let members: @Sendable (Entry) -> [String: JSONValue]
    /// The identifier as callers know it.
    var identifier: @Sendable (Entry) -> String = { $0.id }
    /// Further links by name, below the entry's own address.
    var links: [String: String] = [:]

    /// An entry as JSON.
    func render(_ entry: Entry, base: String) -> JSONValue {
        var members = members(entry)
        let id = identifier(entry)
        let address = "\(base)\(path)/\(id.percentEncoded)"
        members["id"] = .string(id)
        members["links"] = .object(
            links.mapValues { .string("\(address)/\($0)") }.merging(["self": .string(address)]) { $1 })
        return .object(members)
    }

    /// The answer with one entry.
    func answer(_ entry: Entry, _ call: IdentityCall) -> APIAnswer {
        .json([member: render(entry, base: call.base)])
    }

    /// The answer with those entries that the query asks for.
    func list(_ entries: [Entry], _ call: IdentityCall, ignoring names: Set<String> = []) throws -> APIAnswer {
        guard ListFilter(call.query, ignoring: names).isEmpty else {
            return try call.list(collection, path: path, entries.map { render($0, base: call.base) }, ignoring: names)
        }
        let (page, next) = try call.page(entries, path: path, id: identifier)
        let frame = call.frame(collection, path: path, [], next: next).text
        let texts = call.backend.encoded.entries(of: Spec.self, path)
        return APIAnswer(body: texts.fill(frame, with: page, base: call.base) { render($0, base: call.base).text })
    }

    /// As rules see an entry.
    func target(_ entry: Entry?) -> [String: JSONValue] {
        guard let entry else { return [:] }
        var members = members(entry)
        members["id"] = .string(identifier(entry))
        return [member: .object(members)]
    }

    /// What an answer with one entry must be; `Schema.list` makes of it what one with many must be.
    func schema(_ members: [String: Schema], required: [String]) -> Schema {
        let all = members.merging(["id": .string(), "links": .links]) { $1 }
        return .object([member: .object(all, required: required + ["id", "links"])], required: [member])
    }
}

extension Schema {
    /// Addresses by what they lead to; null where there is none.
    static let links = Schema.object(["self": .string(form: .uri)], others: Schema.string(form: .uri).orNull)

    /// The only member's schema of the answer with one entry: `{"user": {…}}`.
    var element: Schema {
        guard case .object(let members, _, _, _) = self, members.count == 1 else { return .any }
        return members.values.first ?? .any
    }

    /// What the answer with a list must be, of the answer with one entry.
    func list(_ collection: String, hasLinks: Bool = true) -> Schema {
        .object(
            [collection: .array(of: element), "links": .links],
            required: hasLinks ? [collection, "links"] : [collection])
    }
}

extension APICall where Backend == IdentityBackend {
    /// The most elements of a list's page.
    static var pageCountMax: Int { 10_000 }

    /// The answer with those elements that the query asks for: filters by members (`name=`, `name__contains=` and the
    /// like), `sort_key`, `sort_dir`, `marker`, `limit`. Throws `APIError` 400.
    func list(
        _ collection: String, path: String, _ elements: [JSONValue], ignoring ignored: Set<String> = []
    ) throws -> APIAnswer {
        let filter = ListFilter(query, ignoring: ignored)
        let chosen = filter.isEmpty ? elements : elements.filter(filter.admits)
        let (page, next) = try page(chosen, path: path) { $0["id"]?.string ?? "" }
        return APIAnswer(body: frame(collection, path: path, Array(page), next: next).text)
    }

    /// A page of `elements` and the address of the next, as `marker` and `limit` say; throws `APIError` 400.
    func page<Element>(
        _ elements: [Element], path: String, id: (Element) -> String
    ) throws -> (page: ArraySlice<Element>, next: String?) {
        guard let limit = try limit() else { return (elements[...], nil) }
        var rest = elements[...]
        if let marker = query["marker"] {
            guard let index = rest.firstIndex(where: { id($0) == marker }) else {
                throw APIError.badRequest("The marker '\(marker.printable(limit: 80))' is not in the list.")
            }
            rest = rest[(index + 1)...]
        }
        guard rest.count > limit else { return (rest, nil) }
        let page = rest.prefix(limit)
        let others = query.items.filter { $0.name != "marker" }.map { "\($0.name)=\($0.value.percentEncoded)" }
        let marker = "marker=\((page.last.map(id) ?? "").percentEncoded)"
        return (page, "\(base)\(path)?\((others + [marker]).joined(separator: "&"))")
    }

    /// A list with its links.
    func frame(_ collection: String, path: String, _ elements: [JSONValue], next: String?) -> JSONValue {
        [
            collection: .array(elements),
            "links": ["self": .string(base + path), "next": .optional(next), "previous": nil],
        ]
    }

    private func limit() throws -> Int? {
        guard let text = query["limit"] else { return query["marker"] == nil ? nil : Self.pageCountMax }
        guard let limit = Int(text), limit >= 1 else {
            throw APIError.badRequest("The limit '\(text.printable(limit: 40))' must be a whole number from 1 on.")
        }
        return min(limit, Self.pageCountMax)
    }

    /// The object under `member` of the body.
    func object(_ member: String) -> [String: JSONValue] { body[member]?.object ?? [:] }
}

/// Which elements of a list are asked for.
struct ListFilter {
    private enum Comparison: String {
        case equals, contains, icontains, startswith, istartswith, endswith, iendswith
    }
    private var tests: [(member: String, comparison: Comparison, value: String)] = []

    /// Parameters that are no members.
    static let ignored: Set<String> = ["limit", "marker", "sort_key", "sort_dir", "key", "page_reverse", "fields"]

    init(_ query: APIQuery, ignoring names: Set<String>) {
        for (name, value) in query.items where !Self.ignored.contains(name) && !names.contains(name) {
            let parts = name.split(separator: "_", omittingEmptySubsequences: false)
            if parts.count >= 3, parts[parts.count - 2].isEmpty,
                let comparison = Comparison(rawValue: String(parts[parts.count - 1]))
            {
                tests.append((parts.dropLast(2).joined(separator: "_"), comparison, value))
            } else {
                tests.append((name, .equals, value))
            }
        }
    }

    var isEmpty: Bool { tests.isEmpty }

    /// Whether an element has what is asked for; what it has no member of is not asked of it.
    func admits(_ element: JSONValue) -> Bool {
        tests.allSatisfy { test in
            guard let member = element[test.member] else { return true }
            return Self.holds(test.comparison, member, test.value)
        }
    }

    private static func holds(_ comparison: Comparison, _ member: JSONValue, _ value: String) -> Bool {
        guard case .equals = comparison else {
            guard let text = member.string else { return false }
            let (small, smallValue) = (text.lowercased(), value.lowercased())
            return switch comparison {
            case .equals: false
            case .contains: text.contains(value)
            case .icontains: small.contains(smallValue)
            case .startswith: text.hasPrefix(value)
            case .istartswith: small.hasPrefix(smallValue)
            case .endswith: text.hasSuffix(value)
            case .iendswith: small.hasSuffix(smallValue)
            }
        }
        switch member {
        case .string(let text): return text == value
        case .bool(let truth): return truth == !["0", "false", "no", "off"].contains(value.lowercased())
        case .null: return value.isEmpty || value == "None"
        case .integer(let number): return value == "\(number)"
        default: return true
        }
    }
}

extension Dictionary where Key == String, Value == JSONValue {
    /// The members that are not among `known`, to be kept with the thing.
    func others(than known: Set<String>) -> [String: JSONValue]? {
        let others = filter { !known.contains($0.key) }
        return others.isEmpty ? nil : others
    }

    /// These with `extra` beneath.
    func over(_ extra: [String: JSONValue]?) -> [String: JSONValue] {
        extra.map { merging($0) { own, _ in own } } ?? self
    }
}

/// Keeps `extra` as an update says: members that are null go away.
enum Extra {
    static func updated(_ extra: [String: JSONValue]?, by given: [String: JSONValue], known: Set<String>) -> [String:
        JSONValue]?
    {
        var result = extra ?? [:]
        for (name, value) in given where !known.contains(name) { result[name] = value }
        return result.isEmpty ? nil : result
    }
}
