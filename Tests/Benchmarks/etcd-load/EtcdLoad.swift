import FoundationEssentials
import Logging
import Primitives
import ResourceModel
import StoreEtcd
import Synchronization

/// The same work through the store and by the bare stubs.
struct EtcdLoad {
    private let configuration: EtcdConfiguration
    private let store: EtcdStore
    private let raw: RawEtcd
    private let seconds: Int
    private static let value = [UInt8](repeating: UInt8(ascii: "x"), count: 1 << 10)
    private static let quiet = Logger(label: "etcd-load") { _ in SwiftLogNoOpLogHandler() }

    init(_ configuration: EtcdConfiguration, seconds: Int) async throws {
        self.configuration = configuration
        self.seconds = seconds
        store = try await EtcdStore.open(configuration, logger: Self.quiet)
        raw = try RawEtcd(configuration)
    }

    func close() async throws {
        raw.close()
        try await store.close()
    }

    func measure(_ callers: Int) async throws {
        let (store, raw) = (store, raw)
        try await compare("commit", callers) { caller in
            let key = ResourceKey(kind: "bench.document", name: "writer-\(caller)")
            let revision = Mutex(try await store.get(key)?.revision)
            return {
                let last = revision.withLock { $0 }
                let next = try await store.commit(
                    Transaction(
                        conditions: [last.map { .unchanged(key, since: $0) } ?? .absent(key)],
                        operations: [.put(key, Self.value)]))
                revision.withLock { $0 = next }
            }
        } raw: { caller in
            let key = Data("/raw/writer-\(caller)".utf8)
            let revision = Mutex(try await raw.revision(of: key))
            return {
                let next = try await raw.write(key, Data(Self.value), after: revision.withLock { $0 })
                revision.withLock { $0 = next }
            }
        }
        try await compare("barrier", callers) { _ in
            { _ = try await store.currentRevision() }
        } raw: { _ in
            { _ = try await raw.revision(of: Data("/raw/mark".utf8)) }
        }
    }

    private typealias Work = @Sendable () async throws -> Void

    private func compare(
        _ what: String, _ callers: Int, store: @escaping @Sendable (Int) async throws -> Work,
        raw: @escaping @Sendable (Int) async throws -> Work
    ) async throws {
        var durations: [String: [Double]] = [:]
        var spent: [String: Double] = [:]
        let ways = [("store", store), ("raw", raw)]
        let rounds = 4
        for round in 0..<rounds {
            for (name, way) in round.isMultiple(of: 2) ? ways : ways.reversed() {
                let (found, time) = try await time(callers, .milliseconds(seconds * 1000 / rounds), way)
                durations[name, default: []] += found
                spent[name, default: 0] += time
            }
        }
        for name in ["store", "raw"] {
            try Report(
                "etcd-\(what)-\(name)-\(callers)", milliseconds: durations[name] ?? [], seconds: spent[name] ?? 0
            ).write()
        }
    }

    private func time(
        _ callers: Int, _ limit: Duration, _ way: @escaping @Sendable (Int) async throws -> Work
    ) async throws -> ([Double], Double) {
        let collected = Collected<Double>()
        var works: [Work] = []
        for caller in 0..<callers { works.append(try await way(caller)) }
        let began = ContinuousClock.now
        let end = began + limit
        try await withThrowingTaskGroup(of: Void.self) { group in
            for work in works {
                group.addTask {
                    var own: [Double] = []
                    while ContinuousClock.now < end {
                        let start = ContinuousClock.now
                        try await work()
                        own.append((ContinuousClock.now - start).inMilliseconds)
                    }
                    collected.add(own)
                }
            }
            try await group.waitForAll()
        }
        return (collected.all, (ContinuousClock.now - began).inMilliseconds / 1000)
    }

    /// From a commit's acknowledgement on one store to its arrival in a watch of another; negative ones count as none.
    func measureLag() async throws {
        let reader = try await EtcdStore.open(configuration, logger: Self.quiet)
        let key = ResourceKey(kind: "bench.lag", name: "a")
        var lags: [Double] = []
        var batches = await reader.watch(after: try await reader.currentRevision()).makeAsyncIterator()
        let began = ContinuousClock.now
        while began.duration(to: .now) < .seconds(seconds) {
            let revision = try await store.commit(Transaction(operations: [.put(key, Self.value)]))
            let acknowledged = ContinuousClock.now
            while let batch = try await batches.next(), batch.revision < revision { continue }
            lags.append((ContinuousClock.now - acknowledged).inMilliseconds)
        }
        try Report("etcd-watch-lag", milliseconds: lags, seconds: Double(seconds)).write()
        try await reader.close()
    }

    /// What a fresh conductor waits for before it serves: open, list everything, open the watch.
    func measureStart(_ count: Int) async throws {
        for part in stride(from: 0, to: count, by: 100) {
            _ = try await store.commit(
                Transaction(
                    operations: (part..<min(part + 100, count)).map {
                        .put(ResourceKey(kind: "bench.start", name: "n\($0)"), Self.value)
                    }))
        }
        let began = ContinuousClock.now
        let fresh = try await EtcdStore.open(configuration, logger: Self.quiet)
        var after: ResourceKey?
        var found = 0
        while true {
            let page = try await fresh.list(kind: "bench.start", after: after, limit: StoreLimits.pageCountMax)
            found += page.documents.count
            after = page.documents.last?.key
            guard page.hasMore else { break }
        }
        guard found == count else { throw LoadError("\(found) of \(count) documents were listed") }
        let time = (ContinuousClock.now - began).inMilliseconds
        try Report("etcd-start-\(count)", milliseconds: [time], seconds: time / 1000).write()
        try await fresh.close()
    }
}
