import AgentProtocol
import CatalogBareMetal
import ControlPlane
import Primitives
import ResourceModel
import Synchronization

@testable import ConductorServer

/// Members of a store and nodes with the controller role that do at once what the record in `store` tells them.
final class ControllerWorld: StoreMembership, ControllerSurroundings {
    /// etcd says that it is not the time.
    struct NotYet: UserFacingError, Hashable { var publicMessage: String { "etcd refuses: unhealthy cluster" } }

    private struct State {
        var members: [StoreMember] = []
        var controllers: [String: ControllerState] = [:]
        var next: UInt64 = 1
        /// How often each kind of change is refused before it is done.
        var refusals: [String: Int] = [:]
        /// Each change of the members that was made.
        var changes: [String] = []
        /// Those in the place of whom nobody answers.
        var isSilent = false
        var blobsShort = 0
        var copyRounds = 0
        /// How often it was asked which blobs are short.
        var blobLooks = 0
        var isAddressSilent = false
    }

    private let store: any ResourceStore
    private let state = Mutex(State())

    /// Controllers `names`, the first of which is the store's only member.
    init(_ names: [String], store: any ResourceStore) {
        self.store = store
        state.withLock { state in
            for (index, name) in names.enumerated() {
                state.controllers[name] = ControllerState(
                    address: Self.address(index), isReady: true, isServing: index == 0)
            }
            state.members = [
                StoreMember(
                    id: 1, peer: SocketAddress(host: Self.address(0), port: 2380), isLearner: false, isStarted: true,
                    isHealthy: true, isCaughtUp: true, isLeader: true, behind: 0)
            ]
            state.next = 2
        }
    }

    private static func address(_ index: Int) -> IPv4Address { IPv4Address(0x0A4D_0001 + UInt32(index)) }

    /// A record in which the first controller is all there is.
    func record(_ first: String) -> ControlPlaneRecord {
        let address = Self.address(0)
        let peer = EtcdMemberItem.Peer(name: first, address: SocketAddress(host: address, port: 2380))
        return ControlPlaneRecord(
            created: Timestamp(millisecondsSinceEpoch: 0), spec: .init(controllers: [first]),
            status: .init(
                assignments: [
                    .init(
                        controller: first, address: address,
                        member: .init(incarnation: "1", founding: .new, cluster: [peer]), runsConductor: true)
                ], published: [first], token: "t"))
    }

    var changes: [String] { state.withLock { $0.changes } }
    var blobLooks: Int { state.withLock { $0.blobLooks } }
    var copyRounds: Int { state.withLock { $0.copyRounds } }

    func change(_ name: String, _ body: (inout ControllerState) -> Void) {
        state.withLock { state in if state.controllers[name] != nil { body(&state.controllers[name]!) } }
    }

    func refuse(_ change: String, times: Int) { state.withLock { $0.refusals[change] = times } }
    func setBlobsShort(_ count: Int) { state.withLock { $0.blobsShort = count } }
    func setAddressSilent(_ isSilent: Bool) { state.withLock { $0.isAddressSilent = isSilent } }
    func setSilent(_ isSilent: Bool) { state.withLock { $0.isSilent = isSilent } }
    /// Whether the member of a controller answers.
    func setHealthy(_ isHealthy: Bool, memberOf name: String) {
        state.withLock { state in
            let address = state.controllers[name]?.address
            for index in state.members.indices where state.members[index].peer?.host == address {
                state.members[index].isHealthy = isHealthy
                if !isHealthy { state.members[index].behind = nil }
            }
        }
    }

    // MARK: The store's members

    func members() async throws -> [StoreMember] {
        let assignments = try await assignments()
        if state.withLock({ $0.isSilent }) { try await Task.sleep(for: .seconds(3600)) }
        return state.withLock { state in
            for index in state.members.indices where !state.members[index].isStarted {
                let (address, id) = (state.members[index].peer?.host, String(state.members[index].id, radix: 16))
                guard assignments.contains(where: { $0.address == address && $0.member?.incarnation == id }) else {
                    continue
                }
                state.members[index].isStarted = true
                state.members[index].isHealthy = true
                state.members[index].isCaughtUp = true
                state.members[index].behind = 3
            }
            return state.members
        }
    }

    func addLearner(_ peer: SocketAddress) async throws {
        try take("add") { state in
            guard !state.members.contains(where: { $0.peer == peer }) else { return }
            state.members.append(
                StoreMember(
                    id: state.next, peer: peer, isLearner: true, isStarted: false, isHealthy: false, isCaughtUp: false,
                    isLeader: false))
            state.next += 1
            state.changes.append("add \(peer.host)")
        }
    }

    func promote(_ id: UInt64) async throws {
        try take("promote") { state in
            for index in state.members.indices where state.members[index].id == id {
                state.members[index].isLearner = false
            }
            state.changes.append("promote \(id)")
        }
    }

    func remove(_ id: UInt64) async throws {
        try take("remove") { state in
            state.members.removeAll { $0.id == id }
            state.changes.append("remove \(id)")
        }
    }

    func moveLeader(to id: UInt64) async throws {
        try take("move") { state in
            for index in state.members.indices { state.members[index].isLeader = state.members[index].id == id }
            state.changes.append("lead \(id)")
        }
    }

    private func take(_ name: String, _ body: (inout State) -> Void) throws {
        try state.withLock { state in
            if let count = state.refusals[name], count > 0 {
                state.refusals[name] = count - 1
                throw NotYet()
            }
            body(&state)
        }
    }

    // MARK: The nodes

    func controllers() async throws -> [String: ControllerState] {
        let assignments = try await assignments()
        return state.withLock { state in
            for (name, controller) in state.controllers {
                let runs = assignments.contains { $0.controller == name && $0.runsConductor }
                if controller.isReady { state.controllers[name]?.isServing = runs }
            }
            return state.controllers
        }
    }

    func blobsShort(on controllers: [String]) async throws -> Int {
        state.withLock { state in
            state.blobLooks += 1
            return state.blobsShort
        }
    }

    func copyBlobs(to controllers: [String]) async throws {
        state.withLock { state in
            state.copyRounds += 1
            state.blobsShort = max(0, state.blobsShort - 10)
        }
    }

    func answers(at address: SocketAddress) async -> Bool { state.withLock { !$0.isAddressSilent } }

    private func assignments() async throws -> [ControlPlaneRecord.Assignment] {
        try await store.fetch(ControlPlaneRecord.self, ControlPlaneRecord.name)?.value.status.assignments ?? []
    }
}

extension ResourceStore {
    /// The control plane's record.
    func controlPlane() async throws -> ControlPlaneRecord? {
        try await fetch(ControlPlaneRecord.self, ControlPlaneRecord.name)?.value
    }

    /// Says what the controllers shall be, as the API does; `vip`: and which address they share.
    func wish(_ controllers: [String], vip: IPv4Address? = nil) async throws {
        try await update(ControlPlaneRecord.self, ControlPlaneRecord.name) { current in
            var stored = current
            stored?.value.spec.controllers = controllers
            if let vip { stored?.value.spec.vip = .init(address: vip, prefixLength: 24) }
            if let generation = stored?.value.metadata.generation {
                stored?.value.metadata.generation = generation.next
            }
            return stored
        }
    }
}
