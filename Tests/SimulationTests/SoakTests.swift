import Foundation
import Testing

/// For how long new seeds are tried; nil: they are not.
private let soakMinutes = ProcessInfo.processInfo.environment["MUSTER_SOAK_MINUTES"].flatMap(Double.init)

/// New seeds for as long as `MUSTER_SOAK_MINUTES` says; `make soak` runs it.
@Suite struct SoakTests {
    @Test(.enabled(if: soakMinutes != nil)) func `new seeds find nothing`() {
        let end = Date(timeIntervalSinceNow: (soakMinutes ?? 0) * 60)
        var random = SystemRandomNumberGenerator()
        var faults: [Fault: Int] = [:]
        var failed: [UInt64] = []
        var seedCount = 0
        var stepCount = 0
        var told = Date()
        while Date() < end {
            // Short enough to be typed.
            let seed = UInt64.random(in: 1000...999_999_999, using: &random)
            let report = Report(seed: seed)
            seedCount += 1
            stepCount += report.world.stepCount
            faults.merge(report.world.faults) { $0 + $1 }
            if !report.violations.isEmpty {
                failed.append(seed)
                Issue.record("\(report)")
            }
            if Date().timeIntervalSince(told) > 60 {
                told = Date()
                print("soak: \(seedCount) seeds, \(stepCount) steps, \(failed.count) failed")
            }
        }
        print("soak: \(seedCount) seeds, \(stepCount) steps, \(failed.count) failed: \(failed)")
        print("soak: faults injected: \(counts(faults))")
    }
}
