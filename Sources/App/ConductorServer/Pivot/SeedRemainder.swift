import APISupport
import BlobPeers
import BlobStore
import BootServer
import CatalogBareMetal
import ControlPlane
import Hummingbird
import HummingbirdCore
import Identity
import Logging
import Primitives
import ReconcileRuntime
import ResourceModel
import ServiceLifecycle
import UnixSignals

/// What is left of a seed: of one that was broken off while its site may have moved, and of one whose site has. It reads its
/// store past the gate, and writes nothing to it.
struct SeedRemainder: Sendable {
    let configuration: ConductorConfiguration
    let seed: SiteSeed
    let authorities: SiteAuthorities
    let peerKey: SecretText
    let audit: AuditLog
    /// What the pivot's surroundings are made of.
    let ground: PivotGround
    let clock: any WallClock
    let logger: Logger

    /// Opens what is left in the store of `seed`. Throws `VaultError`, `AuthorityError` and `StoreError`.
    static func open(
        _ configuration: ConductorConfiguration, _ seed: SiteSeed, clock: any WallClock, logger: Logger
    ) async throws -> SeedRemainder {
        let store = seed.look
        let vault = try await SecretVault.open(
            store: store, keyFile: "\(configuration.stateDirectory)/master.key", clock: clock)
        let keys = AuthorityVault(vault: vault, name: "Muster", clock: clock)
        let audit = AuditLog(store: store, clock: clock)
        let cache = ResourceCache(
            store: store, kinds: LiveCatalog.kinds, indexes: LiveCatalog.indexes, logger: logger)
        return SeedRemainder(
            configuration: configuration, seed: seed,
            authorities: SiteAuthorities(try await AuthorityController.open(store: store, keys: keys)),
            peerKey: try await PeerKey.open(in: vault), audit: audit,
            ground: PivotGround(
                configuration: configuration, catalog: LiveCatalog(cache: cache), vault: vault, audit: audit, hub: nil,
                clock: clock, logger: logger), clock: clock, logger: logger)
    }

    /// Who finds out and finishes.
    func desk(_ surroundings: PivotSurroundingsMaker) throws -> PivotDesk {
        PivotDesk(seed: seed, surroundings: try surroundings(ground), clock: clock)
    }

    /// Asks the controllers' store, until it answers, whether the site has moved; nothing is served meanwhile.
    func settle(_ desk: PivotDesk) async throws {
        var failure = Backoff(first: .seconds(1), most: .seconds(15))
        var random = SystemRandomNumberGenerator()
        logger.notice("the last run was broken off while its site was moving: the controllers' store is asked first")
        while true {
            do { return try await desk.recover() } catch {
                logger.warning("nothing is served, as it is not known where the site is: \(PivotProblem(error))")
            }
            try await Task.sleep(for: failure.next(using: &random))
        }
    }

    /// Hands out blobs and tells where the site is, until the controllers have all; then this conductor has ended for good.
    /// Returns before that on SIGTERM and SIGINT.
    func serve(_ desk: PivotDesk) async throws {
        try PortProbe.check([("operators' API", configuration.apiHost, configuration.ports.api)])
        let certificate = try ServerCertificate(
            authorities: authorities, names: configuration.names + [configuration.advertisedHost].compactMap(\.self),
            clock: clock, logger: logger)
        let server = Application(
            router: try router(), server: .https(certificate, addresses: configuration.addressLimit(8)),
            configuration: .init(
                address: .hostname(configuration.apiHost, port: configuration.ports.api),
                availableConnectionsDelegate: MaximumAvailableConnections(2048)),
            logger: logger)
        let end = SeedEnd(desk: desk, seed: seed, logger: logger)
        try await ServiceGroup(
            configuration: .init(
                services: [
                    .init(service: NamedService(certificate)), .init(service: NamedService(server)),
                    .init(
                        service: NamedService(end), successTerminationBehavior: .gracefullyShutdownGroup,
                        failureTerminationBehavior: .gracefullyShutdownGroup),
                ],
                gracefulShutdownSignals: [.sigterm, .sigint], logger: logger)
        ).run()
    }

    /// The conductors' questions for blobs; all else is answered with where the site is. Throws what the note and the blobs do.
    private func router() throws -> Router<FleetRequestContext> {
        let blobs = SiteBlobs(
            alone: try FileBlobStore(directory: "\(configuration.stateDirectory)/blobs", clock: clock))
        let router = Router(context: FleetRequestContext.self)
        router.add(middleware: RequestLogMiddleware())
        router.add(middleware: LimitMiddleware())
        router.add(middleware: SiteMovedMiddleware(api: try seed.note()?.api ?? []))
        PeerRoutes(blobs: blobs, key: peerKey, audit: audit, logger: logger).addRoutes(to: router)
        return router
    }
}

/// Answers all but the conductors' questions for blobs with 421 and where the site is.
struct SiteMovedMiddleware: RouterMiddleware {
    /// The URLs of the controllers' API.
    let api: [String]

    func handle(
        _ request: Request, context: FleetRequestContext,
        next: (Request, FleetRequestContext) async throws -> Response
    ) async throws -> Response {
        guard !request.uri.path.hasPrefix(HTTPBlobPeers.path + "/") else { return try await next(request, context) }
        throw APIError(.misdirectedRequest, "site_moved", SiteMoved(api: api).publicMessage)
    }
}

/// Waits until the controllers have all that the seed has, and ends it for good.
private struct SeedEnd: Service {
    let desk: PivotDesk
    let seed: SiteSeed
    let logger: Logger

    private static let lookInterval: Duration = .seconds(1)

    func run() async throws {
        try await cancelWhenGracefulShutdown {
            var failure = Backoff(first: .seconds(1), most: .seconds(30))
            var random = SystemRandomNumberGenerator()
            while !Task.isCancelled {
                do {
                    switch try await self.desk.advance() {
                    case .isDone, .idle: return
                    case .took, .waits, .hasMoved:
                        failure.reset()
                        try? await Task.sleep(for: Self.lookInterval)
                    }
                } catch {
                    guard !Task.isCancelled else { return }
                    // Its store is closed by now.
                    if try self.seed.note()?.state == .retired { throw error }
                    self.logger.warning("the seed is still needed: \(PivotProblem(error))")
                    try? await Task.sleep(for: failure.next(using: &random))
                }
            }
        }
    }
}

/// The site is not here any more.
public struct SiteMoved: UserFacingError, Hashable {
    /// What a conductor ends with that has ended for good: EX_CONFIG of sysexits.h. It is of no use to start it again.
    public static let exitCode: Int32 = 78

    /// The URLs of the controllers' API.
    let api: [String]

    public var publicMessage: String {
        let place = api.isEmpty ? "its controllers" : api.joined(separator: " or ")
        return
            "This site has moved: its API is at \(place). This conductor, which it began with, serves nothing any more."
    }
}
