import AgentProtocol
import FoundationEssentials
import Identity
import NIOCore
import NIOHTTP1
import NIOSSL
import Primitives
import SwiftASN1
import X509

/// Stands between TLS and HTTP while a connection is new: it has a deadline for all of TLS, upgrade and hello,
/// finds out who the peer is, and keeps why it was refused. Lives on the channel's event loop.
final class AdmissionHandler: ChannelInboundHandler, RemovableChannelHandler {
    typealias InboundIn = ByteBuffer

    /// Why a peer is not let in.
    struct Refusal: Error, Hashable {
        let status: UInt
        let code: String
        let message: String
    }

    private(set) var peer: AgentPeer?
    private(set) var refusal = Refusal(
        status: 426, code: "notAStream", message: "Only WebSocket streams are served here.")

    private let timeout: Duration
    /// Among the newcomers of its address; given back when the connection is admitted, or gone.
    private var place: AddressLimit.Place?
    private let refused: @Sendable (String) -> Void
    private var timer: Scheduled<Void>?
    private var hasUpgraded = false
    private var hasFailed = false

    init(timeout: Duration, place: AddressLimit.Place?, refused: @escaping @Sendable (String) -> Void) {
        self.timeout = timeout
        self.place = place
        self.refused = refused
    }

    func handlerAdded(context: ChannelHandlerContext) {
        let channel = context.channel
        timer = context.eventLoop.assumeIsolated().scheduleTask(in: .milliseconds(timeout.milliseconds)) {
            self.fail("no stream and hello within \(self.timeout)", channel)
        }
    }

    func handlerRemoved(context: ChannelHandlerContext) {
        timer?.cancel()
        timer = nil
        place = nil
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        if hasUpgraded { context.fireErrorCaught(error) } else { fail("\(error)", context.channel) }
    }

    private func fail(_ reason: String, _ channel: any Channel) {
        guard !hasFailed else { return }
        hasFailed = true
        refused(reason)
        channel.close(promise: nil)
    }

    /// Checks an upgrade request; throws `Refusal`, which is also kept for the answer.
    func admit(
        _ head: HTTPRequestHead, on channel: any Channel, isRevoked: (NodeID, _ serial: String) -> Bool
    ) throws(Refusal) {
        do throws(Refusal) {
            guard head.method == .GET, head.uri == AgentStream.path else {
                throw Refusal(status: 404, code: "notFound", message: "The stream is at \(AgentStream.path).")
            }
            let peer = try Self.peer(of: channel)
            guard !isRevoked(peer.node, peer.certificate.serial) else {
                throw Refusal(
                    status: 403, code: "nodeRevoked",
                    message: "This node's certificate is no longer accepted: deploy the node anew.")
            }
            self.peer = peer
            hasUpgraded = true
        } catch {
            refusal = error
            hasFailed = true
            refused("\(error.code)")
            throw error
        }
    }

    private static func peer(of channel: any Channel) throws(Refusal) -> AgentPeer {
        let certificate: Certificate?
        do {
            let handler = try channel.pipeline.syncOperations.handler(type: NIOSSLServerHandler.self)
            certificate = try handler.peerCertificate.map { try Certificate(derEncoded: $0.toDERBytes()) }
        } catch {
            certificate = nil
        }
        guard let certificate, let node = CertificateAuthority.nodeID(of: certificate) else {
            throw Refusal(status: 403, code: "notANode", message: "The certificate is not a node's.")
        }
        return AgentPeer(
            node: node,
            certificate: AgentCertificate(
                serial: Hex.encode(certificate.serialNumber.bytes),
                notBefore: Self.timestamp(certificate.notValidBefore),
                notAfter: Self.timestamp(certificate.notValidAfter),
                authorityKey: (try? certificate.extensions.authorityKeyIdentifier)?.keyIdentifier.map {
                    Hex.encode(Array($0))
                }))
    }

    private static func timestamp(_ date: Date) -> Timestamp {
        Timestamp(millisecondsSinceEpoch: Int64(date.timeIntervalSince1970) * 1000)
    }
}

/// Answers requests that are not upgraded with the reason, and closes.
final class RefusalResponder: ChannelInboundHandler {
    typealias InboundIn = HTTPServerRequestPart
    typealias OutboundOut = HTTPServerResponsePart

    private let refusal: AdmissionHandler.Refusal

    init(_ refusal: AdmissionHandler.Refusal) { self.refusal = refusal }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        guard case .end = Self.unwrapInboundIn(data) else { return }
        let error = ErrorBody(code: refusal.code, message: refusal.message)
        let body = ByteBuffer(bytes: (try? AgentStream.encode(error)) ?? [])
        var head = HTTPResponseHead(version: .http1_1, status: HTTPResponseStatus(statusCode: Int(refusal.status)))
        head.headers.add(name: "Content-Type", value: "application/json")
        head.headers.add(name: "Content-Length", value: String(body.readableBytes))
        head.headers.add(name: "Connection", value: "close")
        if refusal.status == 426 { head.headers.add(name: "Upgrade", value: "websocket") }
        context.write(Self.wrapOutboundOut(.head(head)), promise: nil)
        context.write(Self.wrapOutboundOut(.body(.byteBuffer(body))), promise: nil)
        let channel = context.channel
        context.writeAndFlush(Self.wrapOutboundOut(.end(nil))).whenComplete { _ in channel.close(promise: nil) }
    }
}
