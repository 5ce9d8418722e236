import Primitives
import ResourceModel

/// A resource with every shape of field, for tests.
struct Thing: Resource {
    static let kind = "test.thing"
    static let schemaVersion = 1

    var metadata: Metadata
    var spec: Spec
    var status: Status

    struct Spec: Codable, Sendable, Hashable {
        var count: Int
        var label: String?
        var part: Part?
        var parts: [Part]
        var plain: [Plain]
        var labels: [String: String]
        var byName: [String: Plain]
    }

    struct Status: Codable, Sendable, Hashable {
        var state: State
        var seen: Int?
    }

    struct Part: Codable, Sendable, Hashable {
        var id: String
        var size: Int
        var plain: Plain?
    }

    struct Plain: Codable, Sendable, Hashable {
        var number: Int
        var text: String?
    }

    enum State: Codable, Sendable, Hashable {
        case idle
        case working(step: Int)
    }

    init(_ name: String, count: Int = 0) {
        metadata = Metadata(name: name, schemaVersion: 1, created: Timestamp(millisecondsSinceEpoch: 0))
        spec = Spec(count: count, label: nil, part: nil, parts: [], plain: [], labels: [:], byName: [:])
        status = Status(state: .idle, seen: nil)
    }
}

/// Another kind.
struct Other: Resource {
    static let kind = "test.other"
    static let schemaVersion = 1

    var metadata: Metadata
    var spec: Empty
    var status: Empty

    struct Empty: Codable, Sendable, Hashable {}

    init(_ name: String) {
        metadata = Metadata(name: name, schemaVersion: 1, created: Timestamp(millisecondsSinceEpoch: 0))
        spec = Empty()
        status = Empty()
    }
}
