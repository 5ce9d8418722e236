import AsyncHTTPClient
import FleetContract
import FoundationEssentials
import NIOCore
import NIOHTTP1
import NIOSSL
import Primitives

/// Calls a conductor's `/fleet/v1`. End it with `shutdown`.
public struct FleetClient: Sendable {
    /// How a conductor is reached.
    public struct Configuration: Sendable {
        /// `https://host:port`; `http://` only for this machine itself.
        public var api: String
        /// The operator's token; nil: only the version document can be read.
        public var token: String?
        /// A file with the CA certificate in PEM; nil: the system's trust store.
        public var authorityFile: String?
        /// How long a connection may take.
        public var connectTimeout: Duration = .seconds(5)
        /// How long an answer may take.
        public var timeout: Duration = .seconds(30)
        /// How often a GET is tried in all.
        public var attemptCountMax = 3

        /// A configuration.
        public init(api: String, token: String? = nil, authorityFile: String? = nil) {
            self.api = api
            self.token = token
            self.authorityFile = authorityFile
        }
    }

    let configuration: Configuration
    private let http: HTTPClient

    /// The most bytes of an answer that is not a stream.
    static let replySizeMax = ByteCount.mebibytes(64)

    /// A client; throws `ClientError.file` or `.badRequest` when the configuration cannot be used.
    public init(_ configuration: Configuration) throws(ClientError) {
        var configuration = configuration
        while configuration.api.hasSuffix("/") { configuration.api.removeLast() }
        self.configuration = configuration
        let isLocal = ["http://127.0.0.1", "http://[::1]", "http://localhost"].contains { prefix in
            configuration.api == prefix || configuration.api.hasPrefix(prefix + ":")
        }
        guard configuration.api.hasPrefix("https://") || isLocal else {
            throw .badRequest(
                code: "invalid_api",
                "'\(configuration.api.printable(limit: 120))' is not an address of a conductor; it looks like "
                    + "https://10.77.0.1:9443. Set it with --api or MUSTER_API.")
        }
        var tls = TLSConfiguration.makeClientConfiguration()
        tls.minimumTLSVersion = .tlsv12
        if let path = configuration.authorityFile {
            do { tls.trustRoots = .certificates(try NIOSSLCertificate.fromPEMFile(path)) } catch {
                throw .file(
                    path: path,
                    why: "cannot be used as the CA's certificate: it must be readable and hold PEM. The "
                        + "conductor's is ca.pem in its state directory; name it with --ca or MUSTER_CA.")
            }
        }
        var http = HTTPClient.Configuration(tlsConfiguration: tls, redirectConfiguration: .disallow)
        http.timeout = .init(
            connect: .milliseconds(configuration.connectTimeout.milliseconds), read: .seconds(60))
        http.httpVersion = .http1Only
        self.http = HTTPClient(eventLoopGroupProvider: .singleton, configuration: http)
    }

    /// Closes all connections.
    public func shutdown() async { try? await http.shutdown() }

    // MARK: Calls

    /// GET, tried again while the conductor does not answer or is busy.
    func get<Reply: Decodable>(_ path: String, query: [(String, String?)] = []) async throws -> Reply {
        try Self.decode(try await bytes(path, query: query))
    }

    /// The body of a GET.
    func bytes(_ path: String, query: [(String, String?)] = []) async throws -> ByteBuffer {
        var attempt = 1
        while true {
            do {
                return try await execute(request(.GET, path, query: query), timeout: configuration.timeout)
            } catch let error as ClientError where error.isTransient && attempt < configuration.attemptCountMax {
                try await Task.sleep(for: .milliseconds(250 << attempt))
                attempt += 1
            }
        }
    }

    /// A call with a JSON body, tried once.
    func send<Reply: Decodable>(
        _ method: HTTPMethod, _ path: String, query: [(String, String?)] = [], _ body: some Encodable,
        timeout: Duration? = nil
    ) async throws -> Reply {
        var request = request(method, path, query: query)
        request.headers.add(name: "Content-Type", value: "application/json")
        request.body = .bytes(ByteBuffer(bytes: try JSONEncoder().encode(body)))
        return try Self.decode(try await execute(request, timeout: timeout ?? configuration.timeout))
    }

    /// A call with a body of bytes, tried once.
    func upload<Reply: Decodable>(
        _ method: HTTPMethod, _ path: String, contentType: String, _ body: HTTPClientRequest.Body
    ) async throws -> Reply {
        var request = request(method, path, query: [])
        request.headers.add(name: "Content-Type", value: contentType)
        request.body = body
        return try Self.decode(try await execute(request, timeout: .seconds(1800)))
    }

    func request(_ method: HTTPMethod, _ path: String, query: [(String, String?)]) -> HTTPClientRequest {
        let pairs = query.compactMap { name, value in value.map { "\(name)=\(FleetPath.escape($0))" } }
        let suffix = pairs.isEmpty ? "" : "?" + pairs.joined(separator: "&")
        var request = HTTPClientRequest(url: configuration.api + path + suffix)
        request.method = method
        request.headers.add(name: "User-Agent", value: "muster")
        request.headers.add(name: "Accept", value: "application/json")
        if let token = configuration.token { request.headers.add(name: "Authorization", value: "Bearer \(token)") }
        return request
    }

    /// The response with a status of success; throws `ClientError` for every other.
    func open(_ request: HTTPClientRequest, timeout: Duration) async throws -> HTTPClientResponse {
        let response: HTTPClientResponse
        do {
            response = try await http.execute(request, timeout: .milliseconds(timeout.milliseconds))
        } catch is CancellationError {
            throw CancellationError()
        } catch {
            throw unreachable(error)
        }
        guard (200..<300).contains(response.status.code) else {
            let body = try? await response.body.collect(upTo: 1 << 20)
            throw Self.error(status: response.status.code, body: body ?? ByteBuffer())
        }
        return response
    }

    private func execute(_ request: HTTPClientRequest, timeout: Duration) async throws -> ByteBuffer {
        let response = try await open(request, timeout: timeout)
        do { return try await response.body.collect(upTo: Int(Self.replySizeMax.bytes)) } catch is CancellationError {
            throw CancellationError()
        } catch {
            throw unreachable(error)
        }
    }

    static func decode<Reply: Decodable>(_ buffer: ByteBuffer) throws -> Reply {
        do { return try JSONDecoder().decode(Reply.self, from: Data(buffer.readableBytesView)) } catch {
            throw ClientError.unreadable(
                "The answer is not what this program expects; are 'muster' and the conductor of the same version? "
                    + "('muster version' shows both.)")
        }
    }

    static func error(status: UInt, body: ByteBuffer) -> ClientError {
        let reply = try? JSONDecoder().decode(ErrorReply.self, from: Data(body.readableBytesView))
        let message = reply?.error.message ?? "The conductor answered with the status \(status)."
        let code = reply?.error.code ?? "status_\(status)"
        return switch status {
        case 401, 403: .unauthorized(message)
        case 404: .notFound(message)
        case 409, 422: .refused(code: code, message)
        case 410: .gone(message)
        case 400..<500: .badRequest(code: code, message)
        default: .failed(status: status, message)
        }
    }

    private func unreachable(_ error: any Error) -> ClientError {
        let api = configuration.api
        let isRunning =
            "Is it running there? Set the address with --api or MUSTER_API, and a network namespace with "
            + "--netns or MUSTER_NETNS."
        switch error {
        case let error as HTTPClientError where error == .connectTimeout || error == .deadlineExceeded:
            return .unreachable(api: api, why: "no answer in time", next: isRunning)
        case let error as HTTPClientError where error == .readTimeout:
            return .unreachable(api: api, why: "it fell silent in the middle of an answer", next: "Try again.")
        case is NIOSSLError, is BoringSSLError, is NIOSSLExtraError:
            return .unreachable(
                api: api, why: "its certificate is not trusted (\("\(error)".printable(limit: 200)))",
                next: "Name the conductor's own CA, ca.pem in its state directory, with --ca or MUSTER_CA.")
        default:
            let text = "\(error)".printable(limit: 300)
            let isRefused = text.contains("ECONNREFUSED") || text.contains("Connection refused")
            return .unreachable(api: api, why: isRefused ? "the connection is refused" : text, next: isRunning)
        }
    }
}
