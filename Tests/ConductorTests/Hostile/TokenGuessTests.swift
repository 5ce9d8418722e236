import APISupport
import AgentProtocol
import BootServer
import CatalogIdentity
import Glibc
import HTTPTypes
import Hummingbird
import HummingbirdCore
import Identity
import Logging
import NIOCore
import NIOEmbedded
import Primitives
import ResourceModel
import StoreSQLite
import Testing

@testable import ConductorServer

/// Tokens that are guessed, and TLS that is weak.
@Suite(.serialized, .enabled(if: geteuid() == 0, "the conductor needs root")) struct TokenGuessTests {
    private static func status(
        _ responder: some HTTPResponder<FleetRequestContext>, _ method: HTTPRequest.Method, _ path: String,
        _ token: String? = nil, body: String = ""
    ) async throws -> Int {
        var headers: HTTPFields = [.contentType: "application/json"]
        if let token { headers[.authorization] = "Bearer \(token)" }
        let request = Request(
            head: HTTPRequest(method: method, scheme: "https", authority: "x", path: path, headerFields: headers),
            body: RequestBody(buffer: ByteBuffer(string: body)))
        let logger = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
        let context = FleetRequestContext(
            source: ApplicationRequestContextSource(channel: EmbeddedChannel(), logger: logger))
        do { return Int(try await responder.respond(to: request, context: context).status.code) } catch {
            return Int(APIError(error, requestID: "x").status.code)
        }
    }

    @Test(.timeLimit(.minutes(3))) func `a hundred thousand guessed tokens open nothing and leave nothing behind`()
        async throws
    {
        try await HostileScene.with { scene in
            let machines = scene.parts.provisioningRouter().buildResponder()
            let operators = scene.parts.operatorRouter().buildResponder()
            var count = 0
            func guess() -> String {
                count += 1
                let digits = String(count)
                return String(repeating: "7", count: 64 - digits.count) + digits
            }
            let known = try await scene.operators.make(name: "known", role: .admin).revealed
            let request = try HostileScene.signingRequest()
            let orders = "\(DiscoveryPath.orders)?wait=0"
            #expect(try await Self.status(machines, .get, orders, scene.taken.session) == 200)
            let revision = try await scene.store.currentRevision()
            let memory = try ProcessMemory(of: getpid())
            let opened = (0..<90_000).count { _ in scene.operators.verify(guess()) != nil }
            #expect(opened == 0)
            for _ in 0..<5_000 {
                let answer = try await Self.status(operators, .get, "/fleet/v1/nodes", guess())
                try #require(answer == 401, "the API answered \(answer)")
            }
            for _ in 0..<4_000 {
                let answer = try await Self.status(machines, .get, orders, "\(scene.other.id).\(guess())")
                try #require(answer == 401, "orders were answered with \(answer)")
            }
            let live = try await scene.tokens.make(
                for: scene.other.id, generation: Generation(1), now: SystemWallClock().now)
            for _ in 0..<1_000 {
                let enrolment = EnrolmentRequest(
                    node: scene.other.id, token: "\(scene.other.id).\(guess())", signingRequest: request)
                let body = String(decoding: try AgentStream.encode(enrolment), as: UTF8.self)
                let answer = try await Self.status(machines, .post, DiscoveryPath.enrol, body: body)
                try #require(answer == 403, "an enrolment was answered with \(answer)")
            }
            let written = try await scene.store.currentRevision().number - revision.number
            #expect(written <= 3, "one token, and one refusal a minute: \(written) commits")
            #expect(try ProcessMemory(of: getpid()).peak - memory.peak <= 64)
            #expect(
                try await Self.status(machines, .get, orders, scene.taken.session) == 200, "the right ones still do")
            #expect(scene.operators.verify(known) != nil && count == 100_000)
            let used = try await scene.tokens.redeem(live.revealed, by: scene.other.id, now: SystemWallClock().now)
            #expect(used == Generation(1))
        }
    }

    @Test(.timeLimit(.minutes(1))) func `TLS has no suite without forward secrecy and none that uses CBC`() async throws
    {
        try await HostileScene.with { scene in
            for (cipher, works) in [
                ("ECDHE-ECDSA-AES128-SHA", false), ("ECDHE-ECDSA-AES256-SHA384", false), ("AES128-GCM-SHA256", false),
                ("ECDHE-ECDSA-AES128-GCM-SHA256", true),
            ] {
                for port in [scene.ports[0], scene.ports[2], scene.ports[3]] {
                    let answer = try await Shell.run(
                        "curl -sS -k --tls-max 1.2 --ciphers \(cipher) -o /dev/null https://127.0.0.1:\(port)/")
                    // Agents speak TLS 1.3 only.
                    let isRight = (answer.status == 0) == (works && port != scene.ports[3])
                    #expect(isRight, "\(cipher) at port \(port): \(answer.output)")
                }
            }
        }
    }
}
