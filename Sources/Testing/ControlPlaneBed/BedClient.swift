import AsyncHTTPClient
import FoundationEssentials
import Glibc
import NIOCore
import NIOHTTP1
import NIOPosix
import NIOSSL
import Primitives

/// A client of the conductors' API that tries each request once and says what is known of it afterwards.
struct BedClient: Sendable {
    /// What came of a request.
    enum Reply: Sendable, CustomStringConvertible {
        case answered(status: Int, body: JSONValue)
        /// It was certainly not sent.
        case notSent
        /// It may have been carried out, or may still be.
        case unknown

        var description: String {
            switch self {
            case .answered(let status, _): "\(status)"
            case .notSent: "no connection"
            case .unknown: "no answer"
            }
        }
    }

    private let http: HTTPClient
    private let token: String
    private let limit: TimeAmount

    /// A client with a token of the cloud that `signIn` has given.
    init(_ bed: Bed, token: String, limit: TimeAmount = .seconds(4)) {
        var tls = TLSConfiguration.makeClientConfiguration()
        tls.trustRoots = .file(bed.plan.authority)
        // The deadline of a request ends with the answer's head: a body that a cut broke off would never end.
        var configuration = HTTPClient.Configuration(
            tlsConfiguration: tls, timeout: .init(connect: .seconds(1), read: limit))
        // The pool would wait ever longer before it tries again.
        configuration.connectionPool.retryConnectionEstablishment = false
        http = HTTPClient(eventLoopGroupProvider: .singleton, configuration: configuration)
        self.token = token
        self.limit = limit
    }

    func shutdown() async { try? await http.shutdown() }

    func call(_ method: String, _ path: String, _ body: JSONValue? = nil, at address: String) async -> Reply {
        var request = HTTPClientRequest(url: "https://\(address):\(BedPlan.port(at: address))\(path)")
        request.method = HTTPMethod(rawValue: method)
        if !token.isEmpty { request.headers.add(name: "X-Auth-Token", value: token) }
        request.headers.add(name: "X-OpenStack-Ironic-API-Version", value: "1.81")
        if let body {
            request.headers.add(name: "Content-Type", value: "application/json")
            request.body = .bytes(ByteBuffer(bytes: body.text))
        }
        do {
            let (response, json) = try await execute(request)
            return .answered(status: Int(response.status.code), body: json)
        } catch let error as HTTPClientError where error == .connectTimeout {
            return .notSent
        } catch is NIOConnectionError {
            return .notSent
        } catch {
            return .unknown
        }
    }

    private func execute(_ request: HTTPClientRequest) async throws -> (HTTPClientResponse, JSONValue) {
        let response = try await http.execute(request, timeout: limit)
        let bytes = try await response.body.collect(upTo: 16 << 20)
        return (response, (try? JSONDecoder().decode(JSONValue.self, from: Data(bytes.readableBytesView))) ?? .null)
    }

    /// A token of the cloud's first administrator, whose password is in the first conductor's clouds.yaml.
    static func signIn(_ bed: Bed) async throws -> String {
        let client = BedClient(bed, token: "", limit: .seconds(3))
        let text = String(
            decoding: FileManager.default.contents(atPath: bed.plan.cloudsFile) ?? Data(), as: UTF8.self)
        let line = text.split(separator: "\n").first { $0.contains("password: '") } ?? ""
        let user: JSONValue = [
            "name": "admin", "password": .string(line.split(separator: "'").last.map(String.init) ?? ""),
            "domain": ["id": "default"],
        ]
        let identity: JSONValue = ["methods": ["password"], "password": ["user": user]]
        let body: JSONValue = ["auth": ["identity": identity, "scope": ["system": ["all": true]]]]
        var request = HTTPClientRequest(
            url: "https://\(BedPlan.virtualAddress):\(BedPlan.virtualPort)/identity/v3/auth/tokens")
        request.method = .POST
        request.headers.add(name: "Content-Type", value: "application/json")
        request.body = .bytes(ByteBuffer(bytes: body.text))
        var answer: (HTTPClientResponse, JSONValue)?
        // A fault may be on already.
        for _ in 0..<50 where answer?.0.status != .created {
            answer = try? await client.execute(request)
            if answer?.0.status != .created { try await Task.sleep(for: .milliseconds(200)) }
        }
        await client.shutdown()
        guard let token = answer?.0.headers.first(name: "X-Subject-Token") else {
            throw BedError.failed("The administrator cannot sign in: \(answer?.0.status.code ?? 0).")
        }
        return token
    }
}

/// The machine's monotonic clock in nanoseconds, the same in all processes.
func monotonicNanoseconds() -> Int64 {
    var time = timespec()
    clock_gettime(CLOCK_MONOTONIC, &time)
    return Int64(time.tv_sec) * 1_000_000_000 + Int64(time.tv_nsec)
}
