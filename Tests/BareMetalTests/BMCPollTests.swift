import CatalogBareMetal
import Primitives
import ResourceModel
import TestSupport
import Testing

@testable import BareMetal

/// One BMC's polls in virtual time.
private struct Bench {
    var bmc = BMC(
        metadata: Metadata(name: "r1", schemaVersion: 1, created: ManualWallClock().now),
        spec: BMC.Spec(address: "http://a", system: nil, username: "admin", passwordSecret: "bmc.r1"),
        status: BMC.Status())
    var password = Metadata(name: "bmc.r1", schemaVersion: 1, created: ManualWallClock().now)
    var expectation = PowerExpectation()
    var poll = BMCPoll()
    var now = ManualWallClock().now
    var random = RandomSource.seeded(7)

    /// Ends the poll under way with `outcome` and gives the whole seconds until the next begins.
    mutating func secondsUntilNext(after outcome: BMCPoll.Outcome) -> Int {
        poll.end(outcome, at: now, random: &random)
        return secondsUntilNext()
    }

    mutating func secondsUntilNext() -> Int {
        for second in 0..<3600 {
            if begin() != nil { return second }
            now = now.advanced(by: .seconds(1))
        }
        return .max
    }

    mutating func begin() -> Bool? { poll.begin(bmc, password: password, expectation: expectation, at: now) }
}

@Suite struct BMCPollTests {
    @Test func `a settled BMC is asked after minutes, each at its own moment`() {
        var firsts: Set<Int> = []
        for seed in 0..<20 {
            var bench = Bench()
            bench.random = .seeded(UInt64(seed))
            #expect(bench.begin() == true)
            var pauses = [bench.secondsUntilNext(after: .changed)]
            for _ in 0..<8 { pauses.append(bench.secondsUntilNext(after: .same)) }
            #expect((12...19).contains(pauses[0]))
            #expect(pauses.suffix(4).allSatisfy { (96...145).contains($0) }, "\(pauses)")
            firsts.insert(pauses[8])
        }
        #expect(firsts.count > 10, "they are spread: \(firsts)")
    }

    @Test func `an order is followed within seconds, and then for as long as the machine is waited for`() {
        var bench = Bench()
        _ = bench.begin()
        for _ in 0..<8 { _ = bench.secondsUntilNext(after: .same) }
        bench.poll.end(.same, at: bench.now, random: &bench.random)
        _ = bench.begin()
        bench.now = bench.now.advanced(by: .seconds(10))
        bench.expectation.nodeOrders = [1, 0]
        #expect(bench.begin() == false, "at once: it was last asked over two seconds ago")
        var asked = 0
        let start = bench.now
        while bench.now.since(start) < .seconds(28) {
            #expect(bench.secondsUntilNext(after: .same) <= 3)
            asked += 1
        }
        #expect(asked >= 9)
        bench.expectation.isAwaited = true
        bench.now = bench.now.advanced(by: .seconds(60))
        _ = bench.secondsUntilNext(after: .same)
        for _ in 0..<40 { #expect(bench.secondsUntilNext(after: .same) <= 5) }
        bench.expectation.isAwaited = false
        for _ in 0..<60 { _ = bench.secondsUntilNext(after: .same) }
        #expect(bench.secondsUntilNext(after: .same) >= 96, "nothing is expected any more")
    }

    @Test func `a BMC that fails is asked ever more seldom, less so while its machine is waited for`() {
        var bench = Bench()
        _ = bench.begin()
        let pauses = (0..<12).map { _ in bench.secondsUntilNext(after: .failed) }
        #expect((4...6).contains(pauses[0]) && (8...12).contains(pauses[1]) && (16...24).contains(pauses[2]))
        #expect(pauses.suffix(3).allSatisfy { (240...361).contains($0) }, "\(pauses)")
        bench.expectation.isAwaited = true
        #expect(bench.secondsUntilNext(after: .failed) <= 36)
        bench.expectation.isAwaited = false
        #expect(bench.secondsUntilNext(after: .changed) <= 3, "the end of the wait is news")
    }

    @Test func `after a wrong password nobody asks until it is changed`() {
        var bench = Bench()
        #expect(bench.begin() == true)
        #expect(bench.begin() == nil, "it is under way")
        bench.expectation.isAwaited = true
        #expect(bench.secondsUntilNext(after: .refused) == 900, "BMCs lock the user after a few wrong passwords")
        bench.poll.end(.refused, at: bench.now, random: &bench.random)
        bench.password.generation = bench.password.generation.next
        #expect(bench.begin() == true)
    }

    @Test func `what is expected of a machine comes from its node and its BMC`() throws {
        let bench = Bench()
        var bmc = bench.bmc
        let none = PowerExpectation(bmc, node: nil)
        #expect(!none.isAwaited)
        bmc.status.powerSeen = 1
        #expect(PowerExpectation(bmc, node: nil) != none)
        var node = Node(
            metadata: Metadata(name: "n1", schemaVersion: 1, created: bench.now), spec: Node.Spec(name: "n1"),
            status: Node.Status(state: .active, since: bench.now, identity: MachineIdentity()))
        let settled = PowerExpectation(bmc, node: node)
        #expect(!settled.isAwaited)
        node.spec.power = Node.PowerRequest(number: 1, action: .off)
        let ordered = PowerExpectation(bmc, node: node)
        #expect(ordered != settled)
        node.status.powerSeen = 1
        #expect(PowerExpectation(bmc, node: node) != ordered)
        node.status.wait = Node.Wait(cause: "it boots", owner: .machine, deadline: bench.now, next: "it fails")
        #expect(PowerExpectation(bmc, node: node).isAwaited)
        node.status.wait?.owner = .operator
        #expect(!PowerExpectation(bmc, node: node).isAwaited)
    }
}

@Suite struct PowerReadingTests {
    @Test func `a BMC that is lost and comes back is told, and the machine is never taken to be off`() throws {
        var walk = Walk()
        try walk.reachActive()
        let now = walk.now
        func step(_ reading: PowerReading) throws -> [String] {
            let (node, effects) = try NodeMachine().step(walk.node, .powerRead(reading), now: now)
            #expect(node.status.power == reading)
            #expect(node.status.state == .active && node.status.wait == walk.node.status.wait)
            walk.node = node
            return effects.map { effect in
                guard case .record(let type, let message) = effect else { return "\(effect)" }
                return "\(type): \(message)"
            }
        }
        #expect(try step(.on(since: now)) == [])
        let lost = try step(.unknown(since: now, cause: "no route"))
        #expect(lost == ["PowerUnknown: whether it is on is not known: no route"])
        #expect(try step(.unknown(since: now, cause: "no route")) == [])
        #expect(
            try step(.on(since: now)) == ["PowerKnown: the power is on, which was not known since \(now)"])
        #expect(try step(.off(since: now)) == ["PowerChanged: the power went from on to off"])
    }

    @Test func `the status keeps the moment of the change and the cause`() {
        let now = ManualWallClock().now
        var status = BMC.Status()
        #expect(status.reading == nil)
        status.note(.off, at: now)
        status.note(.off, at: now.advanced(by: .seconds(60)))
        #expect(status.reading == .off(since: now))
        status.note(.unknown, at: now.advanced(by: .seconds(90)))
        status.lastError = "no route"
        #expect(status.reading == .unknown(since: now.advanced(by: .seconds(90)), cause: "no route"))
    }
}
