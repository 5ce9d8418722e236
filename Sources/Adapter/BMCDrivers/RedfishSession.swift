import AsyncHTTPClient
import BareMetal
import Crypto
import FoundationEssentials
import Logging
import NIOCore
import NIOHTTP1
import NIOPosix
import NIOSSL
import Primitives
import Redfish

/// The requests of one call to a BMC, which end together at a deadline.
struct RedfishSession: Sendable {
    private static let redirectCountMax = 3

    let address: BMCAddress
    let password: SecretText
    let limits: BMCLimits
    let client: HTTPClient
    let logins: LoginSessions?
    let trust: BMCTrust
    var deadline: ContinuousClock.Instant
    let logger: Logger

    /// An answer and the path it came from, which redirects may have changed.
    struct Answer: Sendable {
        let path: ResourcePath
        let response: RedfishResponse
    }

    /// Reads a resource; tries again, with growing pauses, when the BMC cannot be reached or is busy.
    func get(_ path: ResourcePath) async throws(BMCError) -> Answer {
        var pause = limits.backoff
        var attempt = 1
        while true {
            let problem: BMCError
            do {
                let answer = try await send(.get(path))
                guard [429, 502, 503, 504].contains(answer.response.status) else { return answer }
                problem = .busy(retryAfter: answer.response.retryAfter)
                if let retryAfter = answer.response.retryAfter { pause = max(pause, retryAfter) }
            } catch {
                guard error.isTransient else { throw error }
                problem = error
            }
            guard attempt < limits.attemptCountMax, ContinuousClock.now.advanced(by: pause) < deadline else {
                throw problem
            }
            logger.debug(
                "BMC asked again", metadata: ["bmc": .string(address.description), "path": .string(path.text)])
            do { try await Task.sleep(for: pause) } catch { throw .cancelled }
            attempt += 1
            pause = pause * 2
        }
    }

    /// Reads a resource that must be there.
    func read<R: RedfishResource & Decodable>(
        _ type: R.Type, at path: ResourcePath
    ) async throws(BMCError) -> (resource: R, answer: Answer) {
        let answer = try await get(path)
        return (try decode(type, answer), answer)
    }

    func decode<R: RedfishResource & Decodable>(_ type: R.Type, _ answer: Answer) throws(BMCError) -> R {
        try check(answer)
        do { return try answer.response.decode(type) } catch {
            throw .protocolViolation("\(error.message) at \(answer.path)")
        }
    }

    /// Throws the error that a status stands for (DSP0266 section 8.5).
    func check(_ answer: Answer) throws(BMCError) {
        let response = answer.response
        let message = response.errorMessage
        switch response.status {
        case 200..<300: return
        case 401: throw .badCredentials
        case 403 where response.requiredPasswordChange != nil:
            throw .passwordChangeRequired(account: response.requiredPasswordChange?.account?.text)
        case 403: throw .refused(message ?? "the user '\(address.user)' may not do this")
        case 404: throw .refused(message ?? "there is no \(answer.path)")
        case 429, 502, 503, 504: throw .busy(retryAfter: response.retryAfter)
        case 400..<600: throw .refused(message ?? "HTTP status \(response.status)")
        default: throw .protocolViolation("HTTP status \(response.status) at \(answer.path)")
        }
    }

    /// Follows the work that the service does after a 202 (DSP0266, asynchronous operations), for at most
    /// `BMCLimits.task`; gives what it came to, and any other answer as it is.
    func finish(_ answer: Answer) async throws(BMCError) -> Answer {
        guard answer.response.status == 202, answer.response.location != nil else { return answer }
        let monitor = try target(of: answer.response.location)
        var session = self
        session.deadline = .now.advanced(by: limits.task)
        var pause = answer.response.retryAfter
        while true {
            let time = min(max(pause ?? .seconds(1), limits.backoff), .seconds(30))
            guard ContinuousClock.now.advanced(by: time) < session.deadline else {
                throw .timeout("its task \(monitor) did not end within \(limits.task.seconds)")
            }
            do { try await Task.sleep(for: time) } catch { throw .cancelled }
            let next: Answer
            do { next = try await session.get(monitor) } catch {
                guard ContinuousClock.now >= session.deadline else { throw error }
                throw .timeout("its task \(monitor) did not end within \(limits.task.seconds)")
            }
            pause = next.response.retryAfter
            switch next.response.status {
            case 202: continue
            case 404, 410:
                // The monitor of work that has ended may be gone.
                return Answer(
                    path: answer.path,
                    response: RedfishResponse(status: 204, etag: nil, location: nil, retryAfter: nil, body: []))
            case 200..<300:
                guard let task = try? next.response.decode(ServiceTask.self) else { return next }
                switch task.state {
                case .running: continue
                case .done: return next
                case .failed(let message): throw .refused(message)
                }
            default: return next
            }
        }
    }

    /// Sends one request and follows redirects on the same service.
    func send(_ request: RedfishRequest) async throws(BMCError) -> Answer {
        var request = request
        for _ in 0...Self.redirectCountMax {
            let response = try await exchange(request)
            let isRedirect =
                [307, 308].contains(response.status)
                || (request.method == .get && [301, 302, 303].contains(response.status))
            guard isRedirect else { return Answer(path: request.path, response: response) }
            request = request.moved(to: try target(of: response.location))
        }
        throw .protocolViolation("more than \(Self.redirectCountMax) redirects from \(request.path)")
    }

    private func target(of location: String?) throws(BMCError) -> ResourcePath {
        guard var text = location else { throw .protocolViolation("a redirect to nowhere") }
        for prefix in [address.description, "\(address.scheme.rawValue)://\(address.host)"]
        where text.hasPrefix(prefix + "/") {
            text = String(text.dropFirst(prefix.count))
            break
        }
        do { return try ResourcePath(text) } catch {
            throw .protocolViolation("a redirect to another host or path: '\(text.printable(limit: 120))'")
        }
    }

    /// Sends with the session that is held, and once more with a new one when the service no longer knows it: what it
    /// refused with 401 it has not done.
    private func exchange(_ request: RedfishRequest) async throws(BMCError) -> RedfishResponse {
        let way = try await way()
        let response = try await exchange(request, way)
        guard response.status == 401, case .session(let login) = way, let logins else { return response }
        logins.forget(login, address)
        return try await exchange(request, try await self.way())
    }

    /// The session that is held, else a new one, else the password in each request when the service has no sessions.
    private func way() async throws(BMCError) -> LoginSessions.Way {
        guard let logins else { return .basic }
        if let known = logins.way(address, password: password) { return known }
        let root = try await exchange(.get(.serviceRoot), nil)
        guard root.isSuccess, let sessions = try? root.decode(ServiceRoot.self).sessions else {
            // Only a service that says what it has says that it has none.
            return root.isSuccess ? logins.keep(.basic, address, password: password, trust: trust) : .basic
        }
        let answer = try await exchange(.login(at: sessions, user: address.user, password: password), nil)
        switch answer.status {
        case 200..<300:
            guard let token = answer.token else { return .basic }
            // Whoever knew the password before is not to go on by its session.
            if let outdated = logins.takeOutdated(address, password: password), let path = outdated.path {
                _ = try? await exchange(.logout(path), .session(outdated))
            }
            let path = answer.location.flatMap { try? target(of: $0) }
            let login = LoginSessions.Login(token: token, path: path)
            let way = logins.keep(.session(login), address, password: password, trust: trust)
            if way != .session(login), let path { _ = try? await exchange(.logout(path), .session(login)) }
            return way
        case 401: throw .badCredentials
        case 403 where answer.requiredPasswordChange != nil:
            throw .passwordChangeRequired(account: answer.requiredPasswordChange?.account?.text)
        case 403: throw .privilege(answer.errorMessage ?? "it gives '\(address.user)' no session")
        case 404, 405, 501: return logins.keep(.basic, address, password: password, trust: trust)
        default: return .basic  // No room for a session now.
        }
    }

    /// Ends a session that this call's address holds.
    func logout(_ login: LoginSessions.Login) async throws(BMCError) {
        guard let path = login.path else { return }
        _ = try await exchange(.logout(path), .session(login))
    }

    /// One request and its answer; with nil, nothing says who asks.
    private func exchange(
        _ request: RedfishRequest, _ way: LoginSessions.Way?
    ) async throws(BMCError) -> RedfishResponse {
        let left = ContinuousClock.now.duration(to: deadline)
        guard left > .zero else { throw .timeout("the call took longer than \(limits.call.seconds)") }
        let time = min(left, limits.request)
        var message = HTTPClientRequest(url: "\(address)\(request.path)")
        message.method = HTTPMethod(rawValue: request.method.rawValue)
        message.headers = ["Accept": "application/json", "OData-Version": "4.0", "User-Agent": "muster"]
        switch way {
        case .session(let login): message.headers.add(name: "X-Auth-Token", value: login.token.revealed)
        case .basic:
            let credentials = Data("\(address.user):\(password.revealed)".utf8).base64EncodedString()
            message.headers.add(name: "Authorization", value: "Basic \(credentials)")
        case nil: break
        }
        if let body = request.body {
            message.headers.add(name: "Content-Type", value: "application/json")
            message.body = .bytes(ByteBuffer(bytes: body))
        }
        if let tag = request.ifMatch { message.headers.add(name: "If-Match", value: tag.text) }
        do {
            return try await Self.within(time) { [client, message] in
                let response = try await client.execute(message, deadline: .now() + time.timeAmount)
                let body = try await response.body.collect(upTo: RedfishResponse.bodySizeMax)
                try Task.checkCancellation()
                return RedfishResponse(
                    status: Int(response.status.code), etag: response.headers.first(name: "ETag"),
                    location: response.headers.first(name: "Location"),
                    retryAfter: response.headers.first(name: "Retry-After"),
                    token: response.headers.first(name: "X-Auth-Token"), body: Array(body.readableBytesView))
            }
        } catch {
            throw BMCError(transport: error, path: request.path, limits: limits, time: time)
        }
    }

    /// Cancels `work` after `time`: the client's own deadline ends with the head, and a body may come byte by byte.
    private static func within<Result: Sendable>(
        _ time: Duration, _ work: @escaping @Sendable () async throws -> Result
    ) async throws -> Result {
        try await withThrowingTaskGroup(of: Result.self) { group in
            group.addTask { try await work() }
            group.addTask {
                try await Task.sleep(for: time)
                throw HTTPClientError.deadlineExceeded
            }
            defer { group.cancelAll() }
            guard let first = try await group.next() else { throw CancellationError() }
            return first
        }
    }
}

extension RedfishRequest {
    fileprivate func moved(to path: ResourcePath) -> RedfishRequest {
        RedfishRequest(method: method, path: path, body: body, ifMatch: ifMatch)
    }
}

extension BMCError {
    /// What a failure of the connection means.
    fileprivate init(transport error: any Error, path: ResourcePath, limits: BMCLimits, time: Duration) {
        switch error {
        case let error as UntrustedCertificate:
            self = .tlsUntrusted(found: error.found)
        case let error as HTTPClientError where error == .connectTimeout:
            self = .unreachable(cause: "no connection within \(limits.connect.seconds)")
        case let error as HTTPClientError
        where error == .deadlineExceeded || error == .readTimeout || error == .getConnectionFromPoolTimeout:
            self = .timeout("no complete answer for \(path) within \(time.seconds)")
        case let error as HTTPClientError where error == .cancelled:
            self = .cancelled
        case let error as HTTPClientError where error == .remoteConnectionClosed:
            self = .unreachable(cause: "it closed the connection before it answered")
        case let error as HTTPClientError:
            self = .protocolViolation(error.shortDescription)
        case is CancellationError:
            self = .cancelled
        case is NIOTooManyBytesError:
            self = .protocolViolation("a body of more than \(ByteCount(bytes: UInt64(RedfishResponse.bodySizeMax)))")
        case is HTTPParserError:
            self = .protocolViolation("no valid HTTP")
        case let error as NIOSSLError:
            self = Self.handshake("\(error)")
        case let error as BoringSSLError:
            self = Self.handshake("\(error)")
        case let error as NIOConnectionError:
            let cause = error.connectionErrors.first.map { "\($0.error)" } ?? "no address for \(error.host)"
            self = .unreachable(cause: cause.printable(limit: 200))
        case let error as IOError:
            self = .unreachable(cause: "\(error)".printable(limit: 200))
        default:
            self = .unreachable(cause: "\(error)".printable(limit: 200))
        }
    }

    private static func handshake(_ text: String) -> BMCError {
        text.contains("CERTIFICATE_VERIFY_FAILED") || text.contains("unableToValidateCertificate")
            || text.contains("noSuitableCertificate")
            ? .tlsUntrusted(found: nil) : .unreachable(cause: "no TLS: \(text)".printable(limit: 200))
    }
}

/// The BMC's certificate is not the expected one.
struct UntrustedCertificate: Error {
    let found: Primitives.Digest?
}

extension HTTPClient.Configuration {
    /// No redirects, no repetitions, HTTP/1.1, one connection; with a check of the certificate before any request.
    static func bmc(limits: BMCLimits, trust: BMCTrust) -> HTTPClient.Configuration {
        var tls = TLSConfiguration.makeClientConfiguration()
        if case .certificate = trust { tls.certificateVerification = .none }
        var configuration = HTTPClient.Configuration(
            tlsConfiguration: tls, redirectConfiguration: .disallow,
            timeout: .init(connect: limits.connect.timeAmount))
        configuration.httpVersion = .http1Only
        configuration.connectionPool.retryConnectionEstablishment = false
        configuration.connectionPool.concurrentHTTP1ConnectionsPerHostSoftLimit = 1
        if case .certificate(let expected) = trust {
            configuration.http1_1ConnectionDebugInitializer = { channel in checkCertificate(channel, expected) }
        }
        return configuration
    }

    /// Fails unless the peer's certificate has the expected digest; runs after the handshake, before a request.
    @Sendable private static func checkCertificate(
        _ channel: any Channel, _ expected: Primitives.Digest
    ) -> EventLoopFuture<Void> {
        channel.nioSSL_peerCertificate().flatMapThrowing { certificate in
            let found = try certificate.map { Primitives.Digest(bytes: Array(SHA256.hash(data: try $0.toDERBytes()))) }
            guard found == expected else { throw UntrustedCertificate(found: found) }
        }.flatMapError { error in
            channel.close(promise: nil)
            return channel.eventLoop.makeFailedFuture(error)
        }
    }
}

extension Duration {
    var timeAmount: TimeAmount { .milliseconds(milliseconds) }
    /// For example `5 s` or `0.25 s`.
    var seconds: String { "\(Double(milliseconds) / 1000) s" }
}
