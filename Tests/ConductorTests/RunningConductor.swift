import AsyncHTTPClient
import Foundation
import Glibc
import NIOCore
import NIOSSL
import Testing

/// The conductor's program on loopback, as a process that ends with the test.
final class RunningConductor {
    static let package = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        .deletingLastPathComponent().path

    let process = Process()
    private let errors = Pipe()

    /// Starts it. `ports` are those of the API, boot files, provisioning and agents.
    init(state: String, ports: [Int], log: String = "warning", more: [String] = []) throws {
        process.executableURL = URL(fileURLWithPath: Self.package + "/.build/debug/muster-conductor")
        process.arguments =
            [
                "--state-dir", state, "--api-host", "127.0.0.1", "--api-port", "\(ports[0])", "--boot-port",
                "\(ports[1])", "--provisioning-port", "\(ports[2])", "--agent-port", "\(ports[3])", "--log-level", log,
            ] + more
        process.standardError = errors
        process.standardOutput = FileHandle.nullDevice
        try process.run()
    }

    /// Ends it and returns what it has logged.
    func end() -> String {
        if process.isRunning { kill(process.processIdentifier, SIGKILL) }
        process.waitUntilExit()
        return String(decoding: errors.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
    }

    /// Runs `body` with a conductor that answers, and a client that trusts its authority. `prepare` may fill the state
    /// directory before.
    static func with(
        more: [String] = [], prepare: (_ state: String) async throws -> Void = { _ in },
        _ body: (_ state: String, _ ports: [Int], _ client: HTTPClient) async throws -> Void
    ) async throws {
        let state = FileManager.default.temporaryDirectory.appending(path: "muster-start-\(getpid())").path
        defer { try? FileManager.default.removeItem(atPath: state) }
        try await prepare(state)
        let ports = freePorts()
        let running = try RunningConductor(state: state, ports: ports, more: more)
        guard try await waitForCertificate(state, ports) else {
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

    /// Four ports of loopback that nobody has now.
    static func freePorts(_ count: Int = 4) -> [Int] {
        var sockets: [Int32] = []
        defer { for socket in sockets { close(socket) } }
        return (0..<count).map { _ in
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

    private static func waitForCertificate(_ state: String, _ ports: [Int]) async throws -> Bool {
        for _ in 0..<300 {
            if FileManager.default.fileExists(atPath: "\(state)/ca.pem"), accepts(ports[2]), accepts(ports[0]) {
                return true
            }
            try await Task.sleep(for: .milliseconds(100))
        }
        return false
    }

    /// Whether somebody listens on a port of loopback.
    static func accepts(_ port: Int) -> Bool {
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
}
