import APISupport
import BareMetalAPI
import CatalogIdentity
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

    /// The secret that the token keys are.
    private static let keySecret = "identity.token-keys"

    /// Makes what a first start has to make, and opens the rest.
    static func open(
        store: any ResourceStore, cache: ResourceCache, vault: SecretVault, audit: AuditLog,
        configuration: ConductorConfiguration, clock: any WallClock, logger: Logger
    ) async throws -> CloudIdentity {
        let passwords = PasswordDesk(hasher: ScryptHasher(cost: configuration.passwordCost))
        let bootstrap = IdentityBootstrap(store: store, passwords: passwords, clock: clock)
        let file = "\(configuration.stateDirectory)/clouds.yaml"
        let isFirst = try await bootstrap.run { password in
            try PrivateFile.replace(file, Array(CloudsFile(configuration).text(password: password).utf8))
        }
        if isFirst { logger.notice("the cloud's first administrator is in \(file)") }
        let url = configuration.publicURL
        try await bootstrap.ensureCatalog(
            region: configuration.region,
            [
                .init(type: "identity", name: "keystone", url: "\(url)\(KeystoneAPI.path)"),
                .init(type: "baremetal", name: "ironic", url: "\(url)\(IronicAPI.path)"),
            ])
        let tokens = TokenDesk(cache: cache, sealer: TokenSealer(ring: try await keys(in: vault)), clock: clock)
        let authenticator = Authenticator(
            cache: cache, store: store, tokens: tokens, passwords: passwords, vault: vault, clock: clock)
        let openID = try openID(configuration.oidcSettingsFile, clock: clock) { problem in
            logger.warning("federated logins wait", metadata: ["cause": .string(problem.diagnostic)])
        }
        let backend = IdentityBackend(
            store: store, cache: cache, tokens: tokens, authenticator: authenticator, passwords: passwords,
            vault: vault,
            audit: audit, clock: clock, openID: openID, logger: logger
        )
        let door = APIDoor(
            policy: try policy(configuration.policyFile),
            verify: { Caller(try tokens.verify($0)) },
            barrier: { try await cache.barrier() },
            checkAccessRules: { caller, type, method, path in
                // As with Keystone, the rules say which of the other services may be asked.
                guard type != "identity", let token = caller.token, !token.mayRequest(method, path, ofService: type)
                else { return }
                throw APIError.forbidden("The application credential's access rules do not allow this request.")
            })
        return CloudIdentity(backend: backend, door: door)
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

    /// The ring of keys that tokens are sealed with, made at the first start.
    private static func keys(in vault: SecretVault) async throws -> TokenKeyRing {
        do {
            let text = try await vault.open(keySecret).revealed
            return try JSONDecoder().decode(TokenKeyRing.self, from: Data(text.utf8))
        } catch let error as VaultError {
            guard case .unknown = error else { throw error }
        }
        let ring = TokenKeyRing(random: .system)
        let text = String(decoding: try JSONEncoder().encode(ring), as: UTF8.self)
        try await vault.seal(keySecret, purpose: "keys of identity tokens", SecretText(text))
        return ring
    }

    /// Whom a token of the identity API makes of its holder for the operators' API; nil: nobody.
    ///
    /// The fleet is the system's: a token has to be the system's, or of the project that the first administrator works in.
    /// Being an administrator of any other project gives no power over machines.
    func operatorPrincipal(of text: String) -> Principal? {
        // Access rules name requests of the cloud's services; none of them names the fleet's.
        guard let token = try? backend.tokens.verify(text), token.accessRules == nil else { return nil }
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

/// `clouds.yaml` (OpenStack SDK, "Configuring OpenStack SDK Applications"), with which clients find the cloud and its
/// first administrator.
struct CloudsFile {
    private let configuration: ConductorConfiguration

    init(_ configuration: ConductorConfiguration) { self.configuration = configuration }

    func text(password: SecretText) -> String {
        """
        clouds:
          muster:
            auth:
              auth_url: \(configuration.publicURL)\(KeystoneAPI.path)/v3
              username: admin
              password: '\(password.revealed)'
              project_name: admin
              user_domain_name: Default
              project_domain_name: Default
            region_name: '\(configuration.region)'
            interface: public
            identity_api_version: 3
            cacert: \(configuration.stateDirectory)/ca.pem

        """
    }
}
