import Primitives

/// The path of a Redfish resource on its service (DSP0266 section 6.5, `@odata.id`), for example `/redfish/v1/Systems/1`.
///
/// Only paths on the same service can be expressed: no scheme, no host, no fragment, no `..`.
public struct ResourcePath: Hashable, Sendable, CustomStringConvertible, Decodable {
    /// The path as sent.
    public let text: String

    /// The service root (DSP0266 section 6.3).
    public static let serviceRoot = ResourcePath(unchecked: "/redfish/v1/")
    /// Where nearly every service has its systems; the service root tells for certain.
    public static let systems = ResourcePath(unchecked: "/redfish/v1/Systems")

    /// Checks `text`; throws `InvalidValue` unless it is an absolute path of printable ASCII of at most 512 bytes.
    public init(_ text: String) throws(InvalidValue) {
        let wrong = InvalidValue("Redfish path", text, expected: "an absolute path below /redfish/")
        guard text.hasPrefix("/redfish/"), text.utf8.count <= 512, !text.contains("//") else { throw wrong }
        let isAllowed = text.utf8.allSatisfy { byte in
            (0x21...0x7E).contains(byte) && !"\"#<>\\^`{|}".utf8.contains(byte)
        }
        guard isAllowed, !text.split(separator: "/").contains(where: { $0 == ".." || $0 == "." }) else { throw wrong }
        self.text = text
    }

    private init(unchecked text: String) { self.text = text }

    public init(from decoder: any Decoder) throws {
        let text = try decoder.singleValueContainer().decode(String.self)
        do {
            try self.init(text)
        } catch {
            throw DecodingError.dataCorrupted(
                .init(codingPath: decoder.codingPath, debugDescription: error.publicMessage))
        }
    }

    /// The path of a member by its name; throws `InvalidValue` when the name cannot stand in a path.
    public func appending(_ name: String) throws(InvalidValue) -> ResourcePath {
        guard !name.isEmpty, !name.contains("/"), !name.contains("?"), !name.contains("%") else {
            throw InvalidValue("Redfish identifier", name, expected: "a name without '/', '?' and '%'")
        }
        return try ResourcePath(text.hasSuffix("/") ? text + name : "\(text)/\(name)")
    }

    /// The last part, which is the resource's identifier by convention.
    public var lastComponent: String { text.split(separator: "/").last.map(String.init) ?? "" }

    /// Whether both mean the same resource: a trailing `/` and upper or lower case do not count.
    public func isSame(as other: ResourcePath) -> Bool { normalized == other.normalized }

    private var normalized: String { (text.hasSuffix("/") ? String(text.dropLast()) : text).lowercased() }

    public var description: String { text }
}
