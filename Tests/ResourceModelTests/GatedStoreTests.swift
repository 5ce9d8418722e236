import Primitives
import ReconcileRuntime
import ResourceModel
import StoreMemory
import Synchronization
import TestSupport
import Testing

@Suite struct GatedStoreTests {
    private static let key = ResourceKey(kind: "test.thing", name: "a")

    private static func put(_ value: UInt8) -> Transaction { Transaction(operations: [.put(key, [value])]) }

    @Test func `writes are refused first, reads when it is shut, and all is taken again when it is open`() async throws
    {
        let inner = MemoryStore()
        let gate = GatedStore(inner, why: "The site moves")
        let refused = StoreError.frozen("The site moves")
        _ = try await gate.commit(Self.put(1))
        let lease = try await gate.grantLease(timeToLive: .seconds(60))
        await gate.move(to: .readOnly)
        await #expect(throws: refused) { try await gate.commit(Self.put(2)) }
        await #expect(throws: refused) { try await gate.compact(through: Revision(1)) }
        await #expect(throws: refused) { try await gate.grantLease(timeToLive: .seconds(60)) }
        await #expect(throws: refused) { try await gate.renewLease(lease) }
        await #expect(throws: refused) { try await gate.revokeLease(lease) }
        #expect(try await gate.get(Self.key)?.value == [1])
        #expect(try await gate.currentRevision() == inner.currentRevision())
        await gate.move(to: .shut)
        await #expect(throws: refused) { try await gate.get(Self.key) }
        await #expect(throws: refused) { try await gate.currentRevision() }
        await #expect(throws: refused) { try await gate.list(kind: nil, after: nil, limit: 1) }
        _ = try await gate.inner.commit(Self.put(3))
        await gate.move(to: .open)
        #expect(try await gate.get(Self.key)?.value == [3])
        _ = try await gate.commit(Self.put(4))
        #expect(refused.publicMessage == "The site moves; nothing was changed. Try again in a few seconds.")
    }

    @Test func `once it is shut no write is under way, and none that was acknowledged is missed`() async throws {
        let gate = GatedStore(MemoryStore(), why: "test")
        let acknowledged = Acknowledged()
        let writers = (0..<8).map { writer in
            Task {
                for number in 0..<100_000 {
                    let key = ResourceKey(kind: "test.thing", name: "w\(writer)-\(number)")
                    do { _ = try await gate.commit(Transaction(operations: [.put(key, [1])])) } catch { return }
                    acknowledged.add()
                    await Task.yield()
                }
            }
        }
        while acknowledged.count < 100 { await Task.yield() }
        await gate.move(to: .readOnly)
        let frozen = try await gate.inner.currentRevision()
        for writer in writers { await writer.value }
        #expect(try await gate.inner.currentRevision() == frozen)
        #expect(frozen.number >= UInt64(acknowledged.count))
    }

    private final class Acknowledged: Sendable {
        private let number = Mutex(0)
        var count: Int { number.withLock { $0 } }
        func add() { number.withLock { $0 += 1 } }
    }
}
