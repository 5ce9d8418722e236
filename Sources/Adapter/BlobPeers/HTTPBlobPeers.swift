import AsyncHTTPClient
import BlobStore
import FoundationEssentials
import Glibc
import NIOCore
import NIOHTTP1
import NIOPosix
import NIOSSL
import Primitives
import ServiceLifecycle
import Synchronization

/// Reaches other conductors' blobs over HTTPS: their certificates must be the site's authority's, and each request has the
/// key that all conductors of the site share.
///
/// Time is bounded by silence, not in all: a transfer that breaks off goes on at the byte where it ended (RFC 9110 section
/// 14). How large a blob may be is for the store to say that it is written to.
public final class HTTPBlobPeers: BlobPeerAccess, Service {
    /// Where conductors have each other's blobs.
    public static let path = "/peer/v1/blobs"
    /// The header with the asking conductor's name.
    public static let nameHeader = "X-Muster-Conductor"

    /// How long a peer may be silent.
    private static let silenceMax = TimeAmount.seconds(20)
    /// How long what was sent may stay without the word of the peer's kernel that it has come: a peer that is slow is waited
    /// for, a machine that is gone is not (TCP_USER_TIMEOUT, tcp(7)), in milliseconds.
    private static let lossMax: SocketOptionValue = 4000
    /// How long one transfer may take before it has to be begun again where it is.
    private static let transferMax = TimeAmount.minutes(30)
    /// Bytes of an answer that is not a blob.
    private static let answerSizeMax = 256 << 10

    private let name: String
    private let key: SecretText
    private let authorities: @Sendable () -> String
    /// Made with the first request, so that a conductor that does not get that far has nothing to close.
    private let connections = Mutex(Connections.none)
    private let trust = Mutex<(pem: String, tls: TLSConfiguration)?>(nil)

    /// The access of the conductor `name`, with the site's shared `key`; `authorities` are the certificates in PEM that
    /// peers' certificates must be issued by, as they are now.
    public init(name: String, key: SecretText, authorities: @escaping @Sendable () -> String) {
        self.name = name
        self.key = key
        self.authorities = authorities
    }

    private enum Connections {
        case none
        case open(HTTPClient)
        case closed
    }

    /// The client; throws once it was closed.
    private func client() throws -> HTTPClient {
        try connections.withLock { connections in
            switch connections {
            case .open(let client): return client
            case .closed: throw HTTPClientError.alreadyShutdown
            case .none: break
            }
            var configuration = HTTPClient.Configuration(
                redirectConfiguration: .disallow, timeout: .init(connect: .seconds(3), read: Self.silenceMax))
            configuration.httpVersion = .http1Only
            configuration.connectionPool.concurrentHTTP1ConnectionsPerHostSoftLimit = 16
            configuration.connectionPool.idleTimeout = .seconds(30)
            configuration.connectionPool.retryConnectionEstablishment = false
            configuration.http1_1ConnectionDebugInitializer = { channel in
                channel.setOption(.tcpOption(NIOBSDSocket.Option(rawValue: TCP_USER_TIMEOUT)), value: Self.lossMax)
            }
            let client = HTTPClient(eventLoopGroupProvider: .singleton, configuration: configuration)
            connections = .open(client)
            return client
        }
    }

    /// Waits for the end, and closes the connections.
    public func run() async throws {
        try? await gracefulShutdown()
        try await close()
    }

    /// Closes the connections; nothing is fetched afterwards.
    public func close() async throws {
        let open = connections.withLock { connections in
            defer { connections = .closed }
            return connections
        }
        if case .open(let client) = open { try await client.shutdown() }
    }

    public func fetch(
        _ digest: Digest, from peer: BlobPeer, offset: UInt64,
        _ part: @escaping @Sendable ([UInt8]) async throws(BlobError) -> Void
    ) async throws -> Bool {
        var request = try request("\(peer.url)\(Self.path)/\(digest.hex)")
        if offset > 0 { request.headers.add(name: "Range", value: "bytes=\(offset)-") }
        let response = try await client().execute(request, deadline: .now() + Self.transferMax)
        switch response.status {
        case .ok where offset == 0: break
        case .partialContent where response.headers.first(name: "Content-Range")?.hasPrefix("bytes \(offset)-") == true:
            break
        // All of it has come already, when it is the right one.
        case .rangeNotSatisfiable: return true
        case .notFound: return false
        default: throw BlobPeerError(status: Int(response.status.code), text: try await Self.text(of: response))
        }
        for try await buffer in response.body { try await part(Array(buffer.readableBytesView)) }
        return true
    }

    public func ask(_ peer: BlobPeer, _ question: WantedBlobs) async throws -> HeldBlobs {
        var request = try request("\(peer.url)\(Self.path)/wanted")
        request.method = .POST
        request.headers.add(name: "Content-Type", value: "application/json")
        request.body = .bytes(ByteBuffer(bytes: try JSONEncoder().encode(question)))
        let response = try await client().execute(request, deadline: .now() + .seconds(60))
        guard response.status == .ok else {
            throw BlobPeerError(status: Int(response.status.code), text: try await Self.text(of: response))
        }
        let bytes = try await response.body.collect(upTo: Self.answerSizeMax)
        return try JSONDecoder().decode(HeldBlobs.self, from: Data(bytes.readableBytesView))
    }

    /// Whether a conductor of this site answers at `url` within `limit`; asked on a connection of its own, as an address may
    /// have come to somebody else since.
    public func answers(at url: String, within limit: Duration = .seconds(3)) async -> Bool {
        do {
            var request = try request("\(url)\(Self.path)/wanted")
            request.method = .POST
            request.headers.add(name: "Content-Type", value: "application/json")
            request.headers.add(name: "Connection", value: "close")
            request.body = .bytes(ByteBuffer(bytes: try JSONEncoder().encode(WantedBlobs(digests: []))))
            let response = try await client().execute(request, deadline: .now() + .milliseconds(limit.milliseconds))
            _ = try await response.body.collect(upTo: Self.answerSizeMax)
            return response.status == .ok
        } catch {
            return false
        }
    }

    private func request(_ url: String) throws -> HTTPClientRequest {
        var request = HTTPClientRequest(url: url)
        request.tlsConfiguration = try tls()
        request.headers = [
            "Authorization": "Bearer \(key.revealed)", Self.nameHeader: name, "User-Agent": "muster-conductor",
        ]
        return request
    }

    /// What is trusted now; read anew only when the authorities have changed, since connections are kept by it.
    private func tls() throws -> TLSConfiguration {
        let pem = authorities()
        return try trust.withLock { trust in
            if let trust, trust.pem == pem { return trust.tls }
            var tls = TLSConfiguration.makeClientConfiguration()
            tls.minimumTLSVersion = .tlsv12
            tls.trustRoots = .certificates(try NIOSSLCertificate.fromPEMBytes(Array(pem.utf8)))
            trust = (pem, tls)
            return tls
        }
    }

    private static func text(of response: HTTPClientResponse) async throws -> String {
        String(buffer: try await response.body.collect(upTo: answerSizeMax))
    }
}

/// What a peer answered in the place of what it was asked for.
public struct BlobPeerError: UserFacingError, Hashable {
    /// The HTTP status.
    public let status: Int
    /// The answer's body.
    public let text: String

    public var publicMessage: String { "it answers \(status) (\(text.printable(limit: 160)))" }
}
