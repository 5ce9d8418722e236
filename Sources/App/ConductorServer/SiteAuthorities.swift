import CatalogIdentity
import Identity
import Logging
import Primitives
import ResourceModel
import ServiceLifecycle
import Synchronization

/// The authorities of the moment, for all who issue, show or name one.
final class SiteAuthorities: Sendable {
    private let current: Mutex<AuthoritySet>

    init(_ set: AuthoritySet) { current = Mutex(set) }

    /// Those that are in force now.
    var now: AuthoritySet { current.withLock { $0 } }

    /// Those in force from now on.
    func replace(_ set: AuthoritySet) { current.withLock { $0 = set } }
}

/// Where the authorities' keys and certificates are: in the vault, each under names with its number.
struct AuthorityVault: Sendable {
    let vault: SecretVault
    /// The site's name, for the authorities' subjects.
    let name: String
    let clock: any WallClock

    private static let purpose = "certificate authority"

    private static func keySecret(_ number: Int) -> String { number == 1 ? "site-ca-key" : "site-ca-key-\(number)" }

    private static func certificateSecret(_ number: Int) -> String {
        number == 1 ? "site-ca-certificate" : "site-ca-certificate-\(number)"
    }

    /// Authority `number`, made unless the vault has it. Throws `VaultError` or `AuthorityError`.
    func authority(_ number: Int) async throws -> CertificateAuthority {
        do {
            return try CertificateAuthority(
                certificatePEM: try await vault.open(Self.certificateSecret(number)).revealed,
                privateKeyPEM: try await vault.open(Self.keySecret(number)).revealed, clock: clock)
        } catch let error as VaultError {
            guard case .unknown = error else { throw error }
        }
        // Two authorities with one name would be taken for each other when chains are built.
        let made = try CertificateAuthority.makeRoot(name: number == 1 ? name : "\(name) \(number)", clock: clock)
        // The key first: a certificate without its key would be believed and could sign nothing.
        try await vault.seal(Self.keySecret(number), purpose: Self.purpose, SecretText(made.privateKeyPEM))
        try await vault.seal(Self.certificateSecret(number), purpose: Self.purpose, SecretText(made.certificatePEM))
        return made
    }

    /// Deletes the keys of the authorities before `number`; which is done already does no harm.
    func forget(before number: Int) async throws(VaultError) {
        for old in stride(from: number - 1, through: max(1, number - 3), by: -1) {
            try await vault.remove(Self.keySecret(old))
            try await vault.remove(Self.certificateSecret(old))
        }
    }

    /// The authorities of `state` with their keys. Throws `VaultError` or `AuthorityError`.
    func open(_ state: SiteAuthority.State) async throws -> AuthoritySet {
        let newest = try await kept(state.newest)
        var older: CertificateAuthority?
        if let record = state.older { older = try await kept(record) }
        return AuthoritySet(state: state, newest: newest, older: older)
    }

    /// One that must be there: another made in its place would be trusted by nobody.
    private func kept(_ record: SiteAuthority.Authority) async throws -> CertificateAuthority {
        try CertificateAuthority(
            certificatePEM: record.certificatePEM,
            privateKeyPEM: try await vault.open(Self.keySecret(record.number)).revealed, clock: clock)
    }
}

extension SiteAuthority.Authority {
    /// What is stored of authority `number`.
    init(_ authority: CertificateAuthority, number: Int) {
        self.init(
            number: number, fingerprint: authority.fingerprint, certificatePEM: authority.certificatePEM,
            notAfter: authority.validity.notAfter)
    }
}

/// Takes the site from one authority to the next, step by step; the only writer of the authority's status.
struct AuthorityController: Service {
    let store: any ResourceStore
    let keys: AuthorityVault
    let authorities: SiteAuthorities
    /// What hangs on the older authority, as the catalog has it now.
    let dependents: @Sendable (SiteAuthority) -> AuthorityDependents
    /// Called when other authorities are in force: the servers' certificates and `ca.pem` follow.
    let inForce: @Sendable (AuthoritySet) throws -> Void
    let audit: AuditLog
    let clock: any WallClock
    let logger: Logger

    /// How often it is looked whether a step can be made.
    static let interval: Duration = .seconds(1)

    /// The authorities at the start; the first one is made at the first start. Throws `StoreError`, `VaultError` or
    /// `AuthorityError`.
    static func open(store: any ResourceStore, keys: AuthorityVault) async throws -> AuthoritySet {
        if let stored = try await store.fetch(SiteAuthority.self, SiteAuthority.name) {
            let state = stored.value.status.state
            if case .steady(let only) = state { try await keys.forget(before: only.number) }
            return try await keys.open(state)
        }
        let first = try await keys.authority(1)
        let record = SiteAuthority(
            created: keys.clock.now, first: SiteAuthority.Authority(first, number: 1))
        let made = Stored(new: record)
        _ = try await store.commit(Transaction(conditions: [made.unchanged], operations: [made.put()]))
        return AuthoritySet(state: record.status.state, newest: first, older: nil)
    }

    func run() async throws {
        try? await cancelWhenGracefulShutdown {
            while true {
                try await Task.sleep(for: Self.interval)
                // One at a time: who has read ca.pem before a step has the time to connect with it.
                do { _ = try await step() } catch let error as CancellationError {
                    throw error
                } catch {
                    logger.log(
                        level: error.logLevel(.error),
                        "the rotation of the site's authority does not go on, and is tried again: \(error)")
                }
            }
        }
    }

    /// Makes the next step if there is one; false when there was none.
    func step() async throws -> Bool {
        guard let stored = try await store.fetch(SiteAuthority.self, SiteAuthority.name) else { return false }
        let state = stored.value.status.state
        if authorities.now.state != state { try await putInForce(state) }
        let next: SiteAuthority.State
        let what: String
        switch AuthorityMachine.next(stored.value, hanging: dependents(stored.value)) {
        case .rest:
            return false
        case .introduce(let number):
            let (newer, older) = (try await keys.authority(number), authorities.now.issuing)
            next = .introducing(
                newer: SiteAuthority.Authority(newer, number: number), older: state.newest,
                cross: try newer.crossCertificate(of: older))
            what = "authority \(number) (\(newer.fingerprint)) is made and told to all nodes"
        case .serve:
            guard let older = state.older else { return false }
            next = .replacing(newer: state.newest, older: older)
            what = "the servers show certificates of authority \(state.newest.number)"
        case .drop:
            next = .steady(state.newest)
            what = "authority \(state.newest.number - 1) is not trusted any more"
        }
        var changed = stored
        changed.value.status = SiteAuthority.Status(state: next, since: clock.now)
        do {
            _ = try await store.commit(Transaction(conditions: [changed.unchanged], operations: [changed.put()]))
        } catch {
            guard case .conflict = error else { throw error }
            return true
        }
        logger.notice("certificate authority: \(what)")
        try await putInForce(next)
        if case .steady(let only) = next { try await keys.forget(before: only.number) }
        try await audit.record(
            AuditEventSpec(
                who: "conductor", verb: "rotate", resource: SiteAuthority.key(SiteAuthority.name), outcome: .ok,
                summary: what))
        return true
    }

    private func putInForce(_ state: SiteAuthority.State) async throws {
        let set = try await keys.open(state)
        authorities.replace(set)
        try inForce(set)
    }
}
