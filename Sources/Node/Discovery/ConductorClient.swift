import AgentProtocol
import FoundationEssentials
import ImageChunks
import NIOCore
import NodeTransport
import Primitives

/// Speaks with the conductor: everything by verified TLS, but for the CA certificate and the chunks, whose digests are
/// known.
struct ConductorClient: Sendable {
    private static let documentMax = 1 << 20

    let boot: Endpoint
    let provisioning: Endpoint
    let limits: TransportLimits

    init(_ parameters: DiscoveryParameters, limits: TransportLimits = TransportLimits()) throws(InvalidValue) {
        boot = try Endpoint(host: parameters.server.description, port: parameters.httpPort)
        provisioning = try Endpoint(host: parameters.server.description, port: parameters.tlsPort)
        self.limits = limits
    }

    /// The CA certificate with `fingerprint`, and the conductor's clock.
    func authority(fingerprint: Primitives.Digest) async throws(RequestFailure) -> (Authority, Timestamp?) {
        let response = try await plain(HTTPConnection.Request(.get, DiscoveryPath.authority))
        guard let authority = Authority(response.text, fingerprint: fingerprint) else {
            throw RequestFailure(
                message: "the CA certificate of \(boot) is not the one that the boot script names (\(fingerprint))")
        }
        return (authority, response.header("Date").flatMap { HTTPDate.parse($0) })
    }

    /// A connection for the chunks of `image` from number `first` on.
    func chunks(
        _ image: Primitives.Digest, from first: Int
    ) async throws(RequestFailure) -> (HTTPConnection, HTTPConnection.Body) {
        let connection: HTTPConnection
        let response: HTTPConnection.StreamedResponse
        do throws(TransportError) {
            connection = try await HTTPConnection.open(to: boot, limits: limits)
            let path = "\(DiscoveryPath.images)/\(image)/chunks?from=\(first)"
            response = try await connection.stream(HTTPConnection.Request(.get, path))
        } catch {
            throw RequestFailure(error)
        }
        if response.status == 200 { return (connection, response.body) }
        let reason = await Self.reason(in: response.body)
        await connection.close()
        throw RequestFailure(
            message: "the conductor refused chunk \(first) with status \(response.status): \(reason)",
            isRefusal: (400..<500).contains(response.status) && response.status != 429)
    }

    /// The first line of a refusal's text.
    private static func reason(in body: HTTPConnection.Body) async -> String {
        var bytes: [UInt8] = []
        do { for try await piece in body where bytes.count < 1024 { bytes += piece.readableBytesView } } catch {}
        let line = String(decoding: bytes.prefix(1024), as: UTF8.self).split(whereSeparator: \.isNewline).first
        return line.map { String($0).printable(limit: 600) } ?? "no reason given"
    }

    /// A request on a connection of its own, to the plain port.
    private func plain(_ request: HTTPConnection.Request) async throws(RequestFailure) -> HTTPConnection.Response {
        do throws(TransportError) {
            let response = try await HTTPConnection.once(request, to: boot, limits: limits, bodyLimit: 64 << 10)
            guard response.status == 200 else {
                throw TransportError(.badAnswer, boot, "status \(response.status) for \(request.path)")
            }
            return response
        } catch {
            throw RequestFailure(error)
        }
    }
}

/// A connection to the provisioning port for one request after the other, opened anew when it has been lost.
actor ProvisioningConnection {
    private let endpoint: Endpoint
    private let security: TransportSecurity
    private let limits: TransportLimits
    private var connection: HTTPConnection?

    init(_ endpoint: Endpoint, security: TransportSecurity, limits: TransportLimits) {
        self.endpoint = endpoint
        self.security = security
        self.limits = limits
    }

    /// Sends `body` as JSON by POST, or nothing by GET, and gives the answer's body.
    func send(
        _ path: String, session: String? = nil, body: (any Encodable & Sendable)? = nil, limit: Int = 1 << 20
    ) async throws(RequestFailure) -> ByteBuffer {
        var request = HTTPConnection.Request(body == nil ? .get : .post, path)
        if let session { request.headers.append((name: "Authorization", value: "Bearer \(session)")) }
        if let body {
            request.headers.append((name: "Content-Type", value: "application/json"))
            guard let bytes = try? JSONEncoder().encode(body) else {
                throw RequestFailure(message: "a request to \(path) cannot be written", isRefusal: true)
            }
            request.body = ByteBuffer(bytes: bytes)
        }
        let response: HTTPConnection.Response
        do throws(TransportError) {
            response = try await exchange(request, limit)
        } catch {
            connection = nil
            throw RequestFailure(error)
        }
        guard (200..<300).contains(response.status) else { throw Self.failure(path, response) }
        return response.body
    }

    /// Sends `body` as above and decodes the answer.
    func ask<Answer: Decodable & Sendable>(
        _ type: Answer.Type, _ path: String, session: String? = nil, body: (any Encodable & Sendable)? = nil
    ) async throws(RequestFailure) -> Answer {
        let answer = try await send(path, session: session, body: body)
        do {
            return try JSONDecoder().decode(type, from: Data(answer.readableBytesView))
        } catch {
            throw RequestFailure(message: "the answer of \(endpoint) to \(path) is not understood: \(error)")
        }
    }

    private func exchange(
        _ request: HTTPConnection.Request, _ limit: Int
    ) async throws(TransportError) -> HTTPConnection.Response {
        if let connection, connection.isOpen {
            do throws(TransportError) {
                return try await connection.send(request, bodyLimit: limit)
            } catch {
                // The server may have closed it between two requests.
                guard case .closed = error.kind else { throw error }
            }
        }
        let fresh = try await HTTPConnection.open(to: endpoint, security: security, limits: limits)
        connection = fresh
        return try await fresh.send(request, bodyLimit: limit)
    }

    private static func failure(_ path: String, _ response: HTTPConnection.Response) -> RequestFailure {
        let body = try? JSONDecoder().decode(ErrorBody.self, from: Data(response.body.readableBytesView))
        let reason = body?.message.printable(limit: 400) ?? "no reason given"
        let isTransient = response.status >= 500 || response.status == 408 || response.status == 429
        return RequestFailure(
            message: "the conductor refused \(path) with status \(response.status): \(reason)",
            isSessionOver: response.status == 401, isRefusal: !isTransient && response.status != 401)
    }
}

extension RequestFailure {
    init(_ error: TransportError) { self.init(message: error.diagnostic) }
}
