import Primitives
import ResourceModel
import Synchronization
import TestSupport
import Testing

@testable import ReconcileRuntime

@Suite struct SharedReadTests {
    /// A counter that others raise, read slowly: each read tells what it was at some moment between its begin and end.
    private final class Slow: Sendable {
        let value = Mutex<UInt64>(0)
        let underWay = Mutex<(now: Int, most: Int)>((0, 0))

        func read() async -> UInt64 {
            underWay.withLock { $0 = ($0.now + 1, max($0.most, $0.now + 1)) }
            await Task.yield()
            let read = value.withLock { $0 }
            for _ in 0..<3 { await Task.yield() }
            underWay.withLock { $0.now -= 1 }
            return read
        }
    }

    @Test(.timeLimit(.minutes(1))) func `nobody gets what was read before it had asked`() async throws {
        let slow = Slow()
        let reads = SharedRead { () async throws(StoreError) -> UInt64 in await slow.read() }
        let callCount = 64 * 400
        try await withThrowingTaskGroup(of: Void.self) { group in
            for _ in 0..<64 {
                group.addTask {
                    for round in 0..<400 {
                        let acknowledged = slow.value.withLock { value in
                            value += 1
                            return value
                        }
                        let read = try await reads.value()
                        #expect(read >= acknowledged)
                        if round.isMultiple(of: 7) { await Task.yield() }
                    }
                }
            }
            try await group.waitForAll()
        }
        #expect(slow.underWay.withLock { $0.most } == 1, "one read is under way at a time")
        #expect(reads.counts.read < UInt64(callCount / 8), "\(reads.counts.read) reads for \(callCount) calls")
    }

    @Test(.timeLimit(.minutes(1))) func `one alone is read for at once`() async throws {
        let reads = SharedRead { () async throws(StoreError) in 7 }
        for _ in 0..<10 { #expect(try await reads.value() == 7) }
        #expect(reads.counts.read == 10)
    }

    @Test(.timeLimit(.minutes(1))) func `a reader that is cancelled takes nobody with it`() async throws {
        let (gate, opener) = AsyncStream.makeStream(of: Void.self)
        let waits = Mutex(true)
        let reads = SharedRead { () async throws(StoreError) in
            if waits.withLock({ $0 }) { for await _ in gate { break } }
            guard !Task.isCancelled else { throw .unavailable("cancelled") }
            return 7
        }
        let first = Task { try await reads.value() }
        try await waitUntil { reads.counts.read == 1 }
        // The second makes the read that the third shares, and is cancelled in the middle of it.
        let second = Task { try await reads.value() }
        try await waitUntil { reads.waitingCount == 1 }
        let third = Task { try await reads.value() }
        try await waitUntil { reads.waitingCount == 2 }
        opener.yield()
        #expect(try await first.value == 7)
        try await waitUntil { reads.counts.read == 2 }
        waits.withLock { $0 = false }
        second.cancel()
        await #expect(throws: StoreError.self) { _ = try await second.value }
        #expect(try await third.value == 7)
        #expect(
            reads.counts == SharedReadCounts(asked: 3, read: 3, failed: 0),
            "who was cancelled was told nothing of the store")
    }

    @Test(.timeLimit(.minutes(1))) func `a failure is told to all who shared the read`() async throws {
        let reads = SharedRead<Int> { () async throws(StoreError) in
            await Task.yield()
            throw .unavailable("gone")
        }
        await withTaskGroup(of: Void.self) { group in
            for _ in 0..<8 {
                group.addTask { await #expect(throws: StoreError.unavailable("gone")) { _ = try await reads.value() } }
            }
        }
        #expect(reads.counts.asked == 8 && reads.counts.failed == 8)
    }
}
