import AsyncHTTPClient
import Foundation
import NIOCore
import NIOHTTP1
import NIOSSL
import Primitives
import Synchronization

/// A conductor's program that is killed and started again on the same state, and clients that go on meanwhile.
actor CloudBed {
    nonisolated let state: String
    /// Whether the clients shall come to their end. They are not cancelled, as that would break off what they ask.
    nonisolated let isOver = Atomic<Bool>(false)
    private nonisolated let ports = RunningConductor.freePorts()
    private var running: RunningConductor?
    private var http: HTTPClient?
    private var token = ""

    /// An answer; nil in its place: there was none.
    struct Answer: Sendable {
        var status: Int
        var body: JSONValue
        var token: String?
    }

    private init(state: String) { self.state = state }

    /// Runs `body` with a conductor that answers, and ends it.
    static func with(_ name: String, _ body: @escaping @Sendable (CloudBed) async throws -> Void) async throws {
        let state = FileManager.default.temporaryDirectory.appending(path: "muster-\(name)-\(getpid())").path
        defer { try? FileManager.default.removeItem(atPath: state) }
        let bed = CloudBed(state: state)
        do {
            try await bed.start()
            try await bed.signIn()
            try await body(bed)
        } catch {
            await bed.end()
            throw error
        }
        await bed.end()
    }

    private func end() async {
        kill()
        try? await http?.shutdown()
    }

    /// Starts the conductor and waits until it takes connections.
    func start() async throws {
        let running = try RunningConductor(
            state: state, ports: ports, log: "critical", more: ["--password-cost", "8"])
        self.running = running
        for _ in 0..<3000 {
            if FileManager.default.fileExists(atPath: "\(state)/ca.pem"), RunningConductor.accepts(ports[0]) { break }
            guard running.process.isRunning else { throw CrashError(what: "the conductor ended: \(running.end())") }
            try await Task.sleep(for: .milliseconds(20))
        }
        guard http == nil else { return }
        var tls = TLSConfiguration.makeClientConfiguration()
        tls.trustRoots = .file("\(state)/ca.pem")
        http = HTTPClient(configuration: .init(tlsConfiguration: tls, timeout: .init(connect: .seconds(2))))
    }

    /// Ends the conductor as kill -9 does.
    func kill() {
        _ = running?.end()
        running = nil
    }

    private func signIn() async throws {
        let file = try String(contentsOfFile: "\(state)/clouds.yaml", encoding: .utf8)
        let line = file.split(separator: "\n").first { $0.contains("password: '") } ?? ""
        let password = line.split(separator: "'").last.map(String.init) ?? ""
        let answer = try await insist(
            "POST", "/identity/v3/auth/tokens",
            [
                "auth": [
                    "identity": [
                        "methods": ["password"],
                        "password": [
                            "user": ["name": "admin", "password": .string(password), "domain": ["id": "default"]]
                        ],
                    ], "scope": ["system": ["all": true]],
                ]
            ])
        guard let token = answer.token else {
            throw CrashError(what: "no sign-in: \(answer)")
        }
        self.token = token
    }

    /// A call that is tried once; nil when no whole answer came.
    nonisolated func call(_ method: String, _ path: String, _ body: JSONValue? = nil) async -> Answer? {
        let (http, token) = await (http, token)
        guard let http else { return nil }
        var request = HTTPClientRequest(url: "https://127.0.0.1:\(ports[0])\(path)")
        request.method = HTTPMethod(rawValue: method)
        request.headers.add(name: "X-OpenStack-Ironic-API-Version", value: "1.81")
        if !token.isEmpty { request.headers.add(name: "X-Auth-Token", value: token) }
        if let body {
            request.headers.add(name: "Content-Type", value: "application/json")
            request.body = .bytes(ByteBuffer(bytes: body.text))
        }
        guard let response = try? await http.execute(request, timeout: .seconds(10)),
            let bytes = try? await response.body.collect(upTo: 16 << 20)
        else { return nil }
        let json = try? JSONDecoder().decode(JSONValue.self, from: Data(bytes.readableBytesView))
        return Answer(
            status: Int(response.status.code), body: json ?? .null,
            token: response.headers.first(name: "X-Subject-Token"))
    }

    /// A call that is repeated until it is answered. Nobody knocks while there is no conductor: the client's pool would wait
    /// ever longer before it tries again.
    nonisolated func insist(_ method: String, _ path: String, _ body: JSONValue? = nil) async throws -> Answer {
        for _ in 0..<600 {
            if RunningConductor.accepts(ports[0]), let answer = await call(method, path, body), answer.status != 503 {
                return answer
            }
            try await Task.sleep(for: .milliseconds(25))
        }
        throw CrashError(what: "\(method) \(path) is not answered")
    }
}
