import AgentProtocol
import CatalogBareMetal
import Logging
import Primitives
import ResourceModel
import StoreMemory
import Synchronization
import TestSupport
import Testing

@testable import BareMetal

/// One conductor takes what machines tell, another one leads and does what follows from it.
@Suite struct NodeDutyTests {
    /// Power that only counts.
    private final class Power: MachinePower {
        let boots = Mutex<[BootOrder]>([])

        func verify(_ node: Node) async throws -> Bool { true }
        func boot(_ node: Node, _ order: BootOrder) async throws { boots.withLock { $0.append(order) } }
        func power(_ node: Node, _ action: Node.PowerRequest.Action) async throws {}
    }

    private let store = MemoryStore()
    private let clock = ManualWallClock()
    private let power = Power()

    private func controller(_ duty: NodeController.Duty, _ nodes: @escaping @Sendable () -> [Node]) -> NodeController {
        NodeController(
            writer: NodeWriter(store: store), nodes: nodes,
            node: { id in nodes().first { $0.metadata.name == id.raw } },
            late: { _ in [] }, changes: { AsyncStream { nil } }, power: power, clock: clock, runs: { [] }, duty: duty,
            logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() })
    }

    @Test(.timeLimit(.minutes(1))) func `what another conductor has committed is done once, by the one that leads`()
        async throws
    {
        var walk = Walk()
        try walk.reachWriting()
        var node = walk.node
        node.metadata.name = "00000000-0000-4000-8000-000000000001"
        let id = try node.id
        _ = try await store.commit(Transaction(operations: [try Stored(new: node).put()]))
        let order = DiscoveryOrders.number(of: node)
        // The machine tells a conductor that does not lead, and which dies right after it has committed that.
        let other = controller(.takesInputs) { [] }
        let written = try await other.submit(.progressed(order: order, .finished), to: id)
        #expect(written.status.state == .deploying(.bootingDisk) && power.boots.withLock { $0.isEmpty })

        let shown = Mutex([written])
        let leader = controller(.leads) { shown.withLock { $0 } }
        for _ in 0..<3 { await leader.followSpecifications(.some([id])) }
        await leader.followSpecifications(.all)
        var effects = leader.effects.makeAsyncIterator()
        let pending = try #require(await effects.next())
        #expect(pending.effect == .boot(.disk))
        await leader.carryOut(pending)
        #expect(power.boots.withLock { $0 } == [.disk])
        #expect(try await store.fetch(Node.self, id.raw)?.value.status.state == .deploying(.enrolling))
        // The cache of the one that leads may still show what was: that is not done once more, and another node's is.
        node = written
        node.metadata.name = "00000000-0000-4000-8000-000000000002"
        node.status.state = .verifying
        shown.withLock { [node] in $0.append(node) }
        await leader.followSpecifications(.all)
        #expect(await effects.next()?.effect == .verifyBMC)
    }
}
