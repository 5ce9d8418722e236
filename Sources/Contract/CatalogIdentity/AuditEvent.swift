import Primitives
import ResourceModel

/// Who did what to which resource, and how it ended; written once and never changed.
///
/// Its name starts with the time in milliseconds, 14 digits, so that key order is time order.
public struct AuditEvent: Resource {
    public static let kind = "identity.audit"
    public static let schemaVersion = 1

    public var metadata: Metadata
    public var spec: AuditEventSpec
    public var status: AuditEventStatus

    /// An event at `created`.
    public init(name: String, created: Timestamp, spec: AuditEventSpec) {
        metadata = Metadata(name: name, schemaVersion: Self.schemaVersion, created: created)
        self.spec = spec
        status = AuditEventStatus()
    }
}

/// What an event tells.
public struct AuditEventSpec: Codable, Sendable, Hashable {
    /// For example `operator:admin`, `node:<id>` or `conductor`.
    public var who: String
    /// The remote address, nil when the conductor acted by itself.
    public var from: String?
    /// The request it belongs to.
    public var requestID: String?
    /// For example `approve`.
    public var verb: String
    /// What it was done to.
    public var resource: ResourceKey
    /// How it ended.
    public var outcome: AuditOutcome
    /// SHA-256 of the resource's document before; nil: there was none, or it is not known.
    public var before: Digest?
    /// SHA-256 of the resource's document afterwards; nil: there is none, or it is not known.
    public var after: Digest?
    /// What changed, in short and without secrets, at most `summaryLengthMax` characters.
    public var summary: String?

    /// The most characters of a summary.
    public static let summaryLengthMax = 2000

    /// An event's content; `summary` is made printable and cut.
    public init(
        who: String, from: String? = nil, requestID: String? = nil, verb: String, resource: ResourceKey,
        outcome: AuditOutcome, before: Digest? = nil, after: Digest? = nil, summary: String? = nil
    ) {
        self.who = who
        self.from = from
        self.requestID = requestID
        self.verb = verb
        self.resource = resource
        self.outcome = outcome
        self.before = before
        self.after = after
        self.summary = summary?.printable(limit: Self.summaryLengthMax)
    }
}

/// How an audited call ended.
public enum AuditOutcome: Codable, Sendable, Hashable {
    /// It was done.
    case ok
    /// The caller may not do it.
    case denied
    /// It was not done; `message` is the public text of the error.
    case failed(message: String)
}

/// Nothing is seen of an event later.
public struct AuditEventStatus: Codable, Sendable, Hashable {
    /// The only value.
    public init() {}
}
