import APISupport
import AgentProtocol
import BareMetal
import CatalogBareMetal
import CatalogIdentity
import Identity
import Primitives
import ResourceModel
import Synchronization

/// Hands a controller what opens the store and the vault: a certificate of the store's authority for a key that the node
/// has made, and the site's master key.
///
/// Only a node gets it that is active, has the role, is named by the control plane, and asks with a certificate that is
/// good at the revision at which the handing over is written down; what is in its request beside the key is not read.
struct ControllerSecretsDesk: Sendable {
    /// The most requests of one node that are looked at in `pace`, refused ones too.
    static let requestCountMax = 20
    /// See `requestCountMax`.
    static let pace: Duration = .seconds(600)
    /// The nodes of which requests are counted; then all begin anew.
    private static let nodeCountMax = 10_000
    /// The node event of a handing over.
    static let eventType = "SecretsHandedOver"

    let store: any ResourceStore
    let authority: StoreAuthority
    let masterKeys: @Sendable () -> SecretText
    let segments: @Sendable () -> [Segment]
    let audit: AuditLog
    let events: EventSequence
    let clock: any WallClock
    private let requests = RequestTimes()
    private let refusals = RefusalLimiter<NodeID>()

    private final class RequestTimes: Sendable {
        let times = Mutex<[NodeID: [Timestamp]]>([:])
    }

    init(
        store: any ResourceStore, authority: StoreAuthority, masterKeys: @escaping @Sendable () -> SecretText,
        segments: @escaping @Sendable () -> [Segment], audit: AuditLog, events: EventSequence, clock: any WallClock
    ) {
        self.store = store
        self.authority = authority
        self.masterKeys = masterKeys
        self.segments = segments
        self.audit = audit
        self.events = events
        self.clock = clock
    }

    /// What the view of `node` says that it has to have; nil: it is no controller of `plane`, or not reached yet.
    func item(for node: Node, in plane: ControlPlaneRecord, segments: () -> [Segment]) -> ControllerSecretsItem? {
        guard node.spec.role == .controller, plane.names(node.spec.name),
            let address = LiveCatalog.controllerAddress(of: node, in: plane, segments: segments())
        else { return nil }
        return ControllerSecretsItem(address: address, authority: authority.fingerprint)
    }

    /// The answer to `node`, which has come with the certificate `presented` (its serial number).
    func reply(
        to request: ControllerSecretsRequest, of node: NodeID, presented: String
    ) async -> ControllerSecretsReply {
        guard isInPace(node) else { return .refused(message: ControllerSecretsRefusal.tooOften.publicMessage) }
        do {
            return .granted(try await handOver(request, node, presented))
        } catch {
            let message =
                (error as? any UserFacingError)?.publicMessage ?? "An internal error; see the conductor's log."
            await note(message, node)
            return .refused(message: message)
        }
    }

    private func handOver(
        _ request: ControllerSecretsRequest, _ id: NodeID, _ presented: String
    ) async throws -> ControllerSecrets {
        for attempt in 0..<StoreContention.attemptCountMax {
            let ground = try await Ground(store, id)
            let address = try ground.address(presented, segments: segments())
            let name = ground.node.value.spec.name
            let issued = try authority.issue(
                signingRequestPEM: request.signingRequest, controller: name,
                addresses: [ControllerSecretsItem.loopback, address])
            let what = "the master key, and certificate \(issued.serial) of the store for \(address)"
            let event = events.event(
                node: id, type: Self.eventType, message: "It was given \(what), until \(issued.notAfter).",
                now: clock.now)
            let operations = [
                try audit.operation(.machine(id, verb: "hand over secrets", what)), try Stored(new: event).put(),
            ]
            do {
                _ = try await store.commit(Transaction(conditions: ground.conditions, operations: operations))
                return ControllerSecrets(
                    certificate: issued.certificatePEM, authority: authority.certificatePEM, masterKey: masterKeys())
            } catch {
                guard case .conflict = error else { throw error }
            }
            await StoreContention.giveWay(after: attempt)
        }
        throw StoreError.conflict(Node.key(id.raw))
    }

    /// What is looked at, as the store has it, and the condition that it is so still when the answer is written down.
    private struct Ground {
        let node: Stored<Node>
        let plane: Stored<ControlPlaneRecord>
        let certificates: Stored<NodeCertificates>

        init(_ store: any ResourceStore, _ id: NodeID) async throws {
            guard let node = try await store.fetch(Node.self, id.raw) else { throw ControllerSecretsRefusal.unknown }
            guard let plane = try await store.fetch(ControlPlaneRecord.self, ControlPlaneRecord.name) else {
                throw ControllerSecretsRefusal.notNamed
            }
            self.node = node
            self.plane = plane
            certificates =
                try await store.fetch(NodeCertificates.self, id.raw)
                ?? Stored(new: NodeCertificates(node: id.raw, created: node.value.metadata.created))
        }

        var conditions: [Transaction.Condition] { [node.unchanged, plane.unchanged, certificates.unchanged] }

        /// The address that it is known by, when it may have the secrets.
        func address(_ presented: String, segments: [Segment]) throws(ControllerSecretsRefusal) -> IPv4Address {
            guard certificates.value.accepts(presented) else { throw .revoked }
            guard node.value.spec.role == .controller else { throw .notController }
            guard plane.value.names(node.value.spec.name) else { throw .notNamed }
            guard node.value.status.state == .active else { throw .notActive(node.value.status.state.name) }
            guard
                let address = LiveCatalog.controllerAddress(of: node.value, in: plane.value, segments: segments)
            else { throw .noAddress }
            return address
        }
    }

    /// Whether a request of `node` is looked at: its answer costs signatures and commits.
    private func isInPace(_ node: NodeID) -> Bool {
        let now = clock.now
        return requests.times.withLock { times in
            if times.count >= Self.nodeCountMax { times.removeAll() }
            let recent = (times[node] ?? []).filter { now.since($0) < Self.pace }
            guard recent.count < Self.requestCountMax else { return false }
            times[node] = recent + [now]
            return true
        }
    }

    /// A refusal is written down, but not more often than somebody would read it.
    private func note(_ message: String, _ node: NodeID) async {
        guard refusals.mayRecord(node, at: clock.now) else { return }
        let event = AuditEventSpec.machine(node, verb: "hand over secrets", message, outcome: .denied)
        // The node is told all the same; a store that takes no writes says so elsewhere.
        try? await audit.record(event)
    }
}

/// Why a node is not given a controller's secrets.
enum ControllerSecretsRefusal: UserFacingError, Hashable {
    case unknown
    case revoked
    case notController
    case notNamed
    case notActive(String)
    case noAddress
    case tooOften

    var publicMessage: String {
        switch self {
        case .unknown: "This node is not in the inventory any more."
        case .revoked: "This node's certificate was revoked. Deploy the node again."
        case .notController: "This node has not the role controller, and gets no secrets of the site."
        case .notNamed:
            "The control plane does not name this node, and it gets no secrets of the site. See: muster controller list"
        case .notActive(let state): "This node is \(state); it is given a controller's secrets once it is active."
        case .noAddress: "This node has told no address in a segment of the site yet."
        case .tooOften:
            "This node asks too often: \(ControllerSecretsDesk.requestCountMax) requests in "
                + "\(ControllerSecretsDesk.pace.components.seconds) s are looked at. See its log: muster node logs"
        }
    }
}
