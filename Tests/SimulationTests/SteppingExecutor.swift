import Foundation

/// Runs tasks on the thread that steps the simulation, and only while it is told to.
///
/// A task that prefers it never runs by itself: what it does between two waits happens inside `settle()`, in the order in
/// which it became possible.
final class SteppingExecutor: TaskExecutor, @unchecked Sendable {
    // SAFETY: `jobs`, `returning` and `abroad` are touched with `condition` locked only.
    private let condition = NSCondition()
    private var jobs: [UnownedJob] = []
    /// What goes on with a task that was abroad; before anything else, so that two are never abroad at once.
    private var returning: [UnownedJob] = []
    private var abroad = 0

    func enqueue(_ job: consuming ExecutorJob) {
        let job = UnownedJob(job)
        condition.withLock {
            if abroad > 0 { returning.append(job) } else { jobs.append(job) }
            condition.signal()
        }
    }

    /// Begins a task that is stepped here.
    func begin(_ body: @escaping @Sendable () async -> Void) {
        _ = Task(executorPreference: self) { await body() }
    }

    /// Runs all tasks until each of them waits for something that the simulation has to do.
    func settle() {
        while let job = next() { job.runSynchronously(on: asUnownedTaskExecutor()) }
    }

    /// Waits for work on another thread (a disk's); `settle` does not return before it is done.
    func abroad<Value: Sendable, Failure: Error>(
        _ body: () async throws(Failure) -> Value
    ) async throws(Failure) -> Value {
        condition.withLock { abroad += 1 }
        defer { condition.withLock { abroad -= 1 } }
        return try await body()
    }

    private func next() -> UnownedJob? {
        condition.withLock {
            while returning.isEmpty, abroad > 0 { condition.wait() }
            if !returning.isEmpty { return returning.removeFirst() }
            return jobs.isEmpty ? nil : jobs.removeFirst()
        }
    }
}
