import Primitives

/// The agent's stream: `GET /agent/v1/stream` on the agent port, upgraded to WebSocket (RFC 6455), mutual TLS.
///
/// One JSON object a text message. Who the node is comes from the peer's certificate, never from a message.
public enum AgentStream {
    /// The request path.
    public static let path = "/agent/v1/stream"
    /// The largest message either side accepts.
    public static let messageSizeMax = ByteCount.mebibytes(4)
    /// Either side pings after this much silence and gives up after two unanswered pings.
    public static let pingInterval: Duration = .seconds(15)
}

/// From the agent to the conductor.
public enum AgentMessage: Codable, Sendable, Hashable {
    /// The first message: who speaks and what view it has.
    case hello(AgentHello)
    /// What the role modules see.
    case status(NodeStatusReport)
    /// Figures since the last report.
    case metrics(MetricsReport)
    /// Log lines.
    case logs(LogBatch)
    /// Asks for a certificate for a new key (PEM, RFC 2986) before the old one ends.
    case renew(signingRequest: String)
    /// Asks for what a controller has to have.
    case secrets(ControllerSecretsRequest)
}

/// From the conductor to the agent.
public enum ConductorMessage: Codable, Sendable, Hashable {
    /// The answer to `hello`.
    case welcome(ConductorWelcome)
    /// The whole view: what is not in it is gone.
    case view(NodeView)
    /// A difference to the view sent last.
    case change(ViewChange)
    /// The answer to `renew`.
    case certificate(EnrolmentReply)
    /// The answer to `secrets`.
    case secrets(ControllerSecretsReply)
    /// The stream ends; `message` says why, `retryAfterSeconds` when to come again (nil: do not).
    case goodbye(message: String, retryAfterSeconds: Int?)
}

/// The agent's first message.
public struct AgentHello: Codable, Sendable, Hashable {
    /// The version of the messages' form.
    public var schemaVersion: Int
    /// The agent's version.
    public var agentVersion: String
    /// The kernel's boot identifier: changes with every boot.
    public var bootID: String
    /// The role modules in this executable.
    public var roles: [Role]
    /// The revision of the view it holds; zero for none.
    public var viewRevision: Revision

    /// A hello.
    public init(agentVersion: String, bootID: String, roles: [Role], viewRevision: Revision) {
        schemaVersion = 1
        self.agentVersion = agentVersion
        self.bootID = bootID
        self.roles = roles
        self.viewRevision = viewRevision
    }
}

/// The conductor's answer to `hello`.
public struct ConductorWelcome: Codable, Sendable, Hashable {
    /// The version of the messages' form.
    public var schemaVersion: Int
    /// The conductor's clock.
    public var time: Timestamp
    /// All conductors' agent ports, `host:port`.
    public var conductors: [String]
    /// Whether the agent's view is the newest, so that none follows.
    public var viewIsCurrent: Bool

    /// A welcome.
    public init(time: Timestamp, conductors: [String], viewIsCurrent: Bool) {
        schemaVersion = 1
        self.time = time
        self.conductors = conductors
        self.viewIsCurrent = viewIsCurrent
    }
}

/// One thing that is so or not so, and why.
public struct Condition: Codable, Sendable, Hashable {
    /// For example `OverlayReady`.
    public var type: String
    /// Whether it holds.
    public var isTrue: Bool
    /// Why, for people; also what to do when it does not hold.
    public var message: String
    /// Since when.
    public var since: Timestamp

    /// A condition.
    public init(type: String, isTrue: Bool, message: String, since: Timestamp) {
        self.type = type
        self.isTrue = isTrue
        self.message = message
        self.since = since
    }
}

extension Condition {
    /// The type of the check that a role module answers at all; while it does not hold, its role tells of nothing else.
    public static let roleResponsive = "RoleResponsive"
    /// The type of the check that a controller has the keys and certificates that its services need.
    public static let controllerSecretsReady = "ControllerSecretsReady"
}

/// What the role modules see after they have worked on a view.
public struct NodeStatusReport: Codable, Sendable, Hashable {
    /// The view that was worked on.
    public var observedRevision: Revision
    /// The generation of that view.
    public var observedGeneration: Generation
    /// Per role: whether it is ready, and what is not.
    public var roles: [RoleStatus]
    /// The node's addresses, for operators.
    public var addresses: [IPv4Address]
    /// What holds of the node itself, whatever its roles are; nil: the agent does not tell.
    public var conditions: [Condition]?
    /// Whom the node trusts, and by which certificate it will come next; nil: the agent does not tell.
    public var trust: Trust?

    /// What a node keeps on its disk of certificates.
    public struct Trust: Codable, Sendable, Hashable {
        /// SHA-256 of the certificates of the authorities that it trusts, at most `TrustItem.authorityCountMax`.
        public var authorities: [Digest]
        /// The serial number of its own certificate, hexadecimal; nil: it has none.
        public var certificate: String?

        /// Certificates.
        public init(authorities: [Digest], certificate: String?) {
            self.authorities = authorities
            self.certificate = certificate
        }
    }

    /// One role's state.
    public struct RoleStatus: Codable, Sendable, Hashable {
        /// Which role.
        public var role: Role
        /// Whether all its readiness checks pass.
        public var isReady: Bool
        /// The checks; one that does not hold need not keep the role from being ready.
        public var conditions: [Condition]
        /// What it found; nil when it has nothing to tell.
        public var facts: RoleFacts?

        /// A role's state.
        public init(role: Role, isReady: Bool, conditions: [Condition], facts: RoleFacts? = nil) {
            self.role = role
            self.isReady = isReady
            self.conditions = conditions
            self.facts = facts
        }
    }

    /// A report.
    public init(
        observedRevision: Revision, observedGeneration: Generation, roles: [RoleStatus], addresses: [IPv4Address]
    ) {
        self.observedRevision = observedRevision
        self.observedGeneration = observedGeneration
        self.roles = roles
        self.addresses = addresses
    }
}

/// Figures of one node, at most 2,000 samples a report.
public struct MetricsReport: Codable, Sendable, Hashable {
    /// When they were read, by the node's clock.
    public var time: Timestamp
    /// The figures.
    public var samples: [Sample]

    /// One figure in Prometheus' model.
    public struct Sample: Codable, Sendable, Hashable {
        /// `[a-zA-Z_:][a-zA-Z0-9_:]*`, for example `node_cpu_seconds_total`.
        public var name: String
        /// Label names and values.
        public var labels: [String: String]
        /// The value.
        public var value: Double
        /// Whether it only rises.
        public var isCounter: Bool

        /// A figure.
        public init(name: String, labels: [String: String] = [:], value: Double, isCounter: Bool = false) {
            self.name = name
            self.labels = labels
            self.value = value
            self.isCounter = isCounter
        }
    }

    /// A report.
    public init(time: Timestamp, samples: [Sample]) {
        self.time = time
        self.samples = samples
    }

    /// The most samples of a report.
    public static let sampleCountMax = 2000
}
