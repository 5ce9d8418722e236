import AgentProtocol
import Glibc
import NIOCore
import NIOHTTP1
import NIOSSL
import NIOWebSocket
import Primitives
import WebSocketMessages

/// bind(2): another socket has the address.
let addressInUse = EADDRINUSE

extension AgentPortServer {
    /// Sets up a new connection: TLS with the certificates of this moment, then HTTP/1.1, then the upgrade.
    func configure(_ channel: any Channel) throws {
        guard let place = newcomers.take(channel.remoteAddress?.ipAddress ?? "unknown"), enter(channel) else {
            channel.close(promise: nil)
            return
        }
        let pipeline = channel.pipeline.syncOperations
        let address = channel.remoteAddress.map { "\($0)" } ?? "unknown"
        try pipeline.addHandler(NIOSSLServerHandler(context: tls.context))
        try pipeline.addHandler(
            AdmissionHandler(timeout: configuration.admissionTimeout, place: place) { [weak self] reason in
                self?.refused(reason, address)
            })
        var http = NIOUpgradableHTTPServerPipelineConfiguration(
            upgradeConfiguration: NIOTypedHTTPServerUpgradeConfiguration(
                upgraders: [upgrader],
                notUpgradingCompletionHandler: { channel in
                    channel.eventLoop.makeCompletedFuture { () -> AgentSession? in
                        let pipeline = channel.pipeline.syncOperations
                        let admission = try pipeline.handler(type: AdmissionHandler.self)
                        try pipeline.addHandler(RefusalResponder(admission.refusal))
                        return nil
                    }
                }))
        http.enablePipelining = false
        let upgraded = try pipeline.configureUpgradableHTTPServerPipeline(configuration: http)
        upgraded.whenSuccess { [acceptedEnd] session in
            guard let session else { return }
            if case .enqueued = acceptedEnd.yield(session) { return }
            session.connection.abort(.lost("the port stops"))
        }
    }

    private var upgrader: NIOTypedWebSocketServerUpgrader<AgentSession?> {
        NIOTypedWebSocketServerUpgrader(
            maxFrameSize: configuration.stream.messageSizeMax, enableAutomaticErrorHandling: false,
            shouldUpgrade: { [isRevoked] channel, head in
                channel.eventLoop.makeCompletedFuture {
                    let admission = try channel.pipeline.syncOperations.handler(type: AdmissionHandler.self)
                    try admission.admit(head, on: channel, isRevoked: isRevoked)
                    return HTTPHeaders()
                }
            },
            upgradePipelineHandler: { channel, _ in
                channel.eventLoop.makeCompletedFuture {
                    let admission = try channel.pipeline.syncOperations.handler(type: AdmissionHandler.self)
                    guard let peer = admission.peer else { return nil }
                    let connection = try WebSocketConnection.install(
                        on: channel, side: .server, limits: self.configuration.stream)
                    return self.makeSession(peer, connection)
                }
            })
    }
}
