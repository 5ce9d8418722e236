import Primitives
import ResourceModel

extension StoreConformance {
    static let commitChecks: [Check] = [
        Check("a commit is seen by every later read and has a higher revision") { bench in
            let before = try await bench.store.currentRevision()
            let first = try await bench.put(key("a"), value: "one")
            let second = try await bench.put(key("a"), value: "two")
            try require(before < first && first < second, "revisions grow: \(before) \(first) \(second)")
            try require(await bench.value(key("a")), is: "two", "the value")
            try require(await bench.store.get(key("a"))?.revision, is: second, "the document's revision")
            try require(await bench.store.currentRevision(), is: second, "the store's revision")
            try require(await bench.store.get(key("b")), is: nil, "an absent document")
        },
        Check("a commit over several keys is made at one revision") { bench in
            let revision = try await bench.put(key("a"), key("b"), key("a", kind: "test.other"))
            for key in [key("a"), key("b"), key("a", kind: "test.other")] {
                try require(await bench.store.get(key)?.revision, is: revision, "\(key)")
            }
        },
        Check("conditions: absent, exists, unchanged") { bench in
            let revision = try await bench.put(key("a"))
            try await bench.put(key("b"))
            let holding: [Transaction.Condition] = [
                .absent(key("c")), .exists(key("a")), .unchanged(key("a"), since: revision),
            ]
            _ = try await bench.store.commit(
                Transaction(conditions: holding, operations: [.put(key("d"), [1])]))
            let failing: [Transaction.Condition] = [
                .absent(key("a")), .exists(key("c")), .unchanged(key("b"), since: revision),
                .unchanged(key("c"), since: revision),
            ]
            for condition in failing {
                try await requireError("\(condition)", { $0 == .conflict(condition.key) }) {
                    try await bench.store.commit(
                        Transaction(conditions: holding + [condition], operations: [.put(key("e"), [1])]))
                }
            }
            try require(await bench.store.get(key("e")), is: nil, "a refused write")
        },
        Check("a failed condition changes nothing, and names the first key that failed") { bench in
            let revision = try await bench.put(key("a"), key("b"))
            try await requireError("the conflict", { $0 == .conflict(key("x")) }) {
                try await bench.store.commit(
                    Transaction(
                        conditions: [.exists(key("a")), .exists(key("x")), .exists(key("y"))],
                        operations: [.put(key("a"), [9]), .delete(key("b")), .put(key("c"), [9])]))
            }
            try require(await bench.value(key("a")), is: "1", "a")
            try require(await bench.value(key("b")), is: "1", "b")
            try require(await bench.store.get(key("c")), is: nil, "c")
            try require(await bench.store.currentRevision(), is: revision, "the revision")
        },
        Check("deleting what is not there changes nothing") { bench in
            let revision = try await bench.put(key("a"))
            try await bench.delete(key("x"))
            try require(await bench.store.currentRevision(), is: revision, "the revision")
            let next = try await bench.delete(key("a"), key("x"))
            let batches = try await bench.commits(1, after: revision)
            try require(batches, is: [WatchBatch(revision: next, changes: [.deleted(key("a"))])], "the batch")
        },
        Check("what is at the limits is taken, what is beyond is refused") { bench in
            let full = [UInt8](repeating: 7, count: Int(StoreLimits.documentSizeMax.bytes))
            let fullCount = Int(StoreLimits.transactionSizeMax.bytes) / full.count
            func puts(_ count: Int, _ value: [UInt8]) -> [Transaction.Operation] {
                (0..<count).map { .put(key("n\($0)"), value) }
            }
            let absent = (0...100).map { Transaction.Condition.absent(key("x\($0)")) }
            _ = try await bench.store.commit(
                Transaction(conditions: Array(absent.prefix(100)), operations: puts(100, [1])))
            _ = try await bench.store.commit(Transaction(operations: puts(fullCount, full)))
            try require(await bench.store.get(key("n\(fullCount - 1)"))?.value, is: full, "a full document")
            let refused: [Transaction] = [
                Transaction(operations: puts(101, [1])), Transaction(operations: puts(fullCount + 1, full)),
                Transaction(operations: puts(1, full + [1])), Transaction(conditions: absent, operations: puts(1, [1])),
            ]
            for transaction in refused {
                try await requireError("beyond a limit", \.isLimit) { try await bench.store.commit(transaction) }
            }
        },
        Check("what cannot be right is refused") { bench in
            let refused: [Transaction] = [
                Transaction(operations: []), Transaction(operations: [.put(key("a"), [1]), .delete(key("a"))]),
                Transaction(operations: [.put(key(""), [1])]), Transaction(operations: [.put(key("a/b"), [1])]),
                Transaction(operations: [.put(key("a\n"), [1])]), Transaction(operations: [.put(key("é"), [1])]),
                Transaction(operations: [.put(key(String(repeating: "a", count: 201)), [1])]),
            ]
            for transaction in refused {
                try await requireError("an invalid request", \.isInvalid) { try await bench.store.commit(transaction) }
            }
        },
    ]

    static let readChecks: [Check] = [
        Check("documents are listed by kind, then name, bytewise, page by page") { bench in
            var expected: [ResourceKey] = []
            for kind in ["a.a", "a.b", "a.b-c", "a.bb"] {
                for number in 0..<250 { expected.append(key("N\(number)-x.\(number % 7)", kind: kind)) }
            }
            expected.sort(by: byteOrder)
            for part in stride(from: 0, to: expected.count, by: 100) {
                let keys = expected[part..<min(part + 100, expected.count)].reversed()
                _ = try await bench.store.commit(Transaction(operations: keys.map { .put($0, Array($0.name.utf8)) }))
            }
            var found: [Document] = []
            var after: ResourceKey?
            while true {
                let page = try await bench.store.list(kind: nil, after: after, limit: 10_000)
                try require(page.documents.count <= StoreLimits.pageCountMax, "a page of \(page.documents.count)")
                found += page.documents
                after = page.documents.last?.key
                guard page.hasMore else { break }
            }
            try require(found.map(\.key), is: expected, "the order of all")
            try require(found.allSatisfy { Array($0.key.name.utf8) == $0.value }, "the values")
            let ofKind = try await bench.store.list(kind: "a.b", after: nil, limit: 250)
            try require(ofKind.documents.map(\.key), is: expected.filter { $0.kind == "a.b" }, "one kind")
            try require(ofKind.hasMore, is: false, "more of one kind")
            let some = try await bench.store.list(kind: "a.b", after: ofKind.documents[99].key, limit: 10)
            try require(some.documents, is: Array(ofKind.documents[100..<110]), "ten after the hundredth")
            try require(some.hasMore, is: true, "more than ten")
            for (other, count) in [("a.a", 250), ("a.bb", 0)] {
                let page = try await bench.store.list(kind: "a.b", after: key("zzz", kind: other), limit: 500)
                try require(page.documents.count, is: count, "one kind after a key of \(other)")
            }
            try require(await bench.store.currentRevision(), is: some.revision, "the page's revision")
        },
        Check("an empty kind gives an empty page; a page of nothing is refused") { bench in
            try await bench.put(key("a"))
            let page = try await bench.store.list(kind: "test.none", after: nil, limit: 10)
            try require(page.documents.isEmpty && !page.hasMore, "\(page)")
            try await requireError("a page of nothing", \.isInvalid) {
                try await bench.store.list(kind: nil, after: nil, limit: 0)
            }
        },
    ]
}

private func byteOrder(_ left: ResourceKey, _ right: ResourceKey) -> Bool {
    (Array(left.kind.utf8) + [0] + Array(left.name.utf8)).lexicographicallyPrecedes(
        Array(right.kind.utf8) + [0] + Array(right.name.utf8))
}
