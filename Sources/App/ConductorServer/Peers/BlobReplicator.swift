import AgentProtocol
import BlobStore
import CatalogBareMetal
import Logging
import Primitives
import ReconcileRuntime
import ServiceLifecycle
import Synchronization

/// Brings this conductor the blobs that the placement wants on it: those of manifests that others have made current, and
/// those that a conductor that is gone had.
struct BlobReplicator: Service {
    /// How often it is looked whether the conductors or the catalog have changed.
    static let interval: Duration = .seconds(2)
    /// The longest time between two rounds, of which the first is at the start.
    static let roundInterval: Duration = .seconds(600)
    /// The shortest time between two rounds while the catalog changes all the time.
    static let pause: Duration = .seconds(5)
    /// Blobs that are fetched at once.
    static let fetchesMax = 4

    let catalog: LiveCatalog
    let blobs: SiteBlobs
    let figures: BlobFigures
    let logger: Logger
    /// The bytes a second that are fetched at most.
    var bytesPerSecond: UInt64 = 200 << 20

    func run() async throws {
        try? await cancelWhenGracefulShutdown {
            let changed = Changed()
            try await withThrowingTaskGroup(of: Void.self) { group in
                group.addTask { [catalog] in
                    for await _ in catalog.cache.changes(of: [NodeImage.self, Ramdisk.self, Node.self]) {
                        changed.set()
                    }
                }
                group.addTask { try await self.follow(changed) }
                defer { group.cancelAll() }
                try await group.next()
            }
        }
    }

    private func follow(_ changed: Changed) async throws {
        var names: [String]?
        var last: ContinuousClock.Instant?
        while true {
            let now = blobs.placement.names
            let since = last.map { .now - $0 } ?? Self.roundInterval
            let isDue = names != now || since >= Self.roundInterval || (since >= Self.pause && changed.isSet)
            if isDue {
                (names, last) = (now, .now)
                changed.clear()
                do { try await round() } catch let error as CancellationError { throw error } catch {
                    logger.warning("blobs: \((error as? any UserFacingError)?.publicMessage ?? "\(error)")")
                    changed.set()
                }
            }
            try await Task.sleep(for: Self.interval)
        }
    }

    /// Fetches what shall be here and is not, once.
    func round() async throws {
        try await catalog.cache.barrier()
        let snapshot = catalog.cache.snapshot()
        guard snapshot.isLoaded else { return }
        let named = try await NamedBlobs.of(snapshot, in: blobs, read: figures.manifests)
        let placement = blobs.placement
        let own = named.all.filter { placement.isHolder(blobs.name, of: $0) }
        let lacking = try await blobs.local.offPool { $0.absent(from: own) }
        figures.note(named: named.all.count, wanted: lacking.count, missing: nil)
        guard !lacking.isEmpty else { return figures.note(named: named.all.count, wanted: 0, missing: 0) }
        let (fetched, missing) = await fetch(lacking.sorted())
        figures.note(named: named.all.count, wanted: lacking.count - fetched, missing: missing)
        logger.notice(
            "blobs: of \(lacking.count) that shall be here \(fetched) were fetched, \(missing) are on no conductor")
    }

    /// Fetches blobs, and tells how many came, and how many no conductor has.
    private func fetch(_ digests: [Digest]) async -> (fetched: Int, missing: Int) {
        let begun = ContinuousClock.now
        let before = blobs.pulled.bytes
        return await withTaskGroup(of: BlobError?.self) { group in
            var rest = digests[...]
            var (fetched, missing) = (0, 0)
            func addNext() {
                guard !Task.isCancelled, let digest = rest.popFirst() else { return }
                group.addTask {
                    do throws(BlobError) {
                        try await blobs.ensure(digest)
                        return nil
                    } catch {
                        return error
                    }
                }
            }
            for _ in 0..<Self.fetchesMax { addNext() }
            while let result = await group.next() {
                switch result {
                case nil: fetched += 1
                case .missing: missing += 1
                case .some(let error): logger.debug("blobs: \(error.publicMessage)")
                }
                // No faster than allowed over the whole round.
                let due = Double(blobs.pulled.bytes - before) / Double(bytesPerSecond)
                let ahead = Duration.seconds(due) - (.now - begun)
                if ahead > .zero { try? await Task.sleep(for: ahead) }
                addNext()
            }
            return (fetched, missing)
        }
    }

    private final class Changed: Sendable {
        private let flag = Mutex(false)

        var isSet: Bool { flag.withLock { $0 } }
        func set() { flag.withLock { $0 = true } }
        func clear() { flag.withLock { $0 = false } }
    }
}

/// How it stands with this conductor's share of the blobs.
final class BlobFigures: Sendable {
    private struct State {
        var named = 0
        var wanted = 0
        var missing = 0
    }

    let manifests = ManifestMemory()
    private let blobs: SiteBlobs
    private let state = Mutex(State())

    init(_ blobs: SiteBlobs) { self.blobs = blobs }

    /// Notes how many blobs the catalog names, how many of them shall be here and are not, and how many of those no
    /// conductor has (nil: as before).
    func note(named: Int, wanted: Int, missing: Int?) {
        state.withLock { state in
            (state.named, state.wanted) = (named, wanted)
            if let missing { state.missing = missing }
        }
    }

    /// The figures, for `/metrics`.
    var samples: [MetricsReport.Sample] {
        let state = state.withLock { $0 }
        let pulled = blobs.pulled
        return [
            .init(name: "muster_blobs_named", value: Double(state.named)),
            .init(name: "muster_blobs_under_replicated", value: Double(state.wanted)),
            .init(name: "muster_blobs_missing", value: Double(state.missing)),
            .init(name: "muster_blobs_pulled_total", value: Double(pulled.count), isCounter: true),
            .init(name: "muster_blobs_pulled_bytes_total", value: Double(pulled.bytes), isCounter: true),
        ]
    }
}
