import AgentProtocol
import BareMetal
import CatalogBareMetal
import ControlPlane
import Primitives
import ResourceModel
import StoreMemory
import TestSupport
import Testing

/// From the specification of a control plane to members of etcd and back: the catalog, the views made from it, the
/// controller role, Debian's etcd with certificates, and the plans, in a namespace a controller.
@Suite struct ControlPlaneJourneyTests {
    /// The hosts as the steps see them; to look at them brings them their views.
    private struct Surroundings: ControllerSurroundings {
        let hosts: [ControllerHost]
        let store: MemoryStore

        func controllers() async throws -> [String: ControllerState] {
            let plane = try await store.fetch(ControlPlaneRecord.self, ControlPlaneRecord.name)?.value
            var states: [String: ControllerState] = [:]
            for host in hosts {
                host.show(
                    NodeViewProjection.view(
                        of: Self.node(host), site: nil, controlPlane: plane, revision: Revision(1)))
                states[host.name] = ControllerState(
                    address: host.address, isReady: host.isRunning,
                    isServing: host.isRunning && host.facts?.conductor?.isServing == true)
            }
            return states
        }

        func blobsShort(on controllers: [String]) async throws -> Int { 0 }
        func copyBlobs(to controllers: [String]) async throws {}
        func answers(at address: SocketAddress) async -> Bool { true }

        private static func node(_ host: ControllerHost) -> Node {
            let now = Timestamp(millisecondsSinceEpoch: 0)
            var node = Node(
                metadata: Metadata(
                    name: "00000000-0000-4000-8000-00000000000\(host.name.suffix(1))",
                    schemaVersion: Node.schemaVersion, created: now), spec: Node.Spec(name: host.name),
                status: Node.Status(state: .active, since: now, identity: MachineIdentity()))
            node.spec.role = .controller
            return node
        }
    }

    private static func wish(_ store: MemoryStore, _ controllers: [String]) async throws {
        try await store.update(ControlPlaneRecord.self, ControlPlaneRecord.name) { current in
            var stored = current
            stored?.value.spec.controllers = controllers
            return stored
        }
    }

    @Test("One controller grows to three, loses one and replaces it, and goes back to one: nothing written is lost")
    func journey() async throws {
        let fabric = Fabric()
        defer { fabric.close() }
        let hosts = (1...4).map { ControllerHost($0, on: fabric) }
        defer { for host in hosts { host.close() } }
        let store = MemoryStore()
        let first = EtcdMemberItem.Peer(name: "c1", address: SocketAddress(host: hosts[0].address, port: 2380))
        let record = ControlPlaneRecord(
            created: Timestamp(millisecondsSinceEpoch: 0), spec: .init(controllers: ["c1"]),
            status: .init(
                assignments: [
                    .init(
                        controller: "c1", address: hosts[0].address,
                        member: .init(incarnation: "founder", founding: .new, cluster: [first]), runsConductor: true)
                ], published: ["c1"], token: "journey"))
        _ = try await store.commit(Transaction(conditions: [], operations: [try Stored(new: record).put()]))
        let surroundings = Surroundings(hosts: hosts, store: store)
        let etcd = EtcdctlMembership(hosts: hosts, certificates: fabric.certificates)
        let desk = ControlPlaneDesk(
            store: store, membership: etcd, surroundings: surroundings, clock: SystemWallClock(),
            patience: .seconds(40), pause: { try await Task.sleep(for: .milliseconds(200)) })
        // The stream that brings agents their views.
        let views = Task {
            while !Task.isCancelled {
                _ = try await surroundings.controllers()
                try await Task.sleep(for: .milliseconds(100))
            }
        }
        defer { views.cancel() }
        for _ in 0..<100 where hosts[0].facts?.etcd?.isHealthy != true {
            try await Task.sleep(for: .milliseconds(200))
        }
        try await desk.settle()
        _ = try etcd.ask("put kept value")

        // The first try is broken off; nobody tells the second one how far it was.
        try await Self.wish(store, ["c1", "c2", "c3"])
        let broken = Task { try await desk.settle() }
        try await Task.sleep(for: .seconds(3))
        broken.cancel()
        _ = await broken.result
        try await Self.settle(desk)
        #expect(try await etcd.members().count { !$0.isLearner && $0.isHealthy } == 3)
        let grown = try #require(try await store.fetch(ControlPlaneRecord.self, ControlPlaneRecord.name)).value.status
        #expect(grown.phase == .settled && grown.published == ["c1", "c2", "c3"] && grown.problem == nil, "\(grown)")

        hosts[2].cut()
        do {
            try await Self.settle(desk)
            Issue.record("a dead member that is wanted was not told")
        } catch {
            #expect(error as? MembershipRefusal == .memberDown("c3"))
        }
        let refused = try #require(try await store.fetch(ControlPlaneRecord.self, ControlPlaneRecord.name)).value.status
        #expect(refused.phase == .refused && refused.problem?.contains("replace c3 --with NODE") == true, "\(refused)")
        try await Self.wish(store, ["c1", "c2", "c4"])
        try await Self.settle(desk)
        #expect(try etcd.ask("get kept --print-value-only", at: hosts[3]) == "value\n")

        try await Self.wish(store, ["c4"])
        try await Self.settle(desk)
        let left = try await etcd.members()
        #expect(left.map(\.peer?.host) == [hosts[3].address] && left.allSatisfy { $0.isLeader })
        #expect(try etcd.ask("get kept --print-value-only", at: hosts[3]) == "value\n")
        let end = try #require(try await store.fetch(ControlPlaneRecord.self, ControlPlaneRecord.name)).value.status
        #expect(end.assignments.map(\.controller) == ["c4"], "views of those that left have no part any more")
    }

    /// As an operator would: again when the store says that it is not the time, for example just after an election.
    private static func settle(_ desk: ControlPlaneDesk) async throws {
        for attempt in 1... {
            do { return try await desk.settle() } catch let error as EtcdctlMembership.Refused {
                guard attempt < 20 else { throw error }
                try await Task.sleep(for: .milliseconds(500))
            }
        }
    }
}
