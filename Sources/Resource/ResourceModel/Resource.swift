import Primitives

/// A typed thing in the catalog: what was asked for (`spec`) and what was seen (`status`).
///
/// The spec has one writer (the API or the controller that owns the resource), the status has another
/// (its controller). A resource is stored as one JSON document of at most `documentSizeMax`.
public protocol Resource: Codable, Sendable, Hashable {
    /// What was asked for.
    associatedtype Spec: Codable, Sendable, Hashable
    /// What was seen.
    associatedtype Status: Codable, Sendable, Hashable

    /// The kind's stored name, `<domain>.<noun>`, for example `baremetal.node`.
    static var kind: String { get }
    /// The version of the stored form that this program writes.
    static var schemaVersion: Int { get }
    /// Bytes of a document; 16 KiB unless the kind holds texts that are given as a whole.
    static var documentSizeMax: ByteCount { get }

    /// Name, generation and times.
    var metadata: Metadata { get set }
    /// What was asked for.
    var spec: Spec { get set }
    /// What was seen.
    var status: Status { get set }
}

extension Resource {
    public static var documentSizeMax: ByteCount { .kibibytes(16) }

    /// Where the resource is stored.
    public var key: ResourceKey { Self.key(metadata.name) }

    /// Where the resource of this kind with the given name is stored.
    public static func key(_ name: String) -> ResourceKey { ResourceKey(kind: kind, name: name) }
}

/// The status of resources that are only asked for.
public struct NoStatus: Codable, Sendable, Hashable {
    /// Nothing.
    public init() {}
}

/// What every resource carries.
public struct Metadata: Codable, Sendable, Hashable {
    /// The name within the kind; see `ResourceKey.name`.
    public var name: String
    /// The version of the stored form that wrote the document.
    public var schemaVersion: Int
    /// Counts the changes of the spec from 1.
    public var generation: Generation
    /// When the resource was made.
    public var created: Timestamp

    /// The metadata of a new resource.
    public init(name: String, schemaVersion: Int, created: Timestamp, generation: Generation = Generation(1)) {
        self.name = name
        self.schemaVersion = schemaVersion
        self.generation = generation
        self.created = created
    }
}

/// Where a resource is stored: its kind and its name in it. Keys are ordered by kind, then name, bytewise.
public struct ResourceKey: Hashable, Sendable, Comparable, Codable, CustomStringConvertible {
    /// For example `baremetal.node`.
    public let kind: String
    /// Printable ASCII without `/`, at most 200 bytes.
    public let name: String

    /// A key; use `validate` before it is stored.
    public init(kind: String, name: String) {
        self.kind = kind
        self.name = name
    }

    /// Throws `InvalidValue` when kind or name have a character or length that no store accepts.
    public func validate() throws(InvalidValue) {
        for (what, text) in [("resource kind", kind), ("resource name", name)] {
            let printable = text.utf8.allSatisfy { (0x21...0x7E).contains($0) && $0 != UInt8(ascii: "/") }
            guard printable, (1...200).contains(text.utf8.count) else {
                throw InvalidValue(what, text, expected: "1 to 200 printable ASCII characters without '/' and blanks")
            }
        }
    }

    public static func < (left: ResourceKey, right: ResourceKey) -> Bool {
        left.kind != right.kind ? left.kind < right.kind : left.name < right.name
    }

    public var description: String { "\(kind)/\(name)" }
}
