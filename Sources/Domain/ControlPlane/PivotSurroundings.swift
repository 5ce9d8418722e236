import AgentProtocol
import Primitives
import ResourceModel

/// The seed conductor as a pivot changes it.
public protocol PivotSeed: Sendable {
    /// Its store, past the gate.
    var store: any ResourceStore { get }
    /// Whether writes are refused to all but the pivot.
    var isReadOnly: Bool { get }
    /// Whether it answers DHCP.
    var servesDHCP: Bool { get }
    /// Whether it has let go of agents and machines.
    var hasLetGo: Bool { get }

    /// Refuses writes; none is under way when it returns.
    func freeze() async
    /// Refuses reads too, as what it would answer may be the past from now on.
    func shut() async
    /// Takes writes and reads again.
    func thaw() async
    /// Ends DHCP; nobody answers any more when it returns.
    func stopDHCP() async throws
    /// Answers DHCP again.
    func startDHCP()
    /// Ends it for good: its store is not one that a conductor would start on.
    func retire() async throws

    /// What a run of it that is broken off from now on has to know; nil: nothing. Throws when it cannot be read.
    func note() throws -> PivotNote?
    /// Keeps the note, or takes it away; it is on the disk when this returns.
    func keep(_ note: PivotNote?) throws
}

/// What a seed keeps beside its store once the new store may be open: who starts it again asks that one before anything
/// else.
public struct PivotNote: Codable, Sendable, Hashable {
    /// The client addresses of the new store's members.
    public var store: [SocketAddress]
    /// The token of the control plane in it.
    public var token: String
    /// Where the API is from then on.
    public var api: [String]
    /// How far it is.
    public var state: State

    /// How far it is.
    public enum State: String, Codable, Sendable, Hashable {
        /// The new store may be open or not.
        case turning
        /// The seed has ended for good.
        case retired
    }

    /// A note.
    public init(store: [SocketAddress], token: String, api: [String], state: State = .turning) {
        self.store = store
        self.token = token
        self.api = api
        self.state = state
    }
}

/// What a pivot's steps need to know beside the seed: nodes, agents, the new store.
public protocol PivotSurroundings: Sendable {
    /// The nodes with the controller role, by name.
    func controllers() async throws -> [String: PivotController]
    /// How many connected agents have not told yet that they have a view of `revision` or newer.
    func agentsBehind(_ revision: Revision) async -> Int
    /// The members of the new store, asked at these addresses for clients; throws when nobody answers.
    func members(at addresses: [SocketAddress]) async throws -> [StoreMember]
    /// The new store at these addresses; the same until `beginNewHistory`.
    func target(at addresses: [SocketAddress]) async throws -> any ResourceStore
    /// Has the new store, which is empty, count on after `revision`.
    func beginNewHistory(at addresses: [SocketAddress], beyond revision: Revision) async throws
    /// What is done with the opening of the new store.
    func openingOperations() throws -> [Transaction.Operation]
    /// Takes away what the new store has of the seed itself, once it is needed no more.
    func forgetSeed(in target: any ResourceStore) async throws
    /// Ends the connections to the new store; who asks again gets new ones.
    func close() async
}

/// A node with the controller role, as a pivot looks at it.
public struct PivotController: Hashable, Sendable {
    /// Its address among the controllers; nil: it has none in a segment of the site yet.
    public var address: IPv4Address?
    /// Whether it is active and its agent is connected.
    public var isReady: Bool
    /// Whether it has told that it has the master key and its certificates.
    public var hasSecrets: Bool

    /// A controller.
    public init(address: IPv4Address?, isReady: Bool, hasSecrets: Bool) {
        self.address = address
        self.isReady = isReady
        self.hasSecrets = hasSecrets
    }
}
