import Testing

@testable import ControlPlaneBed

@Suite struct FaultScheduleTests {
    private static let controllers = ["c1", "c2", "c3"]

    @Test func `a seed gives one schedule, and all faults come`() {
        var seen: Set<String> = []
        for seed in 0..<50 as Range<UInt64> {
            let schedule = FaultSchedule(seed: seed, faults: 4, controllers: Self.controllers, withClocks: true)
            #expect(
                schedule == FaultSchedule(seed: seed, faults: 4, controllers: Self.controllers, withClocks: true))
            #expect(schedule.steps.count == 4)
            for step in schedule.steps {
                #expect(step.faults.count == 1)
                for fault in step.faults { seen.insert("\(fault)".split(separator: " ").prefix(2).joined()) }
            }
        }
        #expect(seen.isSuperset(of: ["kill-9", "SIGSTOPof", "etcd'sleader", "theconductor's", "afull", "aslow"]))
        let without = FaultSchedule(seed: 1, faults: 300, controllers: Self.controllers, withClocks: false)
        #expect(!without.steps.flatMap(\.faults).contains { if case .clock = $0 { true } else { false } })
        let twice = FaultSchedule(seed: 1, faults: 4, atOnce: 2, controllers: Self.controllers, withClocks: true)
        #expect(twice.steps.allSatisfy { $0.faults.count == 2 })
        let once = FaultSchedule(seed: 1, faults: 4, controllers: Self.controllers, withClocks: true)
        #expect(twice.steps.first?.faults.first == once.steps.first?.faults.first)
    }

    @Test func `faults are named on the command line`() throws {
        #expect(try Fault(words: ["kill", "conductor", "leader"]) == .kill(.conductor, .leadingConductor))
        #expect(try Fault(words: ["pause", "all", "vip"]) == .pause(nil, .virtualAddress))
        #expect(
            try Fault(words: ["cut", "etcd", "incoming", "clients"]) == .cut(.storeLeader, .incoming, clients: true))
        #expect(try Fault(words: ["cut", "c2"]) == .cut(.named("c2"), .both, clients: false))
        #expect(try Fault(words: ["clock", "c1", "-20"]) == .clock(.named("c1"), seconds: -20))
        for words in [[], ["kill"], ["kill", "disk", "c1"], ["clock", "c1", "soon"], ["full-disk", "c1"]] {
            #expect(throws: BedError.self) { try Fault(words: words) }
        }
    }
}

@Suite struct BedGapTests {
    @Test func `a gap goes from the last answer before a fault to the next, or to the end`() {
        let second: Int64 = 1_000_000_000
        let times = [1, 2, 3, 7, 8, 9].map { $0 * second }
        #expect(BedRun.gap(times, 3 * second + 1, 20 * second) == 11)
        #expect(BedRun.gap(times, 3 * second + 1, 10 * second) == 4)
        #expect(BedRun.gap(times, 8 * second + 1, 9 * second) == 1)
        #expect(BedRun.gap([], 0, 5 * second) == 5)
    }
}
