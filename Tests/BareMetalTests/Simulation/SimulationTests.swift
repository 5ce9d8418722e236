import AgentProtocol
import BareMetal
import CatalogBareMetal
import Primitives
import StoreMemory
import TestSupport
import Testing

/// Racks under faults in virtual time: whatever the seed, nothing that must always hold is broken, and every machine
/// becomes active once the faults end. A failure names its seed.
@Suite struct SimulationTests {
    private static let machineCount = 3
    private static let faultsLast: Duration = .seconds(3600)
    private static let done = "active connected"

    private struct Outcome {
        var digest: UInt64
        var trace: [String]
        var violations: [String]
        var faults: [String: Int]
        var rescueCount: Int
        var states: [String]
    }

    private func simulate(seed: UInt64) async throws -> Outcome {
        let clock = ManualWallClock()
        let store = MemoryStore(clock: clock)
        let conductor = SimulatedConductor(machineCount: Self.machineCount, store: store, clock: clock, seed: seed)
        let rack = SimulatedRack(machineCount: Self.machineCount, faultsEnd: clock.now.advanced(by: Self.faultsLast))
        var loop = SimulatedLoop(rack, seed: seed, clock: clock, store: store, performer: conductor)
        loop.send(.begin)
        try await loop.run(for: Self.faultsLast)
        var states: [String] = []
        for _ in 0..<12 {
            try await loop.run(for: .seconds(900))
            states = try await conductor.nodes().map {
                "\($0.spec.name) \($0.status.state) \($0.status.agent?.isConnected == true ? "connected" : "alone")"
            }
            if states.allSatisfy({ $0.hasSuffix(Self.done) }) { break }
        }
        return Outcome(
            digest: loop.digest, trace: loop.trace, violations: conductor.violations, faults: loop.reconciler.faults,
            rescueCount: loop.reconciler.rescueCount,
            states: states)
    }

    @Test(arguments: 1...16 as ClosedRange<UInt64>) func `machines become active whatever happens on the way`(
        seed: UInt64
    ) async throws {
        let outcome = try await simulate(seed: seed)
        #expect(outcome.violations.isEmpty, "seed \(seed): \(outcome.violations.prefix(5))")
        #expect(outcome.states.count == Self.machineCount)
        let isDone = outcome.states.allSatisfy { $0.hasSuffix(Self.done) }
        #expect(
            isDone,
            "seed \(seed): \(outcome.states)\n\(outcome.trace.suffix(30).map { $0.prefix(400) }.joined(separator: "\n"))"
        )
        #expect(outcome.rescueCount > 0, "seed \(seed): no machine was rescued")
        #expect(outcome.faults.values.reduce(0, +) > 5, "seed \(seed) had next to no faults: \(outcome.faults)")
    }

    @Test func `the same seed gives the same trace, another one another`() async throws {
        let first = try await simulate(seed: 1)
        let second = try await simulate(seed: 1)
        #expect(first.trace == second.trace)
        #expect(first.digest == second.digest)
        #expect(try await simulate(seed: 2).digest != first.digest)
    }
}
