import GRDB
import Primitives
import ResourceModel
import Synchronization

/// The one writer: gathers what is handed in while the disk is busy into the next transaction of the engine.
final class SQLiteWriter: Sendable {
    private struct Job: Sendable {
        /// Makes the change and returns what to do once it is on the disk.
        let apply: @Sendable (inout SQLiteWriting) throws -> @Sendable () -> Void
        let fail: @Sendable (StoreError) -> Void
    }

    private struct State {
        var jobs = FIFO<Job>()
        var isRunning = false
        var isClosed = false
    }

    private let state = Mutex(State())
    private let position: Mutex<StorePosition>
    private let failed = Mutex<(count: Int, last: StoreError?)>((0, nil))
    private let pool: DatabasePool
    private let leases: LeaseTable
    private let hub: WatchHub
    private let clock: any WallClock
    private let path: String
    private let options: SQLiteStoreOptions

    init(
        pool: DatabasePool, position: StorePosition, leases: LeaseTable, hub: WatchHub, clock: any WallClock,
        path: String, options: SQLiteStoreOptions
    ) {
        self.pool = pool
        self.position = Mutex(position)
        self.leases = leases
        self.hub = hub
        self.clock = clock
        self.path = path
        self.options = options
    }

    /// The newest commit that is on the disk.
    var revision: Revision { position.withLock { $0.revision } }

    /// The groups that the engine has failed, and why it failed the last.
    var failures: (count: Int, last: StoreError?) { failed.withLock { $0 } }

    /// Makes a change; returns or throws when it is decided and on the disk.
    ///
    /// `change` throws `StoreError` before it has written anything, or the engine's error, which fails its group.
    func submit<Result: Sendable>(
        _ change: @escaping @Sendable (inout SQLiteWriting) throws -> Result
    ) async throws(StoreError) -> Result {
        let result = await withCheckedContinuation {
            (done: CheckedContinuation<Swift.Result<Result, StoreError>, Never>) in
            enqueue(
                Job {
                    let result = try change(&$0)
                    return { done.resume(returning: .success(result)) }
                } fail: {
                    done.resume(returning: .failure($0))
                })
        }
        return try result.get()
    }

    /// Refuses further changes and returns when those handed in before are decided.
    func close() async {
        state.withLock { $0.isClosed = true }
        await withCheckedContinuation { done in
            pool.asyncWriteWithoutTransaction { _ in done.resume() }
        }
    }

    private func enqueue(_ job: Job) {
        let (refusal, isFirst) = state.withLock { state -> (StoreError?, Bool) in
            if state.isClosed { return (.unavailable("it has been closed"), false) }
            guard state.jobs.count < options.pendingCountMax else {
                return (
                    .limitExceeded("\(options.pendingCountMax) changes wait for the disk already; try again"), false
                )
            }
            state.jobs.append(job)
            defer { state.isRunning = true }
            return (nil, !state.isRunning)
        }
        if let refusal { return job.fail(refusal) }
        if isFirst { pool.asyncWriteWithoutTransaction { self.work($0) } }
    }

    private func work(_ db: Database) {
        while true {
            let jobs = state.withLock { state -> [Job] in
                var jobs: [Job] = []
                while jobs.count < options.groupCountMax, let job = state.jobs.popFirst() { jobs.append(job) }
                if jobs.isEmpty { state.isRunning = false }
                return jobs
            }
            if jobs.isEmpty { return }
            perform(jobs, db)
        }
    }

    private func perform(_ jobs: [Job], _ db: Database) {
        var writing = SQLiteWriting(db: db, position: position.withLock { $0 }, leases: leases, now: clock.now)
        var acknowledgements: [@Sendable () -> Void] = []
        do {
            try db.inTransaction(.immediate) {
                for job in jobs {
                    do {
                        acknowledgements.append(try job.apply(&writing))
                    } catch let error as StoreError {
                        acknowledgements.append { job.fail(error) }
                    }
                }
                try writing.finish(historyCountMax: options.historyCountMax)
                return .commit
            }
        } catch {
            let failure = StoreError.engine(error, path: path)
            failed.withLock { $0 = ($0.count + 1, failure) }
            for job in jobs { job.fail(failure) }
            return
        }
        position.withLock { $0 = writing.position }
        leases.apply(granted: writing.granted, ended: writing.ended, now: clock.now)
        for batch in writing.batches { hub.publish(batch) }
        for acknowledge in acknowledgements { acknowledge() }
    }
}
