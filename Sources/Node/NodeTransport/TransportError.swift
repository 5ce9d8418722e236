import NIOCore
import NIOPosix
import NIOSSL
import Primitives

/// A connection or a request on it failed.
public struct TransportError: UserFacingError, Hashable {
    /// What kind of failure it was.
    public enum Kind: Hashable, Sendable {
        /// Nothing listens there, or a firewall refuses.
        case refused
        /// The host has no address or no route.
        case unreachable
        /// No connection (TLS included) within the time for it.
        case connectTimeout
        /// The peer sent nothing for too long while something was awaited.
        case idleTimeout
        /// The server's certificate is not one of the trusted authority's, has ended, or is for another name.
        case notTrusted
        /// The server refuses this side's certificate, or TLS failed otherwise.
        case tls
        /// More bytes than the limit.
        case tooLarge
        /// The connection ended before the answer did.
        case closed
        /// The server's answer is not HTTP or not what was asked for.
        case badAnswer
        /// The server answered an upgrade with this HTTP status.
        case upgradeRefused(status: Int)
        /// A request was begun while another one was under way on the same connection.
        case busy
        /// Trust roots, certificate or key cannot be read.
        case badCredentials
        /// The waiting task was cancelled.
        case cancelled
    }

    /// The kind of failure.
    public let kind: Kind
    /// Where the connection went to.
    public let endpoint: Endpoint
    /// What was seen.
    public let detail: String

    /// A failure.
    public init(_ kind: Kind, _ endpoint: Endpoint, _ detail: String) {
        self.kind = kind
        self.endpoint = endpoint
        self.detail = detail.printable(limit: 400)
    }

    public var publicMessage: String {
        switch kind {
        case .refused: "\(endpoint) refuses connections: check that the conductor runs and the port is right."
        case .unreachable: "\(endpoint) cannot be reached: check address, cable and routes."
        case .connectTimeout: "\(endpoint) did not answer in time: check address, network and firewall."
        case .idleTimeout: "\(endpoint) stopped answering."
        case .notTrusted: "\(endpoint) has a certificate that cannot be trusted: check the CA, the name and the clock."
        case .tls: "TLS with \(endpoint) failed: check this node's certificate and the clock."
        case .tooLarge: "\(endpoint) sent more than is accepted."
        case .closed: "\(endpoint) closed the connection."
        case .badAnswer: "\(endpoint) gave an answer that is not understood."
        case .upgradeRefused(let status): "\(endpoint) refused the stream with status \(status)."
        case .busy: "The connection to \(endpoint) already carries a request."
        case .badCredentials: "The certificates or the key for \(endpoint) cannot be read."
        case .cancelled: "The request to \(endpoint) was cancelled."
        }
    }

    public var diagnostic: String { detail.isEmpty ? publicMessage : "\(publicMessage) (\(detail))" }
}

extension TransportError {
    /// The failure that `error`, thrown by the network stack, means.
    static func of(_ error: any Error, _ endpoint: Endpoint) -> TransportError {
        switch error {
        case let error as TransportError: return error
        case is CancellationError: return TransportError(.cancelled, endpoint, "")
        case let error as NIOConnectionError: return of(connecting: error, endpoint)
        case ChannelError.connectTimeout: return TransportError(.connectTimeout, endpoint, "")
        case is ChannelError: return TransportError(.closed, endpoint, "\(error)")
        case let error as IOError: return of(io: error, endpoint)
        case is NIOSSLExtraError: return TransportError(.notTrusted, endpoint, "\(error)")
        case is NIOSSLError, is BoringSSLError: return of(tls: error, endpoint)
        default: return TransportError(.badAnswer, endpoint, "\(error)")
        }
    }

    private static func of(connecting error: NIOConnectionError, _ endpoint: Endpoint) -> TransportError {
        if let first = error.connectionErrors.first { return of(first.error, endpoint) }
        let cause = error.dnsAError ?? error.dnsAAAAError
        return TransportError(.unreachable, endpoint, cause.map { "\($0)" } ?? "no address")
    }

    private static func of(io error: IOError, _ endpoint: Endpoint) -> TransportError {
        switch error.errnoCode {
        case ErrorNumber.connectionRefused: TransportError(.refused, endpoint, "\(error)")
        case ErrorNumber.timedOut: TransportError(.connectTimeout, endpoint, "\(error)")
        case ErrorNumber.networkUnreachable, ErrorNumber.hostUnreachable:
            TransportError(.unreachable, endpoint, "\(error)")
        default: TransportError(.closed, endpoint, "\(error)")
        }
    }

    private static func of(tls error: any Error, _ endpoint: Endpoint) -> TransportError {
        let text = "\(error)"
        if text.contains("CERTIFICATE_VERIFY_FAILED") { return TransportError(.notTrusted, endpoint, text) }
        if case NIOSSLError.uncleanShutdown = error { return TransportError(.closed, endpoint, text) }
        return TransportError(.tls, endpoint, text)
    }
}
