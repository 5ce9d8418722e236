import CatalogBareMetal
import FleetContract

/// Who wants to look at a live console, and how.
public struct ConsoleVisit: Sendable, Hashable {
    /// Who, for the others and for the audit log.
    public var who: String
    /// The caller's address.
    public var from: String?
    /// The request's name.
    public var requestID: String
    /// Whether it wants to type.
    public var writes: Bool
    /// Whether it types also if somebody does, and ends what others have open at the BMC.
    public var takes: Bool

    /// A visit.
    public init(who: String, from: String?, requestID: String, writes: Bool, takes: Bool) {
        self.who = who
        self.from = from
        self.requestID = requestID
        self.writes = writes
        self.takes = takes
    }
}

/// A place before a live console.
public struct ConsoleSeat: Sendable {
    /// What is to be seen; ends with the console or the place.
    public let events: AsyncStream<ConsoleEvent>
    /// Types.
    public let type: @Sendable ([UInt8]) async -> Void
    /// Gives the place up.
    public let leave: @Sendable () async -> Void

    /// A place.
    public init(
        events: AsyncStream<ConsoleEvent>, type: @escaping @Sendable ([UInt8]) async -> Void,
        leave: @escaping @Sendable () async -> Void
    ) {
        self.events = events
        self.type = type
        self.leave = leave
    }
}
