import AgentProtocol
import CatalogBareMetal
import Primitives

/// How it goes with a node's machine, from its agent's newest figures. What is nil is not known (yet).
public struct NodeVitals: Codable, Sendable, Hashable {
    /// When the conductor got the figures.
    public var reported: Timestamp
    /// The part of all processors' time that was used between the last two reports, 0 to 1.
    public var processorShare: Double?
    /// The load over a minute.
    public var load: Double?
    /// The part of the memory that is not available, 0 to 1.
    public var memoryShare: Double?
    /// The memory.
    public var memory: ByteCount?
    /// Bytes a second that the machine's cards received between the last two reports.
    public var receivedRate: Double?
    /// Bytes a second that the machine's cards sent.
    public var sentRate: Double?
    /// The used part of the fullest storage pool, 0 to 1; nil also when there is none.
    public var poolShare: Double?
    /// The round trip of the agent's stream.
    public var roundTripSeconds: Double?
    /// How far the node's clock is ahead of the conductor's.
    public var clockOffsetSeconds: Double?

    /// Nothing but the time.
    public init(reported: Timestamp) { self.reported = reported }
}

/// A row of `muster top`.
public struct TopRow: Codable, Sendable, Hashable {
    /// Which node.
    public var id: NodeID
    /// Its name.
    public var name: String
    /// What it shall do.
    public var role: Role?
    /// Where it is in its life.
    public var state: String
    /// How far a deployment is.
    public var phase: DeployPhase?
    /// `on`, `off` or `unknown`.
    public var power: String
    /// Whether the agent's stream is open; nil: there is no agent.
    public var isConnected: Bool?
    /// Whether nobody knows that; see `NodeSummary.isUncertain`.
    public var isUncertain: Bool?
    /// Whether nothing shall be done to it.
    public var isInMaintenance: Bool
    /// How it goes; nil: no figures of the last minutes are known.
    public var vitals: NodeVitals?

    /// A row about a node.
    public init(_ node: NodeSummary, vitals: NodeVitals?) {
        id = node.id
        name = node.name
        role = node.role
        state = node.state
        phase = node.phase
        power = node.power
        isConnected = node.isConnected
        isUncertain = node.isUncertain
        isInMaintenance = node.isInMaintenance
        self.vitals = vitals
    }
}

/// How it goes with the whole fleet.
public struct TopReply: Codable, Sendable, Hashable {
    /// The conductor's time.
    public var time: Timestamp
    /// How many nodes are in each state; of all, also of those that are not shown.
    public var states: [String: Int]
    /// The nodes by name, at most `FleetLimit.topCount`.
    public var nodes: [TopRow]

    /// A reply.
    public init(time: Timestamp, states: [String: Int], nodes: [TopRow]) {
        self.time = time
        self.states = states
        self.nodes = nodes
    }

    /// How many nodes there are.
    public var nodeCount: Int { states.values.reduce(0, +) }
}
