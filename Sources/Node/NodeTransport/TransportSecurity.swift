import NIOCore
import NIOSSL

/// How a connection is secured.
public struct TransportSecurity: Sendable {
    let context: NIOSSLContext?

    /// No TLS.
    public static let plain = TransportSecurity(context: nil)

    /// TLS 1.2 or later to a server whose certificate comes from one of the authorities in `trustRootsPEM` and names
    /// the host connected to, as DNS name or IP address; made once and used for many connections.
    ///
    /// `identity` is this side's own certificate for mutual TLS. Throws `CredentialsError` when a PEM cannot be read.
    public static func tls(
        trustRootsPEM: String, identity: ClientIdentity? = nil
    ) throws(CredentialsError) -> TransportSecurity {
        do {
            let roots = try NIOSSLCertificate.fromPEMBytes(Array(trustRootsPEM.utf8))
            guard !roots.isEmpty else { throw CredentialsError(reason: "no certificate in the trust roots") }
            var configuration = TLSConfiguration.makeClientConfiguration()
            configuration.trustRoots = .certificates(roots)
            configuration.certificateVerification = .fullVerification
            configuration.minimumTLSVersion = .tlsv12
            configuration.applicationProtocols = ["http/1.1"]
            if let identity {
                configuration.certificateChain = try NIOSSLCertificate.fromPEMBytes(
                    Array(identity.certificateChainPEM.utf8)
                ).map { .certificate($0) }
                configuration.privateKey = .privateKey(
                    try NIOSSLPrivateKey(bytes: Array(identity.privateKeyPEM.utf8), format: .pem))
            }
            return TransportSecurity(context: try NIOSSLContext(configuration: configuration))
        } catch let error as CredentialsError {
            throw error
        } catch {
            throw CredentialsError(reason: "\(error)")
        }
    }

    /// The handler that secures a connection to `endpoint`; nil for a plain one.
    func makeHandler(for endpoint: Endpoint) throws -> NIOSSLClientHandler? {
        guard let context else { return nil }
        return try NIOSSLClientHandler(
            context: context, serverHostname: endpoint.isAddress ? nil : endpoint.host)
    }
}

/// A client's own certificate and key.
public struct ClientIdentity: Sendable, Hashable {
    /// The certificate, then intermediates, in PEM.
    public let certificateChainPEM: String
    /// The private key in PEM.
    public let privateKeyPEM: String

    /// An identity.
    public init(certificateChainPEM: String, privateKeyPEM: String) {
        self.certificateChainPEM = certificateChainPEM
        self.privateKeyPEM = privateKeyPEM
    }
}

/// Certificates or keys that cannot be read.
public struct CredentialsError: Error, Hashable, CustomStringConvertible {
    /// What is wrong with them.
    public let reason: String

    public var description: String { "The certificates or the key cannot be read: \(reason)." }
}

/// How long a connection may take for what.
public struct TransportLimits: Sendable, Hashable {
    /// For connecting, TLS included.
    public var connectTimeout: Duration
    /// For the peer's next byte while an answer is awaited.
    public var idleTimeout: Duration

    /// Limits.
    public init(connectTimeout: Duration = .seconds(10), idleTimeout: Duration = .seconds(60)) {
        self.connectTimeout = connectTimeout
        self.idleTimeout = idleTimeout
    }
}
