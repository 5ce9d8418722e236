import Primitives

/// A plain-HTTP URL that may stand in a boot script and in the DHCP boot file field.
public struct BootURL: Hashable, Sendable, CustomStringConvertible {
    /// The server.
    public let host: IPv4Address
    /// 1 to 65535.
    public let port: Int
    /// Begins with `/`.
    public let path: String
    /// Names and values in order.
    public let query: [QueryItem]

    /// One `name=value` of a query.
    public struct QueryItem: Hashable, Sendable {
        /// The name.
        public let name: String
        /// The value.
        public let value: String

        /// A name and its value.
        public init(_ name: String, _ value: String) {
            self.name = name
            self.value = value
        }
    }

    /// Checks all parts; throws `InvalidValue` for a port out of range, a path with anything but
    /// `A-Z a-z 0-9 . _ - /` or with `..`, a query with anything but those and `:`, and more than 1024 bytes.
    public init(host: IPv4Address, port: Int, path: String, query: [QueryItem] = []) throws(InvalidValue) {
        guard (1...65535).contains(port) else { throw InvalidValue("port", String(port), expected: "1 to 65535") }
        let pathIsPlain = path.utf8.allSatisfy { BootText.isNameByte($0) || $0 == UInt8(ascii: "/") }
        guard path.utf8.first == UInt8(ascii: "/"), pathIsPlain,
            !path.split(separator: "/").contains("..")
        else {
            throw InvalidValue(
                "boot path", path, expected: "'/' and then A-Z, a-z, 0-9, '.', '_', '-' and '/', no '..'")
        }
        for item in query {
            let text = item.name + item.value
            guard !item.name.isEmpty, text.utf8.allSatisfy(BootText.isQueryByte) else {
                throw InvalidValue("boot query", text, expected: "A-Z, a-z, 0-9, '.', '_', '-' and ':'")
            }
        }
        self.host = host
        self.port = port
        self.path = path
        self.query = query
        guard description.utf8.count <= 1024 else {
            throw InvalidValue("boot URL", description, expected: "at most 1024 bytes")
        }
    }

    public var description: String {
        let items = query.map { "\($0.name)=\($0.value)" }.joined(separator: "&")
        return "http://\(host):\(port)\(path)\(items.isEmpty ? "" : "?\(items)")"
    }
}
