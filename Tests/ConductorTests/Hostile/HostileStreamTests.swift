import AgentProtocol
import CatalogBareMetal
import CatalogIdentity
import Crypto
import Foundation
import Glibc
import Identity
import NIOCore
import NodeTransport
import Primitives
import ResourceModel
import StoreSQLite
import SwiftASN1
import Synchronization
import Testing
import WebSocketMessages
import X509

@testable import ConductorServer

/// An agent with a valid certificate says on its stream whatever could concern another node.
@Suite(.serialized, .enabled(if: geteuid() == 0, "the conductor needs root")) struct HostileStreamTests {
    /// What is said, by the kind of message; a new kind does not compile before it stands here.
    private static func attempts(_ kind: Kind, _ other: HostileScene.Member) throws -> [AgentMessage] {
        switch kind {
        case .hello:
            let hello = AgentHello(
                agentVersion: other.name, bootID: other.bootID, roles: Role.allCases, viewRevision: Revision(.max))
            return [.hello(hello)]
        case .status:
            let roles = [NodeStatusReport.RoleStatus(role: .network, isReady: false, conditions: [])]
            // Generations that are over, and that never were.
            return [Generation(0), Generation(.max)].map {
                .status(.init(observedRevision: Revision(.max), observedGeneration: $0, roles: roles, addresses: []))
            }
        case .metrics:
            let sample = MetricsReport.Sample(name: "stolen", labels: ["node": other.name], value: 1)
            return [Timestamp(millisecondsSinceEpoch: .min), Timestamp(millisecondsSinceEpoch: .max)].map {
                .metrics(MetricsReport(time: $0, samples: [sample]))
            }
        case .logs:
            let line = LogBatch.Line(time: SystemWallClock().now, level: "info", text: "stolen")
            return ["../\(other.id)/network-agent", "\(other.id)", "console", "network-agent\u{0}"].map {
                .logs(LogBatch(source: $0, lines: [line]))
            }
        case .renew:
            return [
                .renew(signingRequest: try HostileScene.signingRequest(for: other.id.raw)), .renew(signingRequest: "x"),
            ]
        case .secrets:
            let requests = [
                try HostileScene.signingRequest(for: other.id.raw), "x", String(repeating: "A", count: 1 << 20),
            ]
            return requests.map { .secrets(ControllerSecretsRequest(signingRequest: $0)) }
        }
    }

    private enum Kind: CaseIterable {
        case hello, status, metrics, logs, renew, secrets

        /// Keeps `Kind` complete.
        init(_ message: AgentMessage) {
            switch message {
            case .hello: self = .hello
            case .status: self = .status
            case .metrics: self = .metrics
            case .logs: self = .logs
            case .renew: self = .renew
            case .secrets: self = .secrets
            }
        }
    }

    /// Texts that are no messages of an agent, or name a node where none is asked for.
    private static func texts(_ other: HostileScene.Member) -> [String] {
        [
            #"{"view":{"_0":{"generation":1,"items":{},"revision":1,"schemaVersion":1}}}"#,
            #"{"goodbye":{"message":"x","retryAfterSeconds":null}}"#,
            #"{"node":"\#(other.id)","renew":{"signingRequest":"x"}}"#, #"{"delete":{"node":"\#(other.id)"}}"#,
            "[", "null", "\"\"", String(repeating: "[", count: 100_000), "\u{FEFF}{}",
        ]
    }

    @Test(.timeLimit(.minutes(2))) func `a stream concerns its own node only, whatever is said on it`() async throws {
        try await HostileScene.with { scene in
            let heard = Mutex<[ConductorMessage]>([])
            let quiet = try await scene.stream(scene.other.identity)
            let reader = Task {
                for await text in quiet.messages {
                    if let message = try? AgentStream.decode(ConductorMessage.self, from: text.readableBytesView) {
                        heard.withLock { $0.append(message) }
                    }
                }
            }
            try quiet.say(.hello(.init(agentVersion: "1", bootID: "b", roles: [.network], viewRevision: .zero)))
            try await Self.wait { heard.withLock { $0.count >= 2 } }
            try await Self.wait { (try? await scene.node(scene.other).status.agent?.isConnected) == true }
            let before = try await scene.node(scene.other)
            let known = heard.withLock { $0.count }

            let stream = try await scene.stream(scene.taken.identity)
            try stream.say(.hello(.init(agentVersion: "1", bootID: "b", roles: [.network], viewRevision: .zero)))
            for kind in Kind.allCases {
                for message in try Self.attempts(kind, scene.other) {
                    #expect(Kind(message) == kind)
                    try stream.say(message)
                }
            }
            for text in Self.texts(scene.other) { try? stream.send(ByteBuffer(string: text)) }
            // The conductor has taken in all of it once it has answered the last.
            try stream.say(.renew(signingRequest: try HostileScene.signingRequest(for: scene.other.id.raw)))
            var certificates: [String] = []
            var secrets: [ControllerSecretsReply] = []
            for await text in stream.messages {
                switch try AgentStream.decode(ConductorMessage.self, from: text.readableBytesView) {
                case .certificate(let reply): certificates.append(reply.certificateChain)
                case .secrets(let reply): secrets.append(reply)
                default: continue
                }
                if certificates.count == 2 { break }
            }
            #expect(secrets.count == 3, "each request for a controller's secrets is answered")
            for reply in secrets {
                if case .granted = reply { Issue.record("a node that is no controller was given its secrets") }
            }
            #expect(certificates.count == 2, "a renewal for the own node is granted")
            for pem in certificates {
                #expect(CertificateAuthority.nodeID(of: try Certificate(pemEncoded: pem)) == scene.taken.id)
            }

            #expect(try await scene.node(scene.other) == before, "the other node is as it was")
            #expect(heard.withLock { $0.count } == known, "the other's stream was sent nothing")
            #expect(quiet.end == nil, "the other's stream is open")
            #expect(
                try await scene.store.list(kind: NodeEvent.kind, after: nil, limit: 200).documents
                    .allSatisfy {
                        !$0.key.name.hasPrefix(scene.other.id.raw)
                            || !String(decoding: $0.value, as: UTF8.self).contains("stolen")
                    })
            let renewed = try await scene.audit.events().events.filter { $0.spec.verb == "renew" }
            #expect(renewed.allSatisfy { $0.spec.resource == Node.key(scene.taken.id.raw) } && !renewed.isEmpty)
            stream.close(reason: "done")
            quiet.close(reason: "done")
            await reader.value
        }
    }

    @Test(.timeLimit(.minutes(2))) func `only the stream's own path, with a certificate of this site, is served`()
        async throws
    {
        try await HostileScene.with { scene in
            for path in [
                "/", "/agent/v1/stream/\(scene.other.id)", "/agent/v1/stream?node=\(scene.other.id)",
                "/agent/v1/../v1/stream", "/fleet/v1/nodes",
            ] {
                await #expect(throws: TransportError.self, "\(path)") {
                    try await scene.stream(scene.taken.identity, path: path)
                }
            }
            await #expect(throws: (any Error).self, "no certificate") {
                try await Self.use(try await scene.stream(nil))
            }
            let key = P256.Signing.PrivateKey()
            let stranger = try CertificateAuthority.makeRoot(name: "test")
            let issued = try stranger.issueNode(scene.other.id, signingRequestPEM: try HostileScene.signingRequest(key))
            let forged = ClientIdentity(
                certificateChainPEM: issued.certificatePEM, privateKeyPEM: key.pemRepresentation)
            await #expect(throws: (any Error).self, "another authority") {
                try await Self.use(try await scene.stream(forged))
            }
            let server = try scene.authority.issueServer(dnsNames: [scene.other.id.raw], addresses: [])
            let misused = ClientIdentity(
                certificateChainPEM: server.certificatePEM, privateKeyPEM: server.privateKeyPEM)
            await #expect(throws: (any Error).self, "a server's certificate") {
                try await Self.use(try await scene.stream(misused))
            }
            #expect(try await scene.node(scene.other).status.agent == nil)
        }
    }

    /// With TLS 1.3 a client hears only with its first read that its certificate is refused.
    private static func use(_ stream: WebSocketConnection) async throws {
        for await _ in stream.messages {}
        throw TransportError(.closed, try Endpoint(host: "127.0.0.1", port: 1), "\(stream.end.map { "\($0)" } ?? "")")
    }

    private static func wait(_ condition: @Sendable () async throws -> Bool) async throws {
        for _ in 0..<500 {
            if try await condition() { return }
            try await Task.sleep(for: .milliseconds(20))
        }
        Issue.record("nothing came in 10 s")
    }
}

extension WebSocketConnection {
    fileprivate func say(_ message: AgentMessage) throws { try send(ByteBuffer(bytes: AgentStream.encode(message))) }
}
