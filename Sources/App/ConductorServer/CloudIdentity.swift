import APISupport
import BareMetalAPI
import CatalogIdentity
import FoundationEssentials
import Identity
import IdentityAPI
import Logging
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
                .init(type: "identity", name: "keystone", url: "\(url)\(KeystoneAPI.path)"),
                .init(type: "baremetal", name: "ironic", url: "\(url)\(IronicAPI.path)"),
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
        let backend = IdentityBackend(
            store: store, cache: cache, tokens: tokens, authenticator: authenticator, passwords: passwords,
            vault: vault,
            audit: audit, clock: clock, logger: logger)
        return CloudIdentity(backend: backend, door: backend.door(policy: try policy(configuration.policyFile)))
    }

    /// The rules of the cloud's APIs with those of the operator's file; throws `PolicyError`, and `InvalidValue` for a file
    /// that cannot be read.
    static func policy(_ path: String?) throws -> PolicyTable {
        let defaults = IdentityPolicy.defaults + BareMetalPolicy.defaults
        guard let path else { return try PolicyTable(defaults) }
        let text: String
        do { text = try String(contentsOfFile: path, encoding: .utf8) } catch {
            throw InvalidValue("policy file", path, expected: "a file of UTF-8 text that can be read")
        }
        return try PolicyTable(defaults, file: PolicyFile(text, path: path))
    }

    /// Whom a token of the identity API makes of its holder for the operators' API; nil: nobody.
    ///
    /// The fleet is the system's: a token has to be the system's, or of the project that the first administrator works in.
    /// Being an administrator of any other project gives no power over machines.
    func operatorPrincipal(of text: String) -> Principal? {
        // Access rules name requests of the cloud's services; none of them names the fleet's. Nor are access keys for it.
        guard let token = try? backend.tokens.verify(text), token.accessRules == nil, !token.payload.isOfEC2Credential
        else { return nil }
        switch token.payload.scope {
        case .system: break
        case .project:
            guard token.scope?.spec.name == IdentityBootstrap.adminProject,
                token.scope?.spec.domainID == IdentityBootstrap.defaultDomain
            else { return nil }
        case .unscoped, .domain: return nil
        }
        let names = Set(token.roles.map(\.spec.name))
        guard let role = OperatorRole.allCases.first(where: { names.contains($0.rawValue) }) else { return nil }
        return .operator(name: token.user.spec.name, role: role)
    }

    var service: APIService<IdentityBackend> { KeystoneAPI.service(backend, door: door) }
}
