import AgentProtocol
import Glibc
import Identity
import Logging
import NIOPosix
import Primitives
import ResourceModel
import ServiceLifecycle
import StoreSQLite
import Synchronization

/// Looks after the store from beside it: notes how far it has come, and finds out whether its disk takes writes.
final class StoreWatch: Service {
    /// Between two looks.
    static let interval: Duration = .seconds(1)
    /// Between two marks at least: each is two waits for the disk.
    static let markInterval: Duration = .seconds(2)
    /// How long writes have to succeed after one has failed.
    static let calm: Duration = .seconds(5)
    /// What has to be free before a disk that failed is believed: a full one may take a small write and no other.
    static let freeBytesMin = 1_048_576.0

    private let store: SQLiteStore
    private let mark: StoreMarkFile
    private let clock: any WallClock
    private let logger: Logger
    private let state = Mutex(State())

    private struct State {
        var marked: StoreMark?
        var markedAt: ContinuousClock.Instant?
        var isMarkFailing = false
        var failureCount = 0
        /// When a write failed last; nil: the store takes writes.
        var failed: ContinuousClock.Instant?
    }

    init(store: SQLiteStore, mark: StoreMarkFile, clock: any WallClock, logger: Logger) {
        self.store = store
        self.mark = mark
        self.clock = clock
        self.logger = logger
    }

    /// Whether writes succeed, as far as is known.
    var isWritable: Bool { state.withLock { $0.failed == nil && $0.failureCount == store.failures.count } }

    /// Whether the store takes writes, how many it has failed, and how much space its disk has, in bytes.
    var samples: [MetricsReport.Sample] {
        var samples: [MetricsReport.Sample] = [
            .init(name: "muster_store_writable", value: isWritable ? 1 : 0),
            .init(
                name: "muster_store_write_failures_total", value: Double(store.failures.count), isCounter: true),
        ]
        if let space {
            samples += [
                .init(name: "muster_state_disk_free_bytes", value: space.free),
                .init(name: "muster_state_disk_size_bytes", value: space.size),
            ]
        }
        return samples
    }

    /// Bytes of the disk that holds the store; nil: it does not tell.
    private var space: (free: Double, size: Double)? {
        var info = statvfs()
        guard statvfs(mark.storePath, &info) == 0 else { return nil }
        return (Double(info.f_bavail) * Double(info.f_frsize), Double(info.f_blocks) * Double(info.f_frsize))
    }

    /// Looks each second until it is cancelled or shut down.
    func run() async throws {
        try? await cancelWhenGracefulShutdown {
            while true {
                try await Task.sleep(for: Self.interval)
                await self.look()
                let isDue = self.state.withLock { state in
                    state.markedAt.map { .now - $0 >= Self.markInterval } ?? true
                }
                // It waits for the disk, so not on Swift's pool of threads.
                if isDue { try await NIOThreadPool.singleton.runIfActive { self.saveMark() } }
            }
        }
    }

    /// Says once that writes fail, tries one each second while they do, and says when they succeed again.
    func look() async {
        let (count, last) = store.failures
        let now = ContinuousClock.now
        let news: (isNew: Bool, isFailing: Bool, isCalm: Bool) = state.withLock { state in
            let isNew = state.failed == nil && count != state.failureCount
            if count != state.failureCount { (state.failureCount, state.failed) = (count, now) }
            return (isNew, state.failed != nil, state.failed.map { now - $0 >= Self.calm } ?? true)
        }
        if news.isNew { logger.error("the store takes no writes: \(last?.publicMessage ?? "")") }
        guard news.isFailing else { return }
        do { try await store.tryWriting() } catch { return }
        guard news.isCalm, store.failures.count == count, space.map({ $0.free >= Self.freeBytesMin }) ?? true else {
            return
        }
        state.withLock { $0.failed = nil }
        logger.notice("the store takes writes again, at revision \(store.newestRevision)")
    }

    /// Writes down how far the store has come, unless it has come no further. A disk that is full is told of once.
    func saveMark() {
        let next = StoreMark(identity: store.identity, revision: store.newestRevision, time: clock.now)
        let before = state.withLock { $0.marked }
        guard before?.revision != next.revision || before?.identity != next.identity else { return }
        do {
            try mark.save(next)
            state.withLock { ($0.marked, $0.markedAt, $0.isMarkFailing) = (next, .now, false) }
        } catch {
            let isNew = state.withLock { state in
                defer { state.isMarkFailing = true }
                return !state.isMarkFailing
            }
            if isNew { logger.error("\(mark.path) is not written: \(error.publicMessage)") }
        }
    }
}
