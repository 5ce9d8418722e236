import AgentProtocol
import Dispatch
import NIOCore
import NIOPosix
import Primitives
import Synchronization
import Testing

@testable import NodeAgent

/// A role whose work blocks its thread until it is let go.
private final class StuckModule: RoleModule {
    let role = Role.network
    let itemKinds: Set<String> = []
    let gate = DispatchSemaphore(value: 0)

    func apply(_ items: [String: NodeView.Item]) async -> NodeStatusReport.RoleStatus {
        gate.wait()
        return await check()
    }

    func check() async -> NodeStatusReport.RoleStatus {
        NodeStatusReport.RoleStatus(role: .network, isReady: true, conditions: [])
    }

    func metrics() async -> [MetricsReport.Sample] { [] }
}

@Suite("Role workers", .timeLimit(.minutes(1)))
struct RoleWorkerTests {
    @Test func `a role that hangs is given up, left alone, and taken back`() async throws {
        let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
        let module = StuckModule()
        let worker = RoleWorker(module, on: group.next(), patience: .milliseconds(50))
        let (back, cameBack) = AsyncStream.makeStream(of: Void.self)
        try await withThrowingDiscardingTaskGroup { tasks in
            let (work, spawn) = AsyncStream.makeStream(of: (@Sendable () async -> Void).self)
            tasks.addTask {
                await withDiscardingTaskGroup { group in
                    for await item in work { group.addTask { await item() } }
                }
            }
            let ask = { (body: @escaping @Sendable (any RoleModule) async -> NodeStatusReport.RoleStatus) in
                await worker.ask(
                    spawn: { spawn.yield($0) }, cameBack: { cameBack.yield() }, body)
            }
            #expect(await ask { await $0.apply([:]) } == nil)
            let silence = worker.silence(now: Timestamp(millisecondsSinceEpoch: 1))
            #expect(!silence.isReady)
            #expect(silence.conditions.first?.message.contains("systemctl restart muster-agent") == true)
            // Still busy: it is not asked a second time, and nobody waits for it.
            #expect(await ask { await $0.check() } == nil)
            module.gate.signal()
            #expect(await back.first { true } != nil)
            let patient = RoleWorker(module, on: group.next(), patience: .seconds(60))
            let answer = await patient.ask(spawn: { spawn.yield($0) }, cameBack: {}) { await $0.check() }
            #expect(answer?.isReady == true)
            spawn.finish()
        }
        try await group.shutdownGracefully()
    }
}
