import Primitives
import ResourceModel

/// Where a conductor is reached. Stored under the conductor's name, and kept when the conductor is gone: after a cold
/// start whoever looks for one has to know them all. An operator deletes it when the conductor is taken away for good.
public struct ConductorEndpoint: Resource {
    public static let kind = "fleet.conductorendpoint"
    public static let schemaVersion = 1
    /// The most conductors of a site.
    public static let countMax = 16
    /// The most addresses of one port of a conductor.
    public static let addressCountMax = 8

    public var metadata: Metadata
    /// Written by that conductor at its start.
    public var spec: Spec
    public var status: NoStatus

    /// A conductor's endpoint.
    public init(metadata: Metadata, spec: Spec) {
        self.metadata = metadata
        self.spec = spec
        status = NoStatus()
    }

    /// Its ports, each with the addresses under which it is reached, as `host:port`.
    public struct Spec: Codable, Sendable, Hashable {
        /// The agents' streams.
        public var agents: [String]
        /// Registration and enrolment.
        public var provisioning: [String]
        /// The operators' API.
        public var api: [String]
        /// Where it only hands out the blobs that it still has, for example `https://10.77.0.1:9443`, and serves nothing
        /// else any more; nil: it is a conductor as others are.
        public var blobs: String?

        /// Ports.
        public init(agents: [String], provisioning: [String], api: [String], blobs: String? = nil) {
            self.agents = agents
            self.provisioning = provisioning
            self.api = api
            self.blobs = blobs
        }
    }
}
