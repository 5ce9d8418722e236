import FoundationEssentials

/// A line of what a live console answers: `POST /fleet/v1/nodes/NAME/console`, JSON lines in both directions at once.
public struct ConsoleEvent: Codable, Sendable, Hashable {
    /// What it is.
    public var kind: Kind
    /// What the machine has sent, for `output`.
    public var data: Data?
    /// Words for people.
    public var text: String?
    /// Whether the caller may type, for `seated`.
    public var isWriter: Bool?

    /// What a line is.
    public enum Kind: String, Codable, Sendable, Hashable {
        /// The caller has a place; `text` is who types instead, if somebody does.
        case seated
        /// The console is open.
        case opened
        /// Bytes of the machine.
        case output
        /// Something to tell, for example that somebody else types now.
        case note
        /// It is over; `text` says why.
        case ended
        /// Nothing: it is still there.
        case idle
    }

    /// A line.
    public init(_ kind: Kind, data: Data? = nil, text: String? = nil, isWriter: Bool? = nil) {
        self.kind = kind
        self.data = data
        self.text = text
        self.isWriter = isWriter
    }
}

/// A line of what the caller of a live console sends.
public struct ConsoleInput: Codable, Sendable, Hashable {
    /// Bytes for the machine.
    public var data: Data

    /// The most bytes of a line.
    public static let sizeMax = 4096
    /// The most characters of a line.
    public static let lineLengthMax = 8192

    /// A line.
    public init(_ data: Data) { self.data = data }
}
