import CatalogBareMetal
import Logging
import Primitives
import ReconcileRuntime
import ResourceModel
import StoreMemory
import TestSupport
import Testing

@testable import ConductorServer

/// What is told of segments while the site's store takes no writes.
@Suite struct SegmentRecorderTests {
    @Test("What a frozen store refuses is written once it takes writes again, the newest status last, and quietly")
    func frozen() async throws {
        let memory = MemoryStore()
        _ = try await memory.commit(Transaction(operations: [try Stored(new: PivotScene.segment("rack")).put()]))
        let gate = GatedStore(memory, why: "the site moves", position: .readOnly)
        let loud = LogLines(from: .warning)
        let recorder = SegmentRecorder(store: gate, clock: SystemWallClock(), logger: loud.logger)
        try await withDeadline {
            try await withThrowingTaskGroup(of: Void.self) { group in
                group.addTask { await recorder.set(.waiting, of: "rack") }
                try await Task.sleep(for: .milliseconds(50))
                group.addTask { await recorder.set(.serving, of: "rack") }
                group.addTask { await recorder.record("ForeignServer", "another one", of: "rack") }
                try await Task.sleep(for: .milliseconds(100))
                await gate.move(to: .open)
                try await group.waitForAll()
            }
        }
        #expect(try await memory.fetch(Segment.self, "rack")?.value.status.state == .serving)
        #expect(try await memory.fetchAll(SegmentEvent.self).map(\.value.spec.type) == ["ForeignServer"])
        #expect(loud.all.isEmpty, "\(loud.all)")

        // Who ends meanwhile does not wait for it.
        await gate.move(to: .readOnly)
        let waiting = Task { await recorder.set(.failed, "why", of: "rack") }
        waiting.cancel()
        try await withDeadline(.seconds(5)) { await waiting.value }
        #expect(loud.all.isEmpty, "\(loud.all)")
    }
}
