import AgentProtocol
import CatalogBareMetal
import Primitives
import ResourceModel
import StoreMemory
import Testing

@testable import BareMetal

/// What becomes of the checks and the facts in an agent's reports.
@Suite struct NodeReportTests {
    private static func report(
        _ checks: [(String, Bool)], ready: Bool = true, facts: RoleFacts? = nil
    ) -> NodeStatusReport {
        let conditions = checks.map { type, isTrue in
            Condition(
                type: type, isTrue: isTrue, message: isTrue ? "fine" : "broken",
                since: Timestamp(millisecondsSinceEpoch: 1))
        }
        return NodeStatusReport(
            observedRevision: Revision(1), observedGeneration: Generation(1),
            roles: [.init(role: .network, isReady: ready, conditions: conditions, facts: facts)], addresses: [])
    }

    private static let facts = RoleFacts(
        compute: ComputeFacts(
            libvirtVersion: "9.0.0", processor: .init(architecture: "x86_64"), memory: .gibibytes(8),
            domains: [.init(name: "d", uuid: "u", state: .running, processors: 1, memory: .mebibytes(64))],
            domainCount: 1))

    private func events(_ walk: Walk) -> [String] {
        walk.effects.compactMap { effect in
            if case .record(let type, let message) = effect { "\(type) \(message)" } else { nil }
        }
    }

    @Test("A check that fails, holds again or is gone is an event, once")
    func transitions() throws {
        var walk = Walk()
        try walk.reachActive()
        func take(_ checks: [(String, Bool)]) throws -> [String] {
            walk.wait(.seconds(1))
            try walk.take(.agentReported(Self.report(checks)))
            return events(walk)
        }
        #expect(try take([("OverlayReady", true)]) == [])
        #expect(
            try take([("OverlayReady", true), ("Tunnel/10.0.0.2", false)]) == ["CheckFailed Tunnel/10.0.0.2: broken"])
        #expect(try take([("OverlayReady", true), ("Tunnel/10.0.0.2", false)]) == [])
        try walk.take(.agentDisconnected(Walk.stream()))
        try walk.take(.agentConnected(Walk.hello, Walk.stream(2)))
        #expect(try take([("OverlayReady", true), ("Tunnel/10.0.0.2", false)]) == [], "a new stream changes no check")
        #expect(
            try take([("OverlayReady", false)]).sorted() == [
                "CheckFailed OverlayReady: broken", "CheckPassed Tunnel/10.0.0.2 is not failing any more",
            ])
        #expect(try take([("OverlayReady", true), ("New", true)]) == ["CheckPassed OverlayReady: fine"])
        #expect(try take([]) == [], "a check that held and is gone is nothing")
    }

    @Test("While a node is deployed its checks are the wait's cause, and no events")
    func deploying() throws {
        var walk = Walk()
        try walk.reachWriting()
        try walk.take(.progressed(order: DiscoveryOrders.number(of: walk.node), .finished))
        try walk.take(.bootOrdered(.disk))
        try walk.take(.agentEnrolled)
        try walk.take(.agentConnected(Walk.hello, Walk.stream()))
        try walk.take(.agentReported(Self.report([("OverlayReady", false)], ready: false)))
        #expect(events(walk) == [])
        #expect(walk.node.status.wait?.cause == "OverlayReady: broken")
        try walk.take(.agentReported(Self.report([("OverlayReady", true), ("Slow", false)])))
        #expect(walk.node.status.state == .active)
        #expect(walk.node.status.agent?.conditions.count == 2)
    }

    @Test("A role that does not answer tells of no check: what was wrong stays so, and that is no event")
    func silence() throws {
        var walk = Walk()
        try walk.reachActive()
        try walk.take(.agentReported(Self.report([("A", false), ("B", true)], ready: false)))
        try walk.take(.agentReported(Self.report([(Condition.roleResponsive, false)], ready: false)))
        #expect(events(walk) == ["CheckFailed RoleResponsive: broken"])
        #expect(walk.node.status.agent?.conditions.map(\.type) == [Condition.roleResponsive, "A"])
        try walk.take(.agentReported(Self.report([("A", false), ("B", true)], ready: false)))
        #expect(events(walk) == ["CheckPassed RoleResponsive is not failing any more"])
    }

    @Test("A check that comes and goes all the time fills neither the events nor the store")
    func flapping() throws {
        var walk = Walk()
        try walk.reachActive()
        var all: [String] = []
        func flap(_ rounds: Int) throws {
            for round in 0..<rounds {
                walk.wait(.seconds(1))
                try walk.take(.agentReported(Self.report([("A", round % 2 == 1)])))
                all += events(walk)
            }
        }
        try flap(100)
        #expect(all.count == 21)
        #expect(all.last?.hasPrefix("ChecksUnsteady") == true)
        walk.wait(.seconds(600))
        all = []
        try flap(4)
        #expect(all.count == 4)
    }

    @Test("A report of any size is cut to what a document can hold")
    func bounds() async throws {
        var walk = Walk()
        try walk.reachActive()
        let long = String(repeating: "x\n", count: 5000)
        try walk.take(.agentReported(Self.report((0..<500).map { ("\($0)" + long, false) })))
        let agent = try #require(walk.node.status.agent)
        #expect(agent.conditions.count == NodeWalk.conditionCountMax)
        #expect(walk.effects.count <= NodeWalk.checkEventCountMax + 1)
        #expect(try Stored(new: walk.node).encoded().count < 16 << 10)
        let domain = ComputeFacts.Domain(name: long, uuid: long, state: .off, processors: 1, memory: .mebibytes(1))
        var facts = Self.facts
        facts.compute?.domains = Array(repeating: domain, count: 1000)
        facts.compute?.models = Array(repeating: long, count: 1000)
        facts.compute?.processor.features = Array(repeating: long, count: 1000)
        let metadata = Metadata(name: "n1", schemaVersion: 1, created: walk.now)
        let whole = NodeFacts(
            metadata: metadata, spec: .init(node: try NodeID("n1")),
            status: .init(facts: facts.fitting(NodeFacts.sizeMax), changed: walk.now))
        #expect(try Stored(new: whole).encoded().count < 16 << 10)
        #expect(whole.status.facts.compute?.domains.isEmpty == false)
    }

    @Test("Facts are written apart from the node, when they are new, together with its status")
    func facts() async throws {
        let store = MemoryStore()
        var walk = Walk()
        try walk.reachActive()
        let id = try NodeID(walk.node.metadata.name)
        _ = try await store.commit(Transaction(operations: [try Stored(new: walk.node).put()]))
        let writer = NodeWriter(store: store)
        func report(_ facts: RoleFacts?) async throws -> NodeFacts.Status? {
            let input = NodeInput.agentReported(Self.report([("A", true)], facts: facts))
            let written = try await writer.write(input, to: id, now: walk.now)
            #expect(written.effects.isEmpty)
            return try await store.fetch(NodeFacts.self, id.raw)?.value.status
        }
        #expect(try await report(nil) == nil)
        let first = walk.now
        #expect(try await report(Self.facts) == NodeFacts.Status(facts: Self.facts, changed: first))
        walk.wait(.seconds(30))
        #expect(try await report(Self.facts)?.changed == first, "what is known is not written again")
        var other = Self.facts
        other.compute?.domains[0].state = .off
        #expect(try await report(other) == NodeFacts.Status(facts: other, changed: walk.now))
    }
}
