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
        /// `https://host:port`; `http://` only for this machine itself; nil: as the cloud's catalog says.
        public var api: String?
        /// The operator's token; nil: only the version document can be read, unless there is a cloud.
        public var token: String?
        /// The cloud whose tokens are used where there is no operator's token.
        public var cloud: CloudAccess?
        /// A file with the CA certificate in PEM; nil: the system's trust store.
        public var authorityFile: String?
        /// How long a connection may take.
        public var connectTimeout: Duration = .seconds(5)
        /// How long an answer may take.
        public var timeout: Duration = .seconds(30)
        /// How often a GET is tried in all.
        public var attemptCountMax = 3
        /// The time, to tell when a cloud's token ends.
        public var clock: any WallClock = SystemWallClock()

        /// A configuration.
        public init(
            api: String?, token: String? = nil, cloud: CloudAccess? = nil, authorityFile: String? = nil
        ) {
            self.api = api
            self.token = token
            self.cloud = cloud
            self.authorityFile = authorityFile
        }
    }

    let configuration: Configuration
    private let http: HTTPClient
    /// Where tokens come from when the configuration has none.
    private let session: CloudSession?

    /// The most bytes of an answer that is not a stream.
    static let replySizeMax = ByteCount.mebibytes(64)

    /// A client; throws `ClientError.file` or `.badRequest` when the configuration cannot be used.
    public init(_ configuration: Configuration) throws(ClientError) {
        var configuration = configuration
        while configuration.api?.hasSuffix("/") == true { configuration.api?.removeLast() }
        self.configuration = configuration
        if let api = configuration.api, !Self.isSafe(api) { throw Self.unsafeAddress(api) }
        if let cloud = configuration.cloud, !Self.isSafe(cloud.authURL) {
            throw .badRequest(
                code: "invalid_auth_url",
                "auth_url of the cloud '\(cloud.name)' in \(cloud.file) is '\(cloud.authURL.printable(limit: 120))'; a password "
                    + "is sent to https:// addresses only.")
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
        let client = HTTPClient(eventLoopGroupProvider: .singleton, configuration: http)
        self.http = client
        guard configuration.token == nil, let cloud = configuration.cloud else {
            session = nil
            return
        }
        let timeout = configuration.timeout
        session = CloudSession(cloud, clock: configuration.clock) { request in
            do { return try await client.execute(request, timeout: .milliseconds(timeout.milliseconds)) } catch {
                throw Self.unreachable(cloud.authURL, error)
            }
        }
    }

    /// Whether what is sent to an address is read by nobody else: TLS, or this machine.
    private static func isSafe(_ url: String) -> Bool {
        url.hasPrefix("https://")
            || ["http://127.0.0.1", "http://[::1]", "http://localhost"].contains { prefix in
                url == prefix || url.hasPrefix(prefix + ":") || url.hasPrefix(prefix + "/")
            }
    }

    private static func unsafeAddress(_ api: String) -> ClientError {
        .badRequest(
            code: "invalid_api",
            "'\(api.printable(limit: 120))' is not an address of a conductor; it looks like "
                + "https://10.77.0.1:9443. Set it with --api or MUSTER_API.")
    }

    /// A client of the same site, with the same rights, whose conductor is at `api` now: the identity API of a cloud that is
    /// signed in to is looked for there too. Throws as `init`.
    public func moved(to api: String) throws(ClientError) -> FleetClient {
        var configuration = configuration
        configuration.api = api
        if let cloud = configuration.cloud {
            let path = cloud.authURL.split(separator: "/", maxSplits: 3, omittingEmptySubsequences: false).dropFirst(3)
            configuration.cloud?.authURL = ([api] + path.map(String.init)).joined(separator: "/")
        }
        return try FleetClient(configuration)
    }

    /// The cloud that is signed in to; nil: there is an operator's token, or nothing.
    public var cloud: CloudAccess? { configuration.token == nil ? configuration.cloud : nil }

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
        return try Self.decode(try await execute(request, timeout: .seconds(1800), isRepeatable: false))
    }

    func request(_ method: HTTPMethod, _ path: String, query: [(String, String?)]) -> HTTPClientRequest {
        let pairs = query.compactMap { name, value in value.map { "\(name)=\($0.percentEncoded)" } }
        let suffix = pairs.isEmpty ? "" : "?" + pairs.joined(separator: "&")
        // `open` puts the address before it, which may first have to be found.
        var request = HTTPClientRequest(url: path + suffix)
        request.method = method
        request.headers.add(name: "User-Agent", value: "muster")
        request.headers.add(name: "Accept", value: "application/json")
        return request
    }

    /// `request` with the conductor's address and a token, another one than `refused`.
    private func addressed(_ request: HTTPClientRequest, refused: String? = nil) async throws -> HTTPClientRequest {
        var request = request
        guard let session else {
            request.url = (configuration.api ?? "") + request.url
            if let token = configuration.token { request.headers.add(name: "Authorization", value: "Bearer \(token)") }
            return request
        }
        let ticket = try await session.ticket(refused: refused)
        guard let api = configuration.api ?? ticket.api else {
            throw ClientError.notFound(
                "The catalog of the cloud '\(configuration.cloud?.name ?? "")' has no endpoint of the type "
                    + "'\(FleetPath.serviceType)' for its region and interface, or its token has no scope; give the "
                    + "conductor's address with --api or MUSTER_API.")
        }
        guard Self.isSafe(api) else { throw Self.unsafeAddress(api) }
        request.url = api + request.url
        request.headers.add(name: "X-Auth-Token", value: ticket.token)
        return request
    }

    /// The response with a status of success; throws `ClientError` for every other.
    ///
    /// A request whose body comes from a stream is not repeatable: once its token is refused, so is the call.
    func open(
        _ request: HTTPClientRequest, timeout: Duration, isRepeatable: Bool = true
    ) async throws -> HTTPClientResponse {
        let sent = try await addressed(request)
        var response = try await execute(sent, within: timeout)
        // A token of the cloud may be void before its time.
        if response.status == .unauthorized, session != nil, isRepeatable {
            _ = try? await response.body.collect(upTo: 1 << 20)
            let again = try await addressed(request, refused: sent.headers.first(name: "X-Auth-Token"))
            response = try await execute(again, within: timeout)
        }
        guard (200..<300).contains(response.status.code) else {
            let body = try? await response.body.collect(upTo: 1 << 20)
            throw Self.error(status: response.status.code, body: body ?? ByteBuffer())
        }
        return response
    }

    private func execute(_ request: HTTPClientRequest, within timeout: Duration) async throws -> HTTPClientResponse {
        do {
            return try await http.execute(request, timeout: .milliseconds(timeout.milliseconds))
        } catch is CancellationError {
            throw CancellationError()
        } catch {
            throw Self.unreachable(place, error)
        }
    }

    /// The conductor's address as errors name it.
    var place: String { configuration.api ?? configuration.cloud?.authURL ?? "" }

    private func execute(
        _ request: HTTPClientRequest, timeout: Duration, isRepeatable: Bool = true
    ) async throws -> ByteBuffer {
        let response = try await open(request, timeout: timeout, isRepeatable: isRepeatable)
        do { return try await response.body.collect(upTo: Int(Self.replySizeMax.bytes)) } catch is CancellationError {
            throw CancellationError()
        } catch {
            throw Self.unreachable(place, error)
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
        case 409, 421, 422: .refused(code: code, message)
        case 410: .gone(message)
        case 400..<500: .badRequest(code: code, message)
        default: .failed(status: status, message)
        }
    }

    private static func unreachable(_ api: String, _ error: any Error) -> ClientError {
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
