import APISupport
import CatalogIdentity
import Identity
import Logging
import Primitives
import ReconcileRuntime
import ResourceModel

/// All that the identity API works with; filled by whoever composes the conductor.
public struct IdentityBackend: APIBackend {
    /// Where nouns are written.
    public var store: any ResourceStore
    /// Where nouns are read; it must hold all of `IdentityDirectory.kinds` and `.indexes`.
    public var cache: ResourceCache
    /// Opens and seals tokens.
    public var tokens: TokenDesk
    /// Gives tokens.
    public var authenticator: Authenticator
    /// Hashes and checks passwords.
    public var passwords: PasswordDesk
    /// Seals blobs and secrets.
    public var vault: SecretVault
    /// Has one event of each change.
    public var audit: AuditLog
    /// The time.
    public var clock: any WallClock
    /// Identifiers and secrets.
    public var random: RandomBytes
    /// Bounds the logins of each address and user that are under way; nil: any number.
    public var logins: LoginPlaces?
    /// Where failures are written.
    public var logger: Logger

    /// A backend.
    public init(
        store: any ResourceStore, cache: ResourceCache, tokens: TokenDesk, authenticator: Authenticator,
        passwords: PasswordDesk, vault: SecretVault, audit: AuditLog, clock: any WallClock,
        random: RandomBytes = .system, logins: LoginPlaces? = nil, logger: Logger
    ) {
        self.store = store
        self.cache = cache
        self.tokens = tokens
        self.authenticator = authenticator
        self.passwords = passwords
        self.vault = vault
        self.audit = audit
        self.clock = clock
        self.random = random
        self.logins = logins
        self.logger = logger
    }

    /// Everything as it is now.
    public var directory: IdentityDirectory { IdentityDirectory(cache.snapshot()) }

    /// A new identifier: 32 hexadecimal digits.
    func newID() -> String { Hex.encode(random(16)) }
}

typealias IdentityCall = APICall<IdentityBackend>
typealias IdentityRoute = APIRoute<IdentityBackend>
typealias IdentityPlan = ChangePlan

extension ChangePlan {
    /// Deletes an entry, however it is by then.
    mutating func delete<Spec: IdentitySpec>(_ entry: IdentityEntry<Spec>) { delete(entry.key) }

    /// Holds the plan to what was seen of an entry and of the domain that it is in: somebody who changes or deletes one
    /// of them makes the plan be made anew.
    mutating func needs<Spec: IdentitySpec>(
        _ type: IdentityEntry<Spec>.Type, _ id: String, in directory: IdentityDirectory
    ) {
        guard let stored = directory.now.stored(type, CatalogName.of(id)) else { return }
        need(stored)
        if let domain = stored.value.domainID { needs(Project.self, domain, in: directory) }
    }

    /// Takes a name for `id`.
    mutating func take(_ name: UniqueName, for id: String, at time: Timestamp) throws {
        try take(NameMark(name: name.mark, created: time, spec: NameMarkSpec(id: id)))
    }

    /// Gives a name up.
    mutating func free(_ name: UniqueName) { delete(NameMark.key(name.mark)) }
}

extension IdentityEntry {
    /// The domain that it goes away with; nil: it is in none, or is one.
    fileprivate var domainID: String? {
        switch spec {
        case let spec as ProjectSpec: spec.domainID
        case let spec as UserSpec: spec.domainID
        case let spec as GroupSpec: spec.domainID
        case let spec as RoleSpec: spec.domainID
        case let spec as IdentityProviderSpec: spec.domainID
        default: nil
        }
    }
}
