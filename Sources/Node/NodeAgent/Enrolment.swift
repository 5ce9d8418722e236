import AgentProtocol
import NIOCore
import NodeTransport
import Primitives

/// Gets a node's first certificate with its one-time token.
struct Enrolment: Sendable {
    let directory: AgentDirectory
    let group: any EventLoopGroup

    /// Posts the request to one provisioning port and keeps what it answers; throws `EnrolmentFailure`.
    ///
    /// The key is kept before the token is used: when the answer is lost, the same request is made again.
    func run(at endpoint: String) async throws(EnrolmentFailure) -> NodeCredentials {
        do {
            let identity = try directory.identity()
            guard let token = identity.token else {
                throw EnrolmentFailure(message: "there is no enrolment token", isRefusal: true)
            }
            let key = try directory.enrolmentKey()
            let request = EnrolmentRequest(
                node: identity.node, token: token, signingRequest: try key.signingRequest(for: identity.node))
            let response = try await HTTPConnection.once(
                HTTPConnection.Request(
                    .post, DiscoveryPath.enrol, headers: [(name: "Content-Type", value: "application/json")],
                    body: ByteBuffer(bytes: AgentStream.encode(request))),
                to: Endpoint(endpoint), security: .tls(trustRootsPEM: directory.authority()),
                limits: TransportLimits(idleTimeout: .seconds(30)), bodyLimit: 256 << 10, on: group)
            guard response.status == 200 || response.status == 201 else { throw Self.failure(response) }
            let reply = try AgentStream.decode(EnrolmentReply.self, from: response.body.readableBytesView)
            let credentials = try NodeCredentials(key: key, chainPEM: reply.certificateChain)
            try directory.store(credentials)
            return credentials
        } catch let failure as EnrolmentFailure {
            throw failure
        } catch {
            throw EnrolmentFailure(message: "\(error)", isRefusal: false)
        }
    }

    private static func failure(_ response: HTTPConnection.Response) -> EnrolmentFailure {
        let body = try? AgentStream.decode(ErrorBody.self, from: response.body.readableBytesView)
        let message = body?.message.printable(limit: 400) ?? "status \(response.status)"
        let isRefusal = (400..<500).contains(response.status) && response.status != 408 && response.status != 429
        return EnrolmentFailure(message: message, isRefusal: isRefusal)
    }
}
