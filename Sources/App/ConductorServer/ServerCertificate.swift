import BootServer
import AgentPort
import CatalogIdentity
import HummingbirdCore
import Identity
import Logging
import NIOCore
import NIOSSL
import Primitives
import ServiceLifecycle
import Synchronization

/// The conductor's own certificate: issued at the start, and anew when a third of its life is over, the machine's
/// addresses have changed or other authorities are in force. Servers take the newest for each connection, so that none
/// needs a restart.
final class ServerCertificate: Service {
    private struct State {
        var context: NIOSSLContext
        var addresses: [IPv4Address]
        var authorities: SiteAuthority.State
        var renewal: Timestamp
    }

    /// How often it is looked at.
    static let interval: Duration = .seconds(60)

    /// The contexts of the agents' port, which asks for a certificate in return.
    let agents: TLSContextHolder
    private let authorities: SiteAuthorities
    private let names: [String]
    private let addresses: @Sendable () -> [IPv4Address]
    private let clock: any WallClock
    private let logger: Logger
    private let state: Mutex<State>

    /// Issues the first one for `names` (DNS names and addresses) and the machine's own `addresses`.
    ///
    /// Throws `AuthorityError`, `AgentPortError` or what NIOSSL throws.
    init(
        authorities: SiteAuthorities, names: [String],
        addresses: @escaping @Sendable () -> [IPv4Address] = { LocalAddresses.all() }, clock: any WallClock,
        logger: Logger
    ) throws {
        self.authorities = authorities
        self.names = names
        self.addresses = addresses
        self.clock = clock
        self.logger = logger
        let own = addresses()
        let set = authorities.now
        let issued = try Self.issue(set, names, own)
        agents = try TLSContextHolder(Self.agentCertificates(issued, set))
        state = Mutex(
            State(
                context: try Self.context(issued), addresses: own, authorities: set.state,
                renewal: Self.renewal(after: clock.now)))
    }

    /// The context for a connection that is accepted now.
    var context: NIOSSLContext { state.withLock { $0.context } }

    func run() async throws {
        try? await cancelWhenGracefulShutdown {
            while true {
                try await Task.sleep(for: Self.interval)
                do { try self.renewIfDue() } catch {
                    self.logger.error("the conductor's certificate was not renewed, and is tried again: \(error)")
                }
            }
        }
    }

    /// Issues a new one when it is time; connections that are open keep theirs.
    func renewIfDue() throws {
        let own = addresses()
        let set = authorities.now
        let isDue = state.withLock {
            $0.renewal <= clock.now || $0.addresses != own || $0.authorities != set.state
        }
        guard isDue else { return }
        let issued = try Self.issue(set, names, own)
        let context = try Self.context(issued)
        try agents.swap(to: Self.agentCertificates(issued, set))
        state.withLock {
            $0 = State(
                context: context, addresses: own, authorities: set.state, renewal: Self.renewal(after: clock.now))
        }
        logger.info("the conductor has a new certificate for \(own.map(\.description).joined(separator: ", "))")
    }

    private static func renewal(after now: Timestamp) -> Timestamp {
        now.advanced(by: .milliseconds(CertificateAuthority.serverLifetime.milliseconds / 3))
    }

    /// A certificate with what is shown after it.
    private static func issue(
        _ set: AuthoritySet, _ names: [String], _ addresses: [IPv4Address]
    ) throws -> IssuedServer {
        let issued = try set.serving.issueServer(
            dnsNames: names.filter { (try? IPv4Address($0)) == nil } + ["localhost"],
            addresses: addresses + names.compactMap { try? IPv4Address($0) })
        return IssuedServer(
            certificatePEM: issued.certificatePEM + set.servingChainPEM, privateKeyPEM: issued.privateKeyPEM)
    }

    private static func agentCertificates(_ issued: IssuedServer, _ set: AuthoritySet) -> AgentPortCertificates {
        AgentPortCertificates(
            certificateChainPEM: issued.certificatePEM, privateKeyPEM: issued.privateKeyPEM,
            authoritiesPEM: set.bundlePEM)
    }

    private static func context(_ issued: IssuedServer) throws -> NIOSSLContext {
        var tls = TLSConfiguration.makeServerConfiguration(
            certificateChain: try NIOSSLCertificate.fromPEMBytes(Array(issued.certificatePEM.utf8)).map {
                .certificate($0)
            },
            privateKey: .privateKey(try NIOSSLPrivateKey(bytes: Array(issued.privateKeyPEM.utf8), format: .pem)))
        tls.minimumTLSVersion = .tlsv12
        // For TLS 1.2, whose other suites have no forward secrecy or use CBC.
        tls.cipherSuiteValues = [
            .TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, .TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
            .TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
        ]
        return try NIOSSLContext(configuration: tls)
    }
}

extension HTTPServerBuilder {
    /// HTTP/1.1 over TLS with the newest certificate, for connections that get a place of `addresses`.
    static func https(
        _ certificate: ServerCertificate, addresses: AddressLimit, idleTimeout: TimeAmount? = nil
    ) -> HTTPServerBuilder {
        HTTPServerBuilder { responder in
            let configuration = HTTP1Channel.Configuration(
                additionalChannelHandlers: [FirstRequestDeadline()], idleTimeout: idleTimeout,
                httpDecoderConfiguration: .init(
                    maxHeaderFieldSize: headerSizeMax, maxHeaderListSize: headerSizeMax, maxHeaderFieldCount: 64))
            return BoundedChannel(
                RenewedTLSChannel(
                    base: HTTP1Channel(responder: responder, configuration: configuration), certificate: certificate),
                addresses)
        }
    }

    /// Bytes of all header fields of a request.
    private static var headerSizeMax: Int { 16 * 1024 }
}

/// Puts TLS before a server's connections, with the certificate of the moment.
private struct RenewedTLSChannel<Base: ServerChildChannel>: ServerChildChannel {
    typealias Value = Base.Value

    let base: Base
    let certificate: ServerCertificate

    func setup(channel: any Channel, logger: Logger) -> EventLoopFuture<Value> {
        channel.eventLoop.makeCompletedFuture {
            try channel.pipeline.syncOperations.addHandler(NIOSSLServerHandler(context: certificate.context))
        }.flatMap {
            base.setup(channel: channel, logger: logger)
        }
    }

    func handle(value: Value, logger: Logger) async { await base.handle(value: value, logger: logger) }
}
