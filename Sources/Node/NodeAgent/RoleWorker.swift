import AgentProtocol
import NIOCore
import Primitives
import Synchronization

/// One role module, a thread of its own, and a limit on how long the agent waits for it.
///
/// A module that hangs in the kernel or in a library holds up neither the stream nor the other roles: its role is told
/// to be not ready, and it is left alone until it has come back.
final class RoleWorker: Sendable {
    /// The condition that says that a module does not answer.
    static let conditionType = Condition.roleResponsive

    let module: any RoleModule
    private let thread: LoopExecutor
    private let patience: Duration
    private let isBusy = Atomic(false)

    /// A worker that runs `module` on the thread of `loop` and gives up waiting after `patience`.
    init(_ module: any RoleModule, on loop: any EventLoop, patience: Duration) {
        self.module = module
        self.patience = patience
        thread = LoopExecutor(loop: loop)
    }

    /// Has the module do something; nil when it is still busy with what it was asked before, or takes too long.
    ///
    /// `spawn` runs the work beside the caller; `cameBack` is called when the module ends after it was given up.
    func ask<Answer: Sendable>(
        spawn: (@escaping @Sendable () async -> Void) -> Void, cameBack: @escaping @Sendable () async -> Void,
        _ work: @escaping @Sendable (any RoleModule) async -> Answer
    ) async -> Answer? {
        guard !isBusy.exchange(true, ordering: .acquiringAndReleasing) else { return nil }
        let (answers, continuation) = AsyncStream.makeStream(of: Answer.self)
        spawn { [self] in
            let answer = await withTaskExecutorPreference(thread) { await work(module) }
            isBusy.store(false, ordering: .releasing)
            if case .terminated = continuation.yield(answer) { await cameBack() }
        }
        return await withTaskGroup(of: Answer?.self) { group in
            group.addTask { await answers.first { _ in true } }
            group.addTask { [patience] in
                try? await Task.sleep(for: patience)
                return nil
            }
            let first = await group.next() ?? nil
            group.cancelAll()
            return first
        }
    }

    /// What is reported of a module that does not answer.
    func silence(now: Timestamp) -> NodeStatusReport.RoleStatus {
        let message =
            "The \(module.role) role has not answered for \(patience.components.seconds) s; what it made stays. "
            + "Look at the agent's logs and the kernel's, and restart the agent: systemctl restart muster-agent."
        return NodeStatusReport.RoleStatus(
            role: module.role, isReady: false,
            conditions: [Condition(type: Self.conditionType, isTrue: false, message: message, since: now)])
    }
}

/// Runs tasks on an event loop's thread.
final class LoopExecutor: TaskExecutor {
    private let loop: any EventLoop

    init(loop: any EventLoop) { self.loop = loop }

    func enqueue(_ job: consuming ExecutorJob) {
        let job = UnownedJob(job)
        let executor = asUnownedTaskExecutor()
        loop.execute { job.runSynchronously(on: executor) }
    }
}
