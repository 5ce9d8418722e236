import APISupport
import BareMetalAPI
import CatalogIdentity
import FleetAPI
import FleetContract
import FoundationEssentials
import Identity
import IdentityAPI
import Logging
import OpenIDIssuers
import Policy
import Primitives
import ReconcileRuntime
import ResourceModel

/// The identity service of a conductor: its keys, its first administrator, its API.
struct CloudIdentity: Sendable {
    let backend: IdentityBackend
    let door: APIDoor

    /// Makes what a first start has to make, and opens the rest.
    static func open(
        store: any ResourceStore, cache: ResourceCache, vault: SecretVault, audit: AuditLog,
        configuration: ConductorConfiguration, clock: any WallClock, logger: Logger
    ) async throws -> CloudIdentity {
        let settings =
            try configuration.identitySettingsFile.map { try IdentitySettingsFile.read($0).settings }
            ?? Authenticator.Settings()
        let passwords = PasswordDesk(hasher: ScryptHasher(cost: configuration.passwordCost))
        let bootstrap = IdentityBootstrap(store: store, passwords: passwords, clock: clock)
        let clouds = CloudsFile(configuration)
        let isFirst = try await bootstrap.run { try clouds.write(.administrator(password: $0)) }
        if isFirst { logger.notice("the cloud's first administrator is in \(clouds.path)") }
        let url = configuration.publicURL
        try await bootstrap.ensureCatalog(
            region: configuration.region,
            [
                .init(type: "identity", name: "keystone", url: "\(url)\(KeystoneAPI.path)", hasUser: false),
                .init(type: "baremetal", name: "ironic", url: "\(url)\(IronicAPI.path)"),
                .init(type: FleetPath.serviceType, name: "muster", url: "\(url)\(FleetPath.root)", hasUser: false),
            ]
        ) { service, password in
            let file = try clouds.add(.service(service, password: password))
            logger.notice("the service user \(service) is in \(file)")
        }
        let keys = TokenKeyStore(store: store, vault: vault, clock: clock)
        let tokens = TokenDesk(
            cache: cache, ring: try await keys.turn(age: settings.keyAge, lifetime: settings.lifetime), keys: keys,
            clock: clock)
        let authenticator = Authenticator(
            cache: cache, store: store, tokens: tokens, passwords: passwords, vault: vault, clock: clock,
            settings: settings)
        let openID = try openID(configuration.oidcSettingsFile, clock: clock) { problem in
            logger.warning("federated logins wait", metadata: ["cause": .string(problem.diagnostic)])
        }
        let backend = IdentityBackend(
            store: store, cache: cache, tokens: tokens, authenticator: authenticator, passwords: passwords,
            vault: vault,
            audit: audit, clock: clock, openID: openID,
            logins: configuration.apiRate > 0 ? LoginPlaces() : nil, logger: logger)
        let rates = configuration.apiRate > 0 ? CallRates(perSecond: configuration.apiRate, clock: clock) : nil
        let policy = try policy(configuration.policyFile)
        return CloudIdentity(backend: backend, door: backend.door(policy: policy, rates: rates))
    }

    /// The rules of the cloud's APIs with those of the operator's file; throws `PolicyError`, and `InvalidValue` for a file
    /// that cannot be read.
    static func policy(_ path: String?) throws -> PolicyTable {
        let defaults = IdentityPolicy.defaults + BareMetalPolicy.defaults + FleetPolicy.defaults
        guard let path else { return try PolicyTable(defaults) }
        let text: String
        do { text = try String(contentsOfFile: path, encoding: .utf8) } catch {
            throw InvalidValue("policy file", path, expected: "a file of UTF-8 text that can be read")
        }
        return try PolicyTable(defaults, file: PolicyFile(text, path: path))
    }

    /// What checks the tokens of the operator's identity providers; nil: there is no file of them. Throws
    /// `IssuerSettingsError`.
    static func openID(
        _ path: String?, clock: any WallClock, report: @escaping @Sendable (FederationError) -> Void = { _ in }
    ) throws -> OpenIDVerifier? {
        guard let path else { return nil }
        let text: String
        do { text = try String(contentsOfFile: path, encoding: .utf8) } catch {
            throw IssuerSettingsError(path: path, problem: "it is no file of UTF-8 text that can be read")
        }
        let settings = try IssuerSettings(text, path: path)
        return OpenIDVerifier(
            settings: settings, documents: try IssuerFetch(settings, path: path), clock: clock, report: report)
    }

    /// The holder of a token of the identity API, for the operators' API; nil: it is not valid there.
    func fleetCaller(of text: String) -> Caller? {
        // Access rules name requests of the cloud's services; none of them names the fleet's. Nor are access keys for it.
        guard let token = try? backend.tokens.verify(text), token.accessRules == nil, !token.payload.isOfEC2Credential
        else { return nil }
        return Caller(token)
    }

    /// The gate of the operators' API: the same rules, with the project that the first administrator works in.
    var gate: Gate {
        let cache = backend.cache
        return Gate(policy: door.policy, audit: backend.audit) {
            IdentityDirectory(cache.snapshot())
                .project(named: IdentityBootstrap.adminProject, in: IdentityBootstrap.defaultDomain)?.id
        }
    }

    /// Tells of the rules, with the routes of this service and `others`.
    func policyDesk(with others: [GuardedRoute]) -> PolicyDesk {
        let backend = backend
        return PolicyDesk(policy: door.policy, routes: service.guardedRoutes + others, directory: { backend.directory })
    }

    var service: APIService<IdentityBackend> { KeystoneAPI.service(backend, door: door) }
}
