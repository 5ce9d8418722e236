import CatalogBareMetal
import Primitives
import ResourceModel

/// A conductor as `muster conductor list` shows it.
public struct ConductorSummary: Codable, Sendable, Hashable {
    /// Its name.
    public var name: String
    /// This run of it.
    public var run: String
    /// Its version.
    public var version: String
    /// When it started.
    public var started: Timestamp
    /// Where it is reached.
    public var addresses: ConductorRecord.Addresses
    /// Whether it does what only one conductor does.
    public var isLeader: Bool
    /// Whether it is the one that answers.
    public var isAnswering: Bool
    /// By how many milliseconds what it shows is behind the store; nil: by less than a second.
    public var lagMilliseconds: Int64?

    /// A summary of `record`; `leader` and `own` are runs of conductors.
    public init(_ record: ConductorRecord, leader: String?, own: String?) {
        name = record.metadata.name
        run = record.spec.run
        version = record.spec.version
        started = record.spec.started
        addresses = record.spec.addresses
        isLeader = record.spec.run == leader
        isAnswering = record.spec.run == own
        lagMilliseconds = record.status.lagMilliseconds
    }
}
