import NIOCore
import NIOPosix

extension EtcdAddress {
    /// Whether somebody takes a connection there; it is closed at once, and nothing else is known of them.
    func takesConnections(within limit: Duration) async -> Bool {
        let bootstrap = ClientBootstrap(group: MultiThreadedEventLoopGroup.singleton).connectTimeout(TimeAmount(limit))
        guard let channel = try? await bootstrap.connect(host: host, port: port).get() else { return false }
        try? await channel.close()
        return true
    }
}
