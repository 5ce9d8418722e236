/// What a client did with a set, and what it was told; times as in `RegisterOperation`.
///
/// An element is added once in a history and removed once at most, by somebody to whom its addition was acknowledged.
public struct SetOperation: Sendable, Hashable, Codable {
    public enum Action: Sendable, Hashable, Codable {
        /// An element was added.
        case add(String)
        /// An element was removed.
        case remove(String)
        /// A removal that was refused, as the element was not there.
        case missed(String)
        /// A read of the whole set.
        case list(Set<String>)
    }

    /// Who did it.
    public var client: Int
    /// When it was sent.
    public var start: Int64
    /// When it was answered; nil: its outcome is not known.
    public var end: Int64?
    /// What was done.
    public var action: Action

    public init(client: Int, start: Int64, end: Int64?, action: Action) {
        self.client = client
        self.start = start
        self.end = end
        self.action = action
    }
}
