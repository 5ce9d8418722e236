import AgentProtocol
import AsyncHTTPClient
import Foundation
import Glibc
import NIOCore
import NIOHTTP1
import NIOSSL
import Primitives
import TestSupport
import Testing

/// The conductor's program on loopback: how it starts, how it refuses to, and what strangers get of it.
@Suite(.serialized, .enabled(if: geteuid() == 0, "the conductor needs root"))
struct StartTests {
    private func send(
        _ client: HTTPClient, _ method: HTTPMethod, _ url: String, body: String? = nil, token: String? = nil
    ) async throws -> (status: UInt, text: String) {
        var request = HTTPClientRequest(url: url)
        request.method = .init(rawValue: method.rawValue)
        if let token { request.headers.add(name: "Authorization", value: "Bearer \(token)") }
        if let body {
            request.headers.add(name: "Content-Type", value: "application/json")
            request.body = .bytes(ByteBuffer(string: body))
        }
        let response = try await client.execute(request, timeout: .seconds(20))
        return (response.status.code, String(buffer: try await response.body.collect(upTo: 1 << 20)))
    }

    private enum HTTPMethod: String {
        case get = "GET"
        case post = "POST"
    }

    @Test(.timeLimit(.minutes(3))) func `strangers get clear refusals and nothing else`() async throws {
        try await RunningConductor.with { state, ports, client in
            let provisioning = "https://127.0.0.1:\(ports[2])"
            for (body, expected) in [
                ("", "not valid JSON"), ("{", "not valid JSON"), ("[]", "whole body"),
                (#"{"schemaVersion":1,"bootID":"abcdefgh"}"#, "inventory"),
                (String(repeating: "[", count: 100_000), "JSON"),
            ] {
                let answer = try await send(client, .post, provisioning + DiscoveryPath.inventory, body: body)
                #expect(answer.status == 400, "\(body.prefix(40)): \(answer)")
                #expect(answer.text.contains(expected), "\(body.prefix(40)): \(answer)")
            }
            let huge = String(repeating: "x", count: 600_000)
            #expect(try await send(client, .post, provisioning + DiscoveryPath.inventory, body: huge).status == 413)
            for path in [DiscoveryPath.orders, DiscoveryPath.manifests + "/" + String(repeating: "0", count: 64)] {
                let answer = try await send(client, .get, provisioning + path, token: "guessed")
                #expect(answer.status == 401)
                #expect(answer.text.contains("post the inventory again"))
            }
            let enrolment = #"{"node":"n1","token":"n1.00","signingRequest":"-----BEGIN NONSENSE-----"}"#
            let refused = try await send(client, .post, provisioning + DiscoveryPath.enrol, body: enrolment)
            #expect((400..<500).contains(refused.status), "\(refused)")

            let api = "https://127.0.0.1:\(ports[0])/fleet/v1"
            #expect(try await send(client, .get, api + "/nodes").status == 401)
            #expect(try await send(client, .get, api + "/nodes", token: "guessed").status == 401)
            let token = try String(contentsOfFile: "\(state)/operator.token", encoding: .utf8)
                .trimmingCharacters(in: .whitespacesAndNewlines)
            #expect(try await send(client, .get, api + "/nodes", token: token).status == 200)
            for name in ["operator.token", "master.key", "store.sqlite"] {
                let attributes = try FileManager.default.attributesOfItem(atPath: "\(state)/\(name)")
                #expect((attributes[.posixPermissions] as? NSNumber)?.intValue == 0o600, "\(name)")
            }
        }
    }

    @Test(.timeLimit(.minutes(3))) func `a second conductor says what is in its way`() async throws {
        try await RunningConductor.with { state, ports, _ in
            let sameState = try RunningConductor(state: state, ports: RunningConductor.freePorts())
            sameState.process.waitUntilExit()
            #expect(sameState.process.terminationStatus == 1)
            #expect(sameState.end().contains("Another conductor is using"))

            let other = state + "-other"
            defer { try? FileManager.default.removeItem(atPath: other) }
            let samePort = try RunningConductor(state: other, ports: ports)
            samePort.process.waitUntilExit()
            #expect(samePort.process.terminationStatus == 1)
            let text = samePort.end()
            #expect(text.contains("is taken") && text.contains("\(ports[0])"), "\(text)")
        }
    }
}
