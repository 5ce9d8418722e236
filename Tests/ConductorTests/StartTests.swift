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
    private static let program =
        URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        .deletingLastPathComponent().path + "/.build/debug/muster-conductor"

    /// A conductor's process, ended with the test.
    private final class Running {
        let process = Process()
        let errors = Pipe()

        init(state: String, ports: [Int], log: String = "warning") throws {
            process.executableURL = URL(fileURLWithPath: StartTests.program)
            process.arguments = [
                "--state-dir", state, "--api-host", "127.0.0.1", "--api-port", "\(ports[0])", "--boot-port",
                "\(ports[1])", "--provisioning-port", "\(ports[2])", "--agent-port", "\(ports[3])", "--log-level", log,
            ]
            process.standardError = errors
            process.standardOutput = FileHandle.nullDevice
            try process.run()
        }

        func end() -> String {
            if process.isRunning { kill(process.processIdentifier, SIGKILL) }
            process.waitUntilExit()
            return String(decoding: errors.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
        }
    }

    /// Four ports that nobody has now.
    private func freePorts() -> [Int] {
        var sockets: [Int32] = []
        defer { for socket in sockets { close(socket) } }
        return (0..<4).map { _ in
            let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
            sockets.append(descriptor)
            var address = sockaddr_in()
            address.sin_family = sa_family_t(AF_INET)
            var length = socklen_t(MemoryLayout<sockaddr_in>.size)
            withUnsafeMutablePointer(to: &address) { pointer in
                pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                    _ = bind(descriptor, $0, length)
                    _ = getsockname(descriptor, $0, &length)
                }
            }
            return Int(UInt16(bigEndian: address.sin_port))
        }
    }

    private func withConductor(
        _ body: (_ state: String, _ ports: [Int], _ client: HTTPClient) async throws -> Void
    ) async throws {
        let state = FileManager.default.temporaryDirectory.appending(path: "muster-start-\(getpid())").path
        defer { try? FileManager.default.removeItem(atPath: state) }
        let ports = freePorts()
        let running = try Running(state: state, ports: ports)
        let ready = try await waitForCertificate(state, ports)
        guard ready else {
            Issue.record("the conductor did not start: \(running.end())")
            return
        }
        var tls = TLSConfiguration.makeClientConfiguration()
        tls.trustRoots = .file("\(state)/ca.pem")
        let client = HTTPClient(configuration: .init(tlsConfiguration: tls, timeout: .init(connect: .seconds(5))))
        do {
            try await body(state, ports, client)
        } catch {
            Issue.record("\(error)")
        }
        try await client.shutdown()
        _ = running.end()
    }

    private func waitForCertificate(_ state: String, _ ports: [Int]) async throws -> Bool {
        for _ in 0..<300 {
            if FileManager.default.fileExists(atPath: "\(state)/ca.pem"), accepts(ports[2]), accepts(ports[0]) {
                return true
            }
            try await Task.sleep(for: .milliseconds(100))
        }
        return false
    }

    private func accepts(_ port: Int) -> Bool {
        let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        defer { close(descriptor) }
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = in_port_t(port).bigEndian
        address.sin_addr.s_addr = in_addr_t(0x7F00_0001).bigEndian
        return withUnsafePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size)) == 0
            }
        }
    }

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
        try await withConductor { state, ports, client in
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
        try await withConductor { state, ports, _ in
            let sameState = try Running(state: state, ports: freePorts())
            sameState.process.waitUntilExit()
            #expect(sameState.process.terminationStatus == 1)
            #expect(sameState.end().contains("Another conductor is using"))

            let other = state + "-other"
            defer { try? FileManager.default.removeItem(atPath: other) }
            let samePort = try Running(state: other, ports: ports)
            samePort.process.waitUntilExit()
            #expect(samePort.process.terminationStatus == 1)
            let text = samePort.end()
            #expect(text.contains("is taken") && text.contains("\(ports[0])"), "\(text)")
        }
    }
}
