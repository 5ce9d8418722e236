/// What a client did with one register, and what it was told.
///
/// Times are nanoseconds of one monotonic clock. Between `start` and `end` the operation has taken effect, at one moment.
/// One whose outcome is not known (`end` is nil) takes effect at any moment after its start, or never.
public struct RegisterOperation: Sendable, Hashable, Codable {
    /// What was done; a value is written once at most in a history, so that a read tells whose write it saw.
    public enum Action: Sendable, Hashable, Codable {
        /// A read that was answered with this value.
        case read(Int)
        /// A write.
        case write(Int)
        /// A change from one value to another, made under the condition that it is the first.
        case swap(from: Int, to: Int)
        /// A change that was refused, as the value was another than this.
        case refusedSwap(from: Int)
    }

    /// The register's name.
    public var key: String
    /// Who did it.
    public var client: Int
    /// When it was sent.
    public var start: Int64
    /// When it was answered; nil: its outcome is not known.
    public var end: Int64?
    /// What was done.
    public var action: Action

    public init(key: String, client: Int, start: Int64, end: Int64?, action: Action) {
        self.key = key
        self.client = client
        self.start = start
        self.end = end
        self.action = action
    }
}

extension RegisterOperation.Action {
    /// The value afterwards; nil where this cannot happen at `value`.
    func applied(to value: Int) -> Int? {
        switch self {
        case .read(let seen): seen == value ? value : nil
        case .write(let new): new
        case .swap(let old, let new): old == value ? new : nil
        case .refusedSwap(let old): old == value ? nil : value
        }
    }

    /// Whether it may change the value.
    var isChange: Bool {
        switch self {
        case .write, .swap: true
        case .read, .refusedSwap: false
        }
    }

    /// The value that it makes.
    var made: Int? {
        switch self {
        case .write(let new), .swap(_, let new): new
        case .read, .refusedSwap: nil
        }
    }

    /// The value that it needs.
    var seen: Int? {
        switch self {
        case .read(let value), .swap(let value, _): value
        case .write, .refusedSwap: nil
        }
    }
}
