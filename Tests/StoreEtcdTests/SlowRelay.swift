import NIOCore
import NIOPosix
import Synchronization

/// Passes connections on to a member; what that one says is held back for a while at the beginning of each.
final class SlowRelay: Sendable {
    private typealias Duplex = NIOAsyncChannel<ByteBuffer, ByteBuffer>

    /// Where it takes connections, as an etcd end point.
    let endpoint: String
    private let listener: NIOAsyncChannel<Duplex, Never>
    private let target: Int
    private let silence: Duration
    private let state = Mutex<(count: Int, open: [any Channel])>((0, []))

    /// How many connections it has taken.
    var count: Int { state.withLock { $0.count } }

    private init(to target: Int, silence: Duration) async throws {
        listener = try await ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .bind(host: "127.0.0.1", port: 0) { channel in
                channel.eventLoop.makeCompletedFuture { try Duplex(wrappingChannelSynchronously: channel) }
            }
        endpoint = "https://127.0.0.1:\(listener.channel.localAddress?.port ?? 0)"
        (self.target, self.silence) = (target, silence)
    }

    /// Runs `body` with a relay to this port, which is silent for `silence` on each connection.
    static func with(to port: Int, silence: Duration, _ body: (SlowRelay) async throws -> Void) async throws {
        let relay = try await SlowRelay(to: port, silence: silence)
        let run = Task { try await relay.run() }
        let result: Result<Void, any Error>
        do { result = .success(try await body(relay)) } catch { result = .failure(error) }
        run.cancel()
        _ = await run.result
        try result.get()
    }

    /// Ends all connections.
    func cut() {
        for channel in state.withLock({ $0.open }) { channel.close(promise: nil) }
    }

    private func run() async throws {
        try await listener.executeThenClose { near in
            try await withThrowingDiscardingTaskGroup { group in
                for try await connection in near { group.addTask { try? await self.pass(connection) } }
            }
        }
    }

    private func pass(_ near: Duplex) async throws {
        let far = try await ClientBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .connect(host: "127.0.0.1", port: target) { channel in
                channel.eventLoop.makeCompletedFuture { try Duplex(wrappingChannelSynchronously: channel) }
            }
        state.withLock { state in
            state.count += 1
            state.open = state.open.filter(\.isActive) + [near.channel, far.channel]
        }
        let begun = ContinuousClock.now
        try await near.executeThenClose { nearIn, nearOut in
            try await far.executeThenClose { farIn, farOut in
                try await withThrowingTaskGroup(of: Void.self) { group in
                    group.addTask { for try await bytes in nearIn { try await farOut.write(bytes) } }
                    group.addTask {
                        for try await bytes in farIn {
                            try await Task.sleep(until: begun + self.silence)
                            try await nearOut.write(bytes)
                        }
                    }
                    // Whoever ends first ends the other.
                    try await group.next()
                    group.cancelAll()
                }
            }
        }
    }
}
