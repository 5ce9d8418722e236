import AgentProtocol
@testable import LinuxSystem
import Primitives
import Testing

@testable import RoleNetwork

/// Runs probes by hand on a manual clock against ends that answer, or do not.
private struct Bench {
    var probes = TunnelProbes()
    var now: Duration = .zero
    /// Ends that do not answer, and the largest packet that gets to others.
    var dead: Set<IPv4Address> = []
    var pathSize = 1500
    var changes = 0
    var sent: [TunnelProbes.Probe] = []

    static func end(_ number: UInt32, name: String? = nil, size: Int = 1500) -> TunnelEnd {
        TunnelEnd(address: IPv4Address(0x0A00_0000 + number), name: name, packetSize: size)
    }

    mutating func take(_ ends: [TunnelEnd]) { _ = probes.step(.ends(ends), at: now) }

    /// Ticks as the probes ask for; answers come after 2 ms.
    mutating func run(_ duration: Duration) {
        let end = now + duration
        while now < end {
            let step = probes.step(.tick, at: now)
            sent += step.probes
            if step.hasChanged { changes += 1 }
            for probe in step.probes where !dead.contains(probe.to) && probe.size <= pathSize {
                let answer = probes.step(.answered(probe.to, sequence: probe.sequence), at: now + .milliseconds(2))
                if answer.hasChanged { changes += 1 }
            }
            guard let next = probes.nextTick(after: now) else { return now = end }
            now = max(next, now + .milliseconds(5))
        }
    }

    /// Runs until `condition` holds, a minute at most.
    mutating func runUntil(_ condition: (Bench) -> Bool) {
        let limit = now + .seconds(60)
        while !condition(self), now < limit { run(.milliseconds(20)) }
    }

    func lost(_ number: UInt32) -> UInt64 { probes.peers[Self.end(number).address]?.reach.lost ?? 0 }

    func verdict(_ number: UInt32) -> ProbeTrack.Verdict? { probes.peers[Self.end(number).address]?.reach.verdict }

    var failing: [String] {
        TunnelReport.conditions(probes, now: Timestamp(millisecondsSinceEpoch: 0)).filter { !$0.isTrue }.map(\.type)
    }
}

@Suite struct TunnelProbesTests {
    @Test func anEndIsUpAtItsFirstAnswerAndDownAfterThreeLosses() {
        var bench = Bench()
        bench.take([Bench.end(1)])
        #expect(bench.verdict(1) == .unknown && !bench.probes.isSettled)
        bench.run(.milliseconds(100))
        #expect(bench.verdict(1) == .up && bench.probes.isSettled)
        #expect(bench.probes.peers.values.first?.reach.roundTrip == .milliseconds(2))
        bench.run(.seconds(20))
        bench.dead = [Bench.end(1).address]
        let cut = bench.now
        bench.runUntil { $0.lost(1) == 2 }
        bench.run(.milliseconds(900))
        #expect(bench.verdict(1) == .up, "two losses are not three")
        bench.runUntil { $0.verdict(1) == .down }
        #expect(bench.now - cut < .seconds(11) && bench.lost(1) == 3)
        bench.dead = []
        let before = bench.now
        bench.runUntil { $0.verdict(1) == .up }
        #expect(bench.now - before < .seconds(8), "two answers in a row, the second soon after the first")
    }

    @Test func oneLossInAWhileChangesNothing() {
        var bench = Bench()
        bench.take([Bench.end(1)])
        bench.run(.seconds(1))
        let changes = bench.changes
        for _ in 0..<10 {
            bench.dead = [Bench.end(1).address]
            let lost = bench.lost(1)
            bench.runUntil { $0.lost(1) > lost }
            bench.dead = []
            bench.run(.seconds(20))
        }
        #expect(bench.changes == changes && bench.verdict(1) == .up)
    }

    @Test func aPathThatIsTooNarrowIsFoundAndNoOthersFault() throws {
        var bench = Bench()
        bench.pathSize = 1400
        bench.take([Bench.end(1, name: "net-1"), Bench.end(2, size: 1300)])
        bench.run(.seconds(10))
        #expect(bench.failing == ["TunnelMTU/10.0.0.1"])
        let conditions = TunnelReport.conditions(bench.probes, now: Timestamp(millisecondsSinceEpoch: 0))
        #expect(conditions.first?.message.contains("1500 bytes do not get to net-1 (10.0.0.1)") == true)
        bench.pathSize = 1500
        bench.run(.seconds(10))
        #expect(bench.failing.isEmpty)
        bench.dead = [Bench.end(1).address]
        bench.run(.seconds(130))
        #expect(bench.failing == ["Tunnel/10.0.0.1"], "of an end that is cut nothing else is said")
    }

    @Test func whatTheKernelRefusesIsLost() {
        var bench = Bench()
        bench.take([Bench.end(1)])
        for _ in 0..<3 {
            let step = bench.probes.step(.tick, at: bench.now)
            for probe in step.probes {
                _ = bench.probes.step(.refused(probe.to, sequence: probe.sequence), at: bench.now)
            }
            bench.now += .seconds(1)
        }
        #expect(bench.verdict(1) == .down)
    }

    @Test func lateAndForeignAnswersCountForNothing() {
        var bench = Bench()
        bench.take([Bench.end(1)])
        let probe = bench.probes.step(.tick, at: .zero).probes[0]
        #expect(!bench.probes.step(.answered(Bench.end(2).address, sequence: probe.sequence), at: .zero).hasChanged)
        #expect(!bench.probes.step(.answered(probe.to, sequence: probe.sequence &+ 1), at: .zero).hasChanged)
        #expect(!bench.probes.step(.tick, at: .seconds(1)).hasChanged)
        #expect(!bench.probes.step(.answered(probe.to, sequence: probe.sequence), at: .seconds(1)).hasChanged)
        #expect(bench.verdict(1) == .unknown)
    }

    @Test("Many ends: all are asked in turn, never more at once than the limit, and those beyond it are counted")
    func many() {
        var bench = Bench()
        bench.take((1...1100).map { Bench.end($0) })
        #expect(bench.probes.peers.count == TunnelProbes.endCountMax && bench.probes.unasked == 76)
        let first = bench.probes.step(.tick, at: .zero)
        #expect(first.probes.count == TunnelProbes.burst)
        bench.run(.seconds(30))
        #expect(bench.probes.isSettled)
        bench.dead = Set((1...40).map { Bench.end($0).address })
        bench.run(.seconds(40))
        #expect(bench.failing.count == TunnelReport.conditionCountMax + 1)
        #expect(bench.failing.last == "TunnelsReachable")
        let samples = TunnelReport.samples(bench.probes)
        #expect(samples.count <= 3 + 5 * TunnelReport.sampleEndCountMax)
        #expect(samples.contains { $0.labels == ["state": "down"] && $0.value == 40 })
        #expect(samples.filter { $0.name == "muster_network_tunnel_up" && $0.value == 0 }.count == 40)
    }

    @Test func endsComeAndGo() {
        var bench = Bench()
        bench.take([Bench.end(1), Bench.end(2)])
        bench.run(.seconds(1))
        let reach = bench.probes.peers[Bench.end(2).address]?.reach
        bench.take([Bench.end(2, name: "new"), Bench.end(3)])
        #expect(bench.verdict(1) == nil && bench.verdict(3) == .unknown)
        #expect(bench.probes.peers[Bench.end(2).address]?.reach == reach, "what is known stays")
        bench.take([])
        #expect(bench.probes.nextTick(after: bench.now) == nil)
        #expect(TunnelReport.conditions(bench.probes, now: Timestamp(millisecondsSinceEpoch: 0)).isEmpty)
    }

    @Test func theEndsOfSeveralOverlaysAreOneEach() {
        let a = Bench.end(1).address
        let b = Bench.end(2).address
        let items = [
            OverlayItem(
                vni: 1, bridge: "b1", device: "v1", local: nil, peers: [a, b], peerNames: ["x", "y"], mtu: 1400),
            OverlayItem(vni: 2, bridge: "b2", device: "v2", local: b, peers: [a, b], mtu: 1450),
        ]
        let ends = NetworkRole.ends(items).sorted { $0.address < $1.address }
        #expect(
            ends == [
                TunnelEnd(address: a, name: "x", packetSize: 1500), TunnelEnd(address: b, name: "y", packetSize: 1450),
            ])
    }

    @Test("A reply is taken when identifier and cookie are ours; checksums are those of RFC 1071")
    func packets() {
        #expect(EchoSocket.checksum([0x00, 0x01, 0xF2, 0x03, 0xF4, 0xF5, 0xF6, 0xF7]) == ~0xDDF2)
        var packet = [UInt8](repeating: 0, count: 20 + 16)
        packet[0] = 0x45
        packet[24...27] = [0x12, 0x34, 0x00, 0x07]
        packet[28...35] = [0, 0, 0, 0, 0, 0, 0, 9]
        #expect(EchoSocket.sequence(packet[...], 0x1234, 9) == 7)
        #expect(EchoSocket.sequence(packet[...], 0x1235, 9) == nil)
        #expect(EchoSocket.sequence(packet[...], 0x1234, 8) == nil)
        packet[20] = 8
        #expect(EchoSocket.sequence(packet[...], 0x1234, 9) == nil, "a request is no reply")
        for count in 0..<36 { #expect(EchoSocket.sequence(packet.prefix(count), 0x1234, 9) == nil) }
    }
}
