import FoundationEssentials
import Glibc
import Primitives
import ResourceModel
import StoreSQLite

/// Writers that each change a document of their own, one commit after the other.
struct StoreLoad {
    let directory: String
    let writers: Int
    let seconds: Int

    /// The size of a node's document.
    private static let documentSize = 3 << 10

    func measure() async throws -> Report {
        let path = "\(directory)/bench-\(getpid()).sqlite"
        let store = try await SQLiteStore.open(path: path)
        defer { for suffix in ["", "-wal", "-shm", ".lock"] { unlink(path + suffix) } }
        let began = ContinuousClock.now
        let end = began + .seconds(seconds)
        let durations = Collected<Double>()
        let value = [UInt8](repeating: UInt8(ascii: "x"), count: Self.documentSize)
        try await withThrowingTaskGroup(of: Void.self) { group in
            for writer in 0..<writers {
                group.addTask {
                    let key = ResourceKey(kind: "bench.document", name: "writer-\(writer)")
                    var own: [Double] = []
                    while ContinuousClock.now < end {
                        let start = ContinuousClock.now
                        _ = try await store.commit(Transaction(operations: [.put(key, value, lease: nil)]))
                        own.append((ContinuousClock.now - start).inMilliseconds)
                    }
                    durations.add(own)
                }
            }
            try await group.waitForAll()
        }
        let seconds = (ContinuousClock.now - began).inMilliseconds / 1000
        try await store.close()
        return Report("commit", milliseconds: durations.all, seconds: seconds)
    }
}
