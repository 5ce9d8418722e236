import AgentProtocol
import Primitives

/// The store's own list of its members, and what changes it.
public protocol StoreMembership: Sendable {
    /// All members, and how each is.
    func members() async throws -> [StoreMember]
    /// Adds one that learns; throws when the store refuses.
    func addLearner(_ peer: SocketAddress) async throws
    /// Has a learner vote; throws until it has caught up.
    func promote(_ id: UInt64) async throws
    /// Takes a member out.
    func remove(_ id: UInt64) async throws
    /// Has a member lead.
    func moveLeader(to id: UInt64) async throws
}

/// A member as the store's list has it.
public struct StoreMember: Hashable, Sendable {
    /// Its identifier.
    public var id: UInt64
    /// Where its peers reach it; nil: at no address that a controller has.
    public var peer: SocketAddress?
    /// Whether it only learns.
    public var isLearner: Bool
    /// Whether it has ever joined.
    public var isStarted: Bool
    /// Whether it answers and knows a leader.
    public var isHealthy: Bool
    /// Whether it has nearly all that the leader has.
    public var isCaughtUp: Bool
    /// Whether it leads.
    public var isLeader: Bool
    /// Entries of the log that the newest member has and this one has not; nil: it does not answer.
    public var behind: UInt64?

    /// A member.
    public init(
        id: UInt64, peer: SocketAddress?, isLearner: Bool, isStarted: Bool, isHealthy: Bool, isCaughtUp: Bool,
        isLeader: Bool, behind: UInt64? = nil
    ) {
        self.id = id
        self.peer = peer
        self.isLearner = isLearner
        self.isStarted = isStarted
        self.isHealthy = isHealthy
        self.isCaughtUp = isCaughtUp
        self.isLeader = isLeader
        self.behind = behind
    }
}

/// What a control plane's steps need to know beside the store: nodes, conductors, blobs.
public protocol ControllerSurroundings: Sendable {
    /// The nodes with the controller role, by name.
    func controllers() async throws -> [String: ControllerState]
    /// Blobs that lie on fewer of these controllers than they should, and are somewhere.
    func blobsShort(on controllers: [String]) async throws -> Int
    /// Copies such blobs for a while; returns within a minute, whether it is done or not.
    func copyBlobs(to controllers: [String]) async throws
    /// Whether a conductor of this site answers at that address, the API's; returns within seconds.
    func answers(at address: SocketAddress) async -> Bool
}

/// A node with the controller role.
public struct ControllerState: Hashable, Sendable {
    /// Its address among the controllers; nil: it has told none yet, and is not ready.
    public var address: IPv4Address?
    /// Whether it is active, its agent is connected and it has its secrets and certificates.
    public var isReady: Bool
    /// Whether its conductor serves.
    public var isServing: Bool
    /// Whether a DHCP server that is not the site's lends it `address`.
    public var isLentByOthers: Bool

    /// A controller.
    public init(address: IPv4Address?, isReady: Bool, isServing: Bool, isLentByOthers: Bool = false) {
        self.address = address
        self.isReady = isReady
        self.isServing = isServing
        self.isLentByOthers = isLentByOthers
    }
}
