import NIOCore
import NIOSSL
import Primitives
import Synchronization

/// The agent port's certificate, its key, and the authorities that may have issued the agents' certificates.
public struct AgentPortCertificates: Sendable {
    /// The server's certificate, then intermediates, in PEM.
    public var certificateChainPEM: String
    /// The server's private key in PEM; a secret.
    public var privateKeyPEM: String
    /// The site's authority in PEM; two while it is being replaced.
    public var authoritiesPEM: String

    /// Certificates.
    public init(certificateChainPEM: String, privateKeyPEM: String, authoritiesPEM: String) {
        self.certificateChainPEM = certificateChainPEM
        self.privateKeyPEM = privateKeyPEM
        self.authoritiesPEM = authoritiesPEM
    }
}

/// Holds the TLS context that new connections get: certificates are swapped without a restart, and connections that
/// stand keep what they began with.
public final class TLSContextHolder: Sendable {
    private let current: Mutex<NIOSSLContext>

    /// A holder; throws `AgentPortError.badCertificates` when a PEM cannot be read or the key is another one's.
    public init(_ certificates: AgentPortCertificates) throws(AgentPortError) {
        current = Mutex(try Self.makeContext(certificates))
    }

    /// Lets connections accepted from now on use `certificates`; when it throws, the old ones stay.
    public func swap(to certificates: AgentPortCertificates) throws(AgentPortError) {
        let context = try Self.makeContext(certificates)
        current.withLock { $0 = context }
    }

    var context: NIOSSLContext { current.withLock { $0 } }

    private static func makeContext(_ certificates: AgentPortCertificates) throws(AgentPortError) -> NIOSSLContext {
        do {
            let chain = try NIOSSLCertificate.fromPEMBytes(Array(certificates.certificateChainPEM.utf8))
            let authorities = try NIOSSLCertificate.fromPEMBytes(Array(certificates.authoritiesPEM.utf8))
            guard !chain.isEmpty, !authorities.isEmpty else {
                throw AgentPortError.badCertificates("the server's certificate or the authority is missing")
            }
            var configuration = TLSConfiguration.makeServerConfiguration(
                certificateChain: chain.map { .certificate($0) },
                privateKey: .privateKey(
                    try NIOSSLPrivateKey(bytes: Array(certificates.privateKeyPEM.utf8), format: .pem)))
            configuration.trustRoots = .certificates(authorities)
            configuration.certificateVerification = .noHostnameVerification
            configuration.minimumTLSVersion = .tlsv13
            configuration.shutdownTimeout = .seconds(2)
            return try NIOSSLContext(configuration: configuration)
        } catch let error as AgentPortError {
            throw error
        } catch {
            throw AgentPortError.badCertificates("\(error)")
        }
    }
}

/// The agent port cannot work.
public enum AgentPortError: UserFacingError, Hashable {
    /// Another program has the port.
    case portTaken(host: String, port: Int)
    /// The port cannot be opened for another reason.
    case cannotListen(host: String, port: Int, reason: String)
    /// Certificates or key cannot be used.
    case badCertificates(String)
    /// The listening socket was closed from below.
    case stopped(String)

    public var publicMessage: String {
        switch self {
        case .portTaken(let host, let port):
            """
            The agent port \(host):\(port) is taken by another program: stop it (ss -ltnp 'sport = :\(port)' names it) \
            or choose another port.
            """
        case .cannotListen(let host, let port, let reason):
            "The agent port \(host):\(port) cannot be opened: \(reason). Check the address in the settings."
        case .badCertificates(let reason): "The agent port's certificates cannot be used: \(reason)."
        case .stopped(let reason): "The agent port stopped listening: \(reason)."
        }
    }
}
