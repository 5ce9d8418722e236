import Primitives

/// Where a value is in a document: names of members, and identities or places of elements.
struct JSONPath: Hashable, CustomStringConvertible {
    enum Step: Hashable {
        case member(String)
        case element(id: String)
        case place(Int)
    }

    var steps: [Step] = []

    func appending(_ step: Step) -> JSONPath { JSONPath(steps: steps + [step]) }

    /// Whether the object that holds the value is still there; elements without identity need all to be there.
    func survives(in document: JSONValue) -> Bool {
        document.value(at: JSONPath(steps: Array(steps.dropLast()))) != nil
    }

    var description: String { "\(steps)" }
}

extension JSONValue {
    private static let prefix = "unknown"

    /// Adds members to objects everywhere, each with a value of its own.
    func withUnknownMembers(_ marker: inout Int, using random: inout SeededRandom) -> JSONValue {
        switch self {
        case .object(let members):
            var result: [String: JSONValue] = [:]
            for (name, value) in members.sorted(by: { $0.key < $1.key }) {
                result[name] = value.withUnknownMembers(&marker, using: &random)
            }
            // Maps have no place for members of another kind, and an enum's object has its one case.
            let closed: Set<String> = ["keepText", "x", "idle", "working"]
            if closed.isDisjoint(with: members.keys), Bool.random(using: &random) {
                marker += 1
                let values: [JSONValue] = [
                    .integer(Int64(marker)), .string("é\n\(marker)"), .null, .bool(true), .number(0.5),
                    .array([.integer(Int64(marker)), .object(["id": .string("x"), "y": .null])]),
                    .object(["deep": .object(["deeper": .integer(Int64(marker))])]), .unsigned(.max - UInt64(marker)),
                ]
                result["\(Self.prefix)\(marker)"] = values[Int.random(in: 0..<values.count, using: &random)]
            }
            return .object(result)
        case .array(let elements):
            return .array(elements.map { $0.withUnknownMembers(&marker, using: &random) })
        default: return self
        }
    }

    func withoutUnknownMembers() -> JSONValue {
        switch self {
        case .object(let members):
            .object(members.filter { !$0.key.hasPrefix(Self.prefix) }.mapValues { $0.withoutUnknownMembers() })
        case .array(let elements): .array(elements.map { $0.withoutUnknownMembers() })
        default: self
        }
    }

    /// Where the added members are.
    func unknownPaths(_ path: JSONPath = JSONPath()) -> [JSONPath] {
        switch self {
        case .object(let members):
            members.flatMap { name, value in
                let inner = path.appending(.member(name))
                return name.hasPrefix(Self.prefix) ? [inner] : value.unknownPaths(inner)
            }
        case .array(let elements):
            elements.enumerated().flatMap { index, element in
                element.unknownPaths(path.appending(element.identity.map { .element(id: $0) } ?? .place(index)))
            }
        default: []
        }
    }

    func value(at path: JSONPath) -> JSONValue? {
        var current: JSONValue? = self
        for step in path.steps {
            switch (step, current) {
            case (.member(let name), _): current = current?[name]
            case (.element(let id), .array(let elements)?): current = elements.first { $0.identity == id }
            case (.place(let index), .array(let elements)?):
                current = index < elements.count ? elements[index] : nil
            default: return nil
            }
        }
        return current
    }

    private var identity: String? { if case .string(let id)? = self["id"] { id } else { nil } }
}

extension Thing {
    static func random(using random: inout SeededRandom) -> Thing {
        var thing = Thing("a", count: Int.random(in: 0..<100, using: &random))
        thing.spec.label = Bool.random(using: &random) ? "label" : nil
        thing.spec.part = Bool.random(using: &random) ? part("p", using: &random) : nil
        thing.spec.parts = (0..<Int.random(in: 0..<5, using: &random)).map { part("id\($0)", using: &random) }
        thing.spec.plain = (0..<Int.random(in: 0..<4, using: &random)).map { _ in plain(using: &random) }
        thing.spec.byName = ["x": plain(using: &random), "y": plain(using: &random)]
        thing.spec.labels = ["keepText": "1", "b": "2"]
        thing.status.state = Bool.random(using: &random) ? .idle : .working(step: 3)
        thing.status.seen = Bool.random(using: &random) ? 5 : nil
        return thing
    }

    private static func part(_ id: String, using random: inout SeededRandom) -> Part {
        Part(
            id: id, size: Int.random(in: 0..<9, using: &random),
            plain: Bool.random(using: &random) ? plain(using: &random) : nil)
    }

    private static func plain(using random: inout SeededRandom) -> Plain {
        Plain(number: Int.random(in: 0..<9, using: &random), text: Bool.random(using: &random) ? "t" : nil)
    }

    /// Changes known fields as a controller would.
    mutating func change(using random: inout SeededRandom) {
        switch Int.random(in: 0..<10, using: &random) {
        case 0: spec.count += 1
        case 1: spec.label = spec.label == nil ? "set" : nil
        case 2: spec.part = spec.part == nil ? Part(id: "p", size: 1) : nil
        case 3: spec.parts.reverse()
        case 4: spec.parts.append(Part(id: "new", size: 1))
        case 5: if !spec.parts.isEmpty { spec.parts.removeFirst() }
        case 6: for index in spec.plain.indices { spec.plain[index].number += 100 }
        case 7: status.state = .working(step: 8)
        case 8: spec.byName["x"] = nil
        default: for index in spec.parts.indices { spec.parts[index].plain?.number += 1 }
        }
    }
}
