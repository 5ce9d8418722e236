import AgentProtocol
import AsyncHTTPClient
import CatalogIdentity
import Crypto
import Glibc
import Identity
import NIOCore
import NIOHTTP1
import NodeTransport
import Primitives
import ResourceModel
import Testing
import WebSocketMessages

@testable import ConductorServer

/// From the one-time token to the agent's first stream.
@Suite(.serialized, .enabled(if: geteuid() == 0, "the conductor needs root")) struct EnrolmentTests {
    @Test(.timeLimit(.minutes(2))) func `a certificate is good at the moment when the agent has it`() async throws {
        try await HostileScene.with { scene in
            let clock = SystemWallClock()
            // From the first revocation on only certificates that are on the list are taken.
            let register = CertificateRegister(store: scene.store, clock: clock)
            try await register.revokeAll(of: scene.other.id, by: "test", reason: "stolen")
            try await scene.withClient { client in
                for number in 1...20 {
                    try await register.beginDeployment(
                        of: scene.other.id, trusting: [scene.authority.fingerprint],
                        until: clock.now.advanced(by: .seconds(60)))
                    let token = try await scene.tokens.make(
                        for: scene.other.id, generation: Generation(1), now: clock.now)
                    let key = P256.Signing.PrivateKey()
                    let enrolment = EnrolmentRequest(
                        node: scene.other.id, token: token.revealed,
                        signingRequest: try HostileScene.signingRequest(key, for: scene.other.id.raw))
                    var request = HTTPClientRequest(url: "https://127.0.0.1:\(scene.ports[2])\(DiscoveryPath.enrol)")
                    request.method = .POST
                    request.headers.add(name: "Content-Type", value: "application/json")
                    request.body = .bytes(ByteBuffer(bytes: try AgentStream.encode(enrolment)))
                    let answer = try await client.execute(request, timeout: .seconds(20))
                    let body = try await answer.body.collect(upTo: 1 << 16)
                    try #require(answer.status == .ok, "\(number): \(String(buffer: body))")
                    let reply = try AgentStream.decode(EnrolmentReply.self, from: body.readableBytesView)
                    let stream = try await scene.stream(
                        ClientIdentity(
                            certificateChainPEM: reply.certificateChain, privateKeyPEM: key.pemRepresentation))
                    stream.abort(.lost("the test goes on"))
                }
            }
        }
    }
}
