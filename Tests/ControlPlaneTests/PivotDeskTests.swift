import AgentProtocol
import CatalogBareMetal
import ControlPlane
import Primitives
import ResourceModel
import StoreMemory
import TestSupport
import Testing

/// A pivot that is broken off anywhere and gone on with: nothing that was acknowledged is lost, and never do two stores
/// take writes.
@Suite struct PivotDeskTests {
    /// Runs until the seed has ended or gone back, whatever happens on the way.
    private static func finish(_ world: PivotWorld, killAt: Int? = nil, goBackAt: Int? = nil, _ source: String)
        async throws
    {
        var number = 0
        try await world.run(from: &number, killAt: killAt, goBackAt: goBackAt)
        for _ in 0..<10 where world.isKilled { try await world.run(from: &number) }
        #expect(!world.isKilled, "\(source)")
        #expect(world.violations.isEmpty, "\(source): \(world.violations)")
    }

    private static func checkMoved(_ world: PivotWorld, _ source: String) async throws {
        #expect(world.isRetired && world.note?.state == .retired, "\(source)")
        #expect(try await world.isOpen(), "\(source)")
        for key in world.acknowledged {
            let found = try await world.new.get(key)
            #expect(found != nil, "\(key) was acknowledged and is lost: \(source)")
        }
        let plane = try #require(try await world.new.fetch(ControlPlaneRecord.self, ControlPlaneRecord.name)).value
        #expect(
            plane.status.published == PivotWorld.controllers && plane.status.token == world.note?.token, "\(source)")
        #expect(plane.status.assignments.allSatisfy { $0.runsConductor && $0.member?.founding == .new }, "\(source)")
        #expect(world.note?.api == plane.endpoints && plane.endpoints.count == 3, "\(source)")
        #expect(try await world.new.get(ResourceKey(kind: "test.seed", name: "here")) == nil, "\(source)")
    }

    @Test("A pivot goes from the order to its end")
    func whole() async throws {
        let world = PivotWorld()
        try await world.order()
        try await Self.finish(world, "whole")
        try await Self.checkMoved(world, "whole")
        let written = Dictionary(grouping: world.acknowledged) { $0.name.hasPrefix("new-") }.mapValues(\.count)
        #expect(written[false] ?? 0 >= 4 && written[true] ?? 0 >= 2, "\(written)")
    }

    @Test("Killed between any two steps, it is gone on with")
    func killedBetweenSteps() async throws {
        for step in 0..<20 {
            let world = PivotWorld()
            try await world.order()
            try await Self.finish(world, killAt: step, "killed at \(step)")
            try await Self.checkMoved(world, "killed at \(step)")
        }
    }

    @Test("Whatever happens to any commit to the new store, also when it arrives late")
    func faults() async throws {
        let whole = PivotWorld()
        try await whole.order()
        try await Self.finish(whole, "whole")
        for fault in PivotWorld.Fault.allCases {
            for at in 1...whole.commitCount {
                for calls in fault == .killedAndLate ? [0, 1, 2, 3, 5, 8, 40] : [0] {
                    let source = "commit \(at): \(fault), after \(calls) calls"
                    let world = PivotWorld(fault: (at, fault), lateAfter: calls)
                    try await world.order()
                    try await Self.finish(world, source)
                    try await Self.checkMoved(world, source)
                }
            }
        }
    }

    @Test("Ordered back at any time, the seed is what it was, or it has moved")
    func back() async throws {
        var homes = 0
        for step in 0..<20 {
            let world = PivotWorld()
            try await world.order()
            try await Self.finish(world, goBackAt: step, "back at \(step)")
            if try await world.old.get(ControlPlaneRecord.key(ControlPlaneRecord.name)) == nil {
                homes += 1
                #expect(try await !world.isOpen() && world.note == nil && !world.isRetired, "back at \(step)")
                for key in world.acknowledged {
                    let found = try await world.old.get(key)
                    #expect(found != nil, "\(key) is lost: back at \(step)")
                }
            } else {
                try await Self.checkMoved(world, "back at \(step)")
            }
        }
        #expect((3...18).contains(homes), "\(homes)")
    }

    @Test("A store that was opened and is another one now keeps the seed shut")
    func lost() async throws {
        let world = PivotWorld()
        try await world.order()
        var number = 0
        for step in 8..<20 where world.note == nil {
            try await world.run(from: &number, stepCountMax: 100, killAt: step)
        }
        #expect(world.note != nil)
        for document in try await world.new.list(kind: nil, after: nil, limit: 500).documents {
            _ = try await world.new.commit(Transaction(operations: [.delete(document.key)]))
        }
        let before = world.acknowledged.count
        let run = Task {
            var number = 1000
            try await world.run(from: &number)
        }
        try await Task.sleep(for: .milliseconds(200))
        world.kill()
        try await run.value
        #expect(world.acknowledged.count == before, "nothing is served")
    }
}
