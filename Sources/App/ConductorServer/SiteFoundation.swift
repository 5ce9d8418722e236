import CatalogIdentity
import Identity
import Logging
import Primitives
import ReconcileRuntime
import ResourceModel

/// What a site has from its first start on: the vault, its authority, its first operator, its cloud.
struct SiteFoundation: Sendable {
    let cache: ResourceCache
    let vault: SecretVault
    let keys: AuthorityVault
    let authorities: SiteAuthorities
    let operators: OperatorTokens
    let identity: CloudIdentity
    let mediaKey: SecretText
    let storeAuthority: StoreAuthority

    /// The only conductor that makes what is missing at this moment, on a store that several share.
    private static let start = "start"

    /// Opens it; what is not there is made.
    ///
    /// Conductors that start at the same time on one store do so one after the other, each over a store that only lets
    /// the one in whose turn it is: so there is one authority, one vault and one first operator, and whoever comes second
    /// finds them. Throws `VaultError`, `StoreError`, `OperatorTokenError`,
    /// `AuthorityError` and `StoreAuthorityError`.
    static func open(
        _ engine: StoreEngine, _ configuration: ConductorConfiguration, run: String, clock: any WallClock,
        logger: Logger
    ) async throws -> SiteFoundation {
        if engine.isShared {
            let times = LeadershipTimes(timeToLive: .seconds(5), pause: .milliseconds(100))
            _ = try await Leadership.once(
                store: engine.store, name: start, holder: run, times: times, logger: logger
            ) { fenced in
                try await open(fenced, isShared: true, configuration, clock: clock, logger: logger)
            }
        }
        return try await open(
            engine.store, isShared: engine.isShared, configuration, clock: clock, logger: logger)
    }

    private static func open(
        _ store: any ResourceStore, isShared: Bool, _ configuration: ConductorConfiguration, clock: any WallClock,
        logger: Logger
    ) async throws -> SiteFoundation {
        let vault = try await SecretVault.open(
            store: store, keyFile: "\(configuration.stateDirectory)/master.key", clock: clock)
        let keys = AuthorityVault(vault: vault, name: "Muster", clock: clock)
        let authorities = SiteAuthorities(try await AuthorityController.open(store: store, keys: keys))
        try Conductor.writeAuthorities(authorities.now, in: configuration)
        let operators = OperatorTokens(store: store, clock: clock)
        try await operators.load()
        try await ensureOperator(operators, isShared: isShared, configuration, logger)
        let cache = ResourceCache(
            store: store, kinds: LiveCatalog.kinds, indexes: LiveCatalog.indexes, logger: logger)
        let identity = try await CloudIdentity.open(
            store: store, cache: cache, vault: vault, audit: AuditLog(store: store, clock: clock),
            configuration: configuration, clock: clock, logger: logger)
        // Made in this turn, so that all conductors have the same.
        _ = try await PeerKey.open(in: vault)
        return SiteFoundation(
            cache: cache, vault: vault, keys: keys, authorities: authorities, operators: operators, identity: identity,
            mediaKey: try await MediaDesk.key(in: vault),
            storeAuthority: try await StoreAuthority.open(in: vault, clock: clock))
    }

    /// Sees to it that there is an operator. On a shared store a conductor without the file leaves the token alone that
    /// another one's file has.
    private static func ensureOperator(
        _ operators: OperatorTokens, isShared: Bool, _ configuration: ConductorConfiguration, _ logger: Logger
    ) async throws {
        let file = "\(configuration.stateDirectory)/operator.token"
        if isShared, try PrivateFile.read(file) == nil, operators.isKnown(OperatorTokens.firstOperator) { return }
        if try await !operators.ensureFirstOperator(file: file) {
            logger.notice(
                "\(file) holds a token that was replaced or revoked; delete it to get a new one at the next start")
        }
    }
}
