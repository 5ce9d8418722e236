import Primitives
import ResourceModel

extension StoreConformance {
    static let watchChecks: [Check] = [
        Check("a watch replays every commit after a revision, in order, once, one batch a commit") { bench in
            let start = try await bench.put(key("a"))
            let second = try await bench.put(key("a"), key("b"), value: "2")
            let third = try await bench.delete(key("a"))
            let fourth = try await bench.put(key("a"), value: "4")
            let expected = [
                WatchBatch(
                    revision: second,
                    changes: ["a", "b"].map { .put(Document(key: key($0), revision: second, value: [0x32])) }),
                WatchBatch(revision: third, changes: [.deleted(key("a"))]),
                WatchBatch(
                    revision: fourth, changes: [.put(Document(key: key("a"), revision: fourth, value: [0x34]))]),
            ]
            try require(await bench.commits(3, after: start), is: expected, "after the first")
            try require(await bench.commits(2, after: second), is: Array(expected.dropFirst()), "after the second")
        },
        Check("a watch goes on with the commits made while it is read") { bench in
            try await bench.put(key("n0"))
            var seen: [String] = []
            for try await batch in await bench.store.watch(after: .zero) where !batch.isBookmark {
                for case .put(let document) in batch.changes { seen.append(document.key.name) }
                if seen.count == 50 { break }
                try await bench.put(key("n\(seen.count)"))
            }
            try require(seen, is: (0..<50).map { "n\($0)" }, "the names")
        },
        Check("an idle watch gets a bookmark that says how far it has come") { bench in
            let revision = try await bench.put(key("a"))
            for try await batch in await bench.store.watch(after: revision) {
                try require(batch, is: WatchBatch(revision: revision, changes: []), "the bookmark")
                break
            }
        },
        Check("a watch from before the compaction point fails, later ones and documents stay") { bench in
            let first = try await bench.put(key("a"))
            let second = try await bench.put(key("b"))
            let third = try await bench.put(key("c"))
            try await bench.store.compact(through: second)
            try await requireError("from the first", { $0 == .compacted(oldest: second) }) {
                try await bench.commits(1, after: first)
            }
            try require(await bench.commits(1, after: second).map(\.revision), is: [third], "from the second")
            try require(await bench.value(key("a")), is: "1", "a document from before")
            try await bench.store.compact(through: first)
            try await requireError("a future revision", \.isInvalid) {
                try await bench.store.compact(through: Revision(third.number + 1))
            }
        },
        Check("a running watch does not mind compaction") { bench in
            try await bench.put(key("n0"))
            var count = 0
            for try await batch in await bench.store.watch(after: .zero) where !batch.isBookmark {
                count += 1
                if count == 5 { break }
                let newest = try await bench.put(key("n\(count)"))
                if count > 1 { try await bench.store.compact(through: newest) }
            }
            try require(count, is: 5, "the batches")
        },
        Check("a watch from a revision that is not committed yet is refused") { bench in
            let revision = try await bench.put(key("a"))
            try await requireError("the future", \.isInvalid) {
                try await bench.commits(1, after: Revision(revision.number + 1))
            }
        },
        Check("a watch that is too slow ends with an error, and a new one goes on from its revision") { bench in
            let start = try await bench.put(key("a"))
            let stream = await bench.store.watch(after: start)
            var revisions: [Revision] = []
            for number in 0...StoreConformance.watchQueueMax {
                revisions.append(try await bench.put(key("a"), value: "\(number)"))
            }
            // Once another watch has seen them all, the slow one has been given them all.
            _ = try await bench.commits(revisions.count, after: start)
            var last = start
            try await requireError("the slow watch", { $0 == .watchOverflow }) {
                for try await batch in stream { last = batch.revision }
            }
            let expected = revisions.filter { $0 > last }
            let rest = try await bench.commits(expected.count, after: last)
            try require(rest.map(\.revision), is: expected, "the rest")
        },
        Check("a watch ends when its task is cancelled, also while it waits") { bench in
            let stream = await bench.store.watch(after: .zero)
            let (batches, taken) = AsyncStream.makeStream(of: Void.self)
            await withTaskGroup { group in
                group.addTask {
                    do { for try await _ in stream { taken.yield() } } catch {}
                    taken.finish()
                }
                // Nothing follows the bookmark of an empty store: by the end of the sleep the reader waits.
                var iterator = batches.makeAsyncIterator()
                _ = await iterator.next()
                try? await Task.sleep(for: .milliseconds(50))
                group.cancelAll()
            }
        },
    ]

    /// What must hold of leases; an engine that ends them by itself takes half a minute.
    public static let leaseChecks: [Check] = [
        Check("when a lease ends, its documents are deleted with events") { bench in
            let lease = try await bench.store.grantLease(timeToLive: bench.seconds(10))
            try await bench.put(key("a"), key("b"), lease: lease)
            let revision = try await bench.put(key("c"))
            try require(await bench.store.get(key("a"))?.lease, is: lease, "the document's lease")
            try await bench.pass(bench.seconds(6))
            try require(await bench.value(key("a")), is: "1", "before the end")
            try await bench.pass(bench.seconds(5))
            let batches = try await bench.commits(1, after: revision)
            try require(batches.first?.changes, is: [.deleted(key("a")), .deleted(key("b"))], "the events")
            try await bench.requireGone(key("a"), "a after the end")
            try require(await bench.value(key("c")), is: "1", "a document without the lease")
            try await requireError("renewing", { $0 == .leaseEnded(lease) }) { try await bench.store.renewLease(lease) }
            try await requireError("putting", { $0 == .leaseEnded(lease) }) {
                try await bench.put(key("d"), lease: lease)
            }
            try require(await bench.store.get(key("d")), is: nil, "the refused document")
        },
        Check("a renewed lease goes on for its whole time") { bench in
            let lease = try await bench.store.grantLease(timeToLive: bench.seconds(10))
            try await bench.put(key("a"), lease: lease)
            for _ in 0..<3 {
                try await bench.pass(bench.seconds(6))
                try await bench.store.renewLease(lease)
            }
            try await bench.pass(bench.seconds(6))
            try require(await bench.value(key("a")), is: "1", "a renewed document")
            try await bench.pass(bench.seconds(5))
            try await bench.requireGone(key("a"), "a document that is not renewed")
        },
        Check("a document follows the lease of its last write only") { bench in
            let first = try await bench.store.grantLease(timeToLive: bench.seconds(10))
            let second = try await bench.store.grantLease(timeToLive: bench.seconds(30))
            try await bench.put(key("kept"), key("moved"), lease: first)
            try await bench.put(key("kept"))
            try await bench.put(key("moved"), lease: second)
            try await bench.pass(bench.seconds(11))
            try require(await bench.value(key("kept")), is: "1", "written without a lease since")
            try require(await bench.value(key("moved")), is: "1", "written with another lease since")
            try await bench.pass(bench.seconds(20))
            try await bench.requireGone(key("moved"), "after its last lease")
        },
        Check("a revoked lease ends at once; other leases and numbers are not touched") { bench in
            let lease = try await bench.store.grantLease(timeToLive: bench.seconds(10))
            let other = try await bench.store.grantLease(timeToLive: bench.seconds(10))
            try require(lease != other, "two leases have one number")
            try await bench.put(key("a"), lease: lease)
            try await bench.put(key("b"), lease: other)
            try await bench.store.revokeLease(lease)
            try require(await bench.store.get(key("a")), is: nil, "its document")
            try require(await bench.value(key("b")), is: "1", "the other's document")
            try await requireError("revoking again", { $0 == .leaseEnded(lease) }) {
                try await bench.store.revokeLease(lease)
            }
            try await bench.store.renewLease(other)
            let third = try await bench.store.grantLease(timeToLive: bench.seconds(10))
            try require(third != lease, "a number is used again")
        },
        Check("a lease of no time is refused") { bench in
            try await requireError("zero", \.isInvalid) { try await bench.store.grantLease(timeToLive: .zero) }
        },
    ]

    static let concurrencyChecks: [Check] = [
        Check("concurrent increments of one document lose nothing") { bench in
            try await bench.put(key("counter"), value: "0")
            try await withThrowingTaskGroup { group in
                for _ in 0..<5 {
                    group.addTask { for _ in 0..<20 { try await bench.increment(key("counter")) } }
                }
                try await group.waitForAll()
            }
            try require(await bench.value(key("counter")), is: "100", "the counter")
        },
        Check("concurrent commits are seen by a watch in one order without gaps") { bench in
            let start = try await bench.put(key("start"))
            let revisions = try await withThrowingTaskGroup(of: [Revision].self) { group in
                for task in 0..<10 {
                    group.addTask {
                        var revisions: [Revision] = []
                        for number in 0..<10 { revisions.append(try await bench.put(key("n\(task)-\(number)"))) }
                        return revisions
                    }
                }
                return try await group.reduce(into: []) { $0 += $1 }
            }
            try require(Set(revisions).count, is: 100, "the revisions")
            let batches = try await bench.commits(100, after: start)
            try require(batches.map(\.revision), is: revisions.sorted(), "what the watch saw")
        },
        Check("of many who want to make the same document, one succeeds") { bench in
            let winners = try await withThrowingTaskGroup(of: Bool.self) { group in
                for number in 0..<20 {
                    group.addTask {
                        do {
                            _ = try await bench.store.commit(
                                Transaction(
                                    conditions: [.absent(key("one"))],
                                    operations: [.put(key("one"), Array("\(number)".utf8))]))
                            return true
                        } catch StoreError.conflict {
                            return false
                        }
                    }
                }
                return try await group.reduce(0) { $0 + ($1 ? 1 : 0) }
            }
            try require(winners, is: 1, "the winners")
        },
    ]
}

extension ConformanceBench {
    fileprivate func increment(_ key: ResourceKey) async throws {
        while true {
            guard let document = try await store.get(key),
                let number = Int(String(decoding: document.value, as: UTF8.self))
            else { throw ConformanceFailure(description: "the counter is gone") }
            do {
                _ = try await store.commit(
                    Transaction(
                        conditions: [.unchanged(key, since: document.revision)],
                        operations: [.put(key, Array("\(number + 1)".utf8))]))
                return
            } catch StoreError.conflict {
                continue
            }
        }
    }
}
