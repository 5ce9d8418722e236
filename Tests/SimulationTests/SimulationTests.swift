import Foundation
import Testing

/// Racks under faults in virtual time: whatever the seed, nothing that must always hold is broken, and every machine gets
/// to a good end once the faults are over. A failure names its seed.
@Suite struct SimulationTests {
    /// Seeds that found something, with what it was.
    private static let found: [UInt64] = [
        // An order was put together while the clock jumped and the controller ended the session that had asked for it.
        909_052_681,
        // A BMC said that it had reset a machine that was booting, and had not: the simulator was wrong to be surprised.
        670_694_765,
    ]

    /// The seeds of each run of the tests; `MUSTER_SEED` takes one instead.
    static var seeds: [UInt64] {
        if let text = ProcessInfo.processInfo.environment["MUSTER_SEED"], let seed = UInt64(text) { return [seed] }
        return found + Array(1...200)
    }

    @Test(arguments: seeds) func `nothing that must hold is broken, whatever happens`(seed: UInt64) {
        let report = Report(seed: seed)
        #expect(report.violations.isEmpty, "\(report)")
    }

    @Test func `every kind of fault strikes within the seeds`() {
        var missing = Set(Fault.allCases)
        for seed in 1...200 as ClosedRange<UInt64> {
            missing.subtract(Report(seed: seed).world.faults.keys)
            if missing.isEmpty { return }
        }
        Issue.record("never: \(missing.map(\.rawValue).sorted())")
    }

    @Test(arguments: [3, 8] as [UInt64]) func `the same seed gives the same trace, another one another`(seed: UInt64) {
        let first = Report(seed: seed).world.trace
        let second = Report(seed: seed).world.trace
        #expect(first.digest == second.digest)
        #expect(first.count == second.count)
        #expect(Report(seed: seed + 1).world.trace.digest != first.digest)
    }
}
