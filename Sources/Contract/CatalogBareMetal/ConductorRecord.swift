import Primitives
import ResourceModel

/// A conductor that runs. It writes and renews its record itself, and the record is gone a lease after the conductor is.
public struct ConductorRecord: Resource {
    public static let kind = "fleet.conductor"
    public static let schemaVersion = 1
    /// How long a record is there after its conductor was heard last.
    public static let timeToLive: Duration = .seconds(10)

    public var metadata: Metadata
    /// Who it is and where: written at its start.
    public var spec: Spec
    /// How it goes with it: written by itself when that changes.
    public var status: Status

    /// The record of a conductor that starts now.
    public init(name: String, spec: Spec) {
        metadata = Metadata(name: name, schemaVersion: Self.schemaVersion, created: spec.started)
        self.spec = spec
        status = Status()
    }

    /// Who it is and where.
    public struct Spec: Codable, Sendable, Hashable {
        /// This run of it: a UUID that is made anew at each start; see `Node.Stream`.
        public var run: String
        /// Its version.
        public var version: String
        /// When it started.
        public var started: Timestamp
        /// Where it is reached.
        public var addresses: Addresses

        /// A conductor.
        public init(run: String, version: String, started: Timestamp, addresses: Addresses) {
            self.run = run
            self.version = version
            self.started = started
            self.addresses = addresses
        }
    }

    /// Where a conductor is reached.
    public struct Addresses: Codable, Sendable, Hashable {
        /// The operators' API, for example `https://10.77.0.1:9443`.
        public var api: String
        /// The agents' streams, `host:port`.
        public var agents: String
        /// Registration and enrolment, `host:port`.
        public var provisioning: String
        /// Boot files, for example `http://10.77.0.1:8080`.
        public var boot: String

        /// Addresses.
        public init(api: String, agents: String, provisioning: String, boot: String) {
            self.api = api
            self.agents = agents
            self.provisioning = provisioning
            self.boot = boot
        }

        /// The API as `host:port`.
        public var apiPort: String { api.hasPrefix("https://") ? String(api.dropFirst("https://".count)) : api }
    }

    /// How it goes with a conductor.
    public struct Status: Codable, Sendable, Hashable {
        /// By how many milliseconds what it shows is behind the store, if that is more than `lagTold`; nil: it is not.
        public var lagMilliseconds: Int64?

        /// The least that is told: at rest nothing is written.
        public static let lagTold: Duration = .seconds(1)

        /// Nothing to tell.
        public init() {}
    }
}
