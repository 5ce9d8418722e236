import Primitives
import ResourceModel
import StoreMemory
import StoreSQLite
import Synchronization
import TestSupport
import Testing

@testable import ConductorServer

/// Documents as of one revision, while others write.
@Suite(.timeLimit(.minutes(2)))
struct StoreSnapshotTests {
    private static func key(_ number: Int) -> ResourceKey {
        ResourceKey(kind: number.isMultiple(of: 2) ? "test.even" : "test.odd", name: "n-\(number)")
    }

    /// What the store has had at each revision.
    private final class Model: Sendable {
        private struct State {
            var documents: [ResourceKey: [UInt8]] = [:]
            var states: [Revision: [ResourceKey: [UInt8]]] = [:]
        }

        private let state = Mutex(State())

        func note(_ operations: [Transaction.Operation], at revision: Revision) {
            state.withLock { state in
                for operation in operations {
                    switch operation {
                    case .put(let key, let value, let lease): state.documents[key] = lease == nil ? value : nil
                    case .delete(let key): state.documents[key] = nil
                    }
                }
                state.states[revision] = state.documents
            }
        }

        func documents(at revision: Revision) -> [ResourceKey: [UInt8]]? { state.withLock { $0.states[revision] } }
    }

    private static func check(_ store: any ResourceStore, seed: UInt64) async throws {
        let model = Model()
        let lease = try await store.grantLease(timeToLive: .seconds(600))
        for start in stride(from: 0, to: 1500, by: 100) {
            let operations = (start..<start + 100).map {
                Transaction.Operation.put(key($0), Array("\($0)".utf8), lease: $0 % 97 == 5 ? lease : nil)
            }
            model.note(operations, at: try await store.commit(Transaction(operations: operations)))
        }
        let writing = Task {
            var random = SeededRandom(seed: seed)
            var count = 0
            while !Task.isCancelled {
                let numbers = Set(
                    (0..<Int.random(in: 1...6, using: &random)).map { _ in
                        Int.random(in: 0..<1600, using: &random)
                    })
                let operations = numbers.map { number -> Transaction.Operation in
                    switch Int.random(in: 0..<8, using: &random) {
                    case 0, 1: .delete(key(number))
                    case 2: .put(key(number), Array("lease \(count)".utf8), lease: lease)
                    default: .put(key(number), Array("\(count)".utf8))
                    }
                }
                model.note(operations, at: try await store.commit(Transaction(operations: operations)))
                count += 1
                if count.isMultiple(of: 10) { try await Task.sleep(for: .microseconds(200)) }
            }
        }
        defer { writing.cancel() }
        var revisions: Set<Revision> = []
        for _ in 0..<6 {
            let snapshot = try await StoreSnapshot.read(store)
            revisions.insert(snapshot.revision)
            // The writer notes a commit a moment after it was made.
            try await waitUntil(.seconds(10)) { model.documents(at: snapshot.revision) != nil }
            let expected = model.documents(at: snapshot.revision)
            #expect(snapshot.documents == expected, "seed \(seed), revision \(snapshot.revision)")
            #expect(snapshot.documents.count > 500)
        }
        #expect(revisions.count > 1, "the writer did nothing")
        writing.cancel()
        try? await writing.value
    }

    @Test(arguments: [1, 2, 3] as [UInt64])
    func `it is one moment's, in memory`(seed: UInt64) async throws {
        try await Self.check(MemoryStore(), seed: seed)
    }

    @Test func `it is one moment's, on SQLite`() async throws {
        let directory = try TemporaryDirectory("snapshot")
        let store = try await SQLiteStore.open(path: directory.appending("store.sqlite"))
        try await Self.check(store, seed: 4)
        try await store.close()
    }
}
