import Primitives
import ResourceModel

/// Who leads in something that only one may do. Tied to the leader's lease, and never changed while it leads, so that
/// its revision names the term.
public struct LeaderRecord: Resource {
    public static let kind = "fleet.leader"
    public static let schemaVersion = 1

    public var metadata: Metadata
    public var spec: Spec
    public var status: NoStatus

    /// The record of a term that begins now.
    public init(name: String, holder: String, began: Timestamp) {
        metadata = Metadata(name: name, schemaVersion: Self.schemaVersion, created: began)
        spec = Spec(holder: holder, began: began)
        status = NoStatus()
    }

    /// Who leads.
    public struct Spec: Codable, Sendable, Hashable {
        /// Who, for example a run of a conductor.
        public var holder: String
        /// When the term began, by the holder's clock.
        public var began: Timestamp

        /// A leader.
        public init(holder: String, began: Timestamp) {
            self.holder = holder
            self.began = began
        }
    }
}

/// One time of leading, from its beginning to its end.
public struct Term: Hashable, Sendable {
    /// In what.
    public let name: String
    /// Who leads.
    public let holder: String
    /// The commit by which it began: a later term has a higher one.
    public let began: Revision

    /// A term.
    public init(name: String, holder: String, began: Revision) {
        self.name = name
        self.holder = holder
        self.began = began
    }

    /// What holds in the store as long as the term lasts, and never again.
    public var fence: Transaction.Condition { .unchanged(LeaderRecord.key(name), since: began) }
}
