import CatalogIdentity
import Primitives
import ReconcileRuntime
import ResourceModel
import Synchronization

/// Opens tokens and says what they give now; what was found once is kept until something of it changes.
public final class TokenDesk: Sendable {
    /// The most tokens that are kept.
    public static let keptCountMax = 20_000

    private struct Kept {
        var revision = Revision.zero
        var tokens: [String: ValidToken] = [:]
    }

    private let cache: ResourceCache
    private let clock: any WallClock
    private let keys: TokenKeyStore?
    private let sealers: Mutex<Sealers>
    private let kept = Mutex(Kept())

    private struct Sealers {
        let ring: TokenKeyRing
        let token: TokenSealer
        let receipt: TokenSealer

        init(_ ring: TokenKeyRing) {
            self.ring = ring
            token = TokenSealer(ring: ring)
            receipt = TokenSealer(ring: ring, purpose: .receipt)
        }
    }

    /// A desk that reads `cache` and opens tokens with the keys of `ring`, or of a newer one that another conductor has
    /// put in its place in `keys`.
    public init(cache: ResourceCache, ring: TokenKeyRing, keys: TokenKeyStore? = nil, clock: any WallClock) {
        self.cache = cache
        self.clock = clock
        self.keys = keys
        sealers = Mutex(Sealers(ring))
    }

    /// What seals new tokens.
    public var sealer: TokenSealer { sealers.withLock { $0.token } }

    /// What seals receipts of logins that need more methods.
    var receiptSealer: TokenSealer { sealers.withLock { $0.receipt } }

    /// Takes the ring that the cache shows, which another conductor may have turned.
    public func followKeys() {
        if let ring = keys?.ring(in: IdentityDirectory(cache.snapshot())) { _ = use(ring) }
    }

    /// Takes another ring of keys; returns false, and does nothing, when it is the same.
    @discardableResult
    public func use(_ ring: TokenKeyRing) -> Bool {
        let isNew = sealers.withLock { sealers in
            guard sealers.ring != ring else { return false }
            sealers = Sealers(ring)
            return true
        }
        if isNew { kept.withLock { $0 = Kept() } }
        return isNew
    }

    /// The token as of now; throws `TokenRefusal`.
    ///
    /// Call it after the cache's barrier, so that what any conductor has revoked is.
    public func verify(_ text: String) throws(TokenRefusal) -> ValidToken {
        let directory = IdentityDirectory(cache.snapshot())
        let revision = directory.tokenRevision
        let time = clock.now
        let known = kept.withLock { $0.revision == revision ? $0.tokens[text] : nil }
        if let known, known.rolesEnd.map({ time < $0 }) ?? true {
            guard time < known.payload.expires, known.isInTime(time) else { throw .expired }
            return known
        }
        let payload = try open(text, directory)
        let token = try directory.validate(payload, at: time)
        kept.withLock { kept in
            if kept.revision < revision || kept.tokens.count >= Self.keptCountMax {
                kept = Kept(revision: max(revision, kept.revision))
            }
            if kept.revision == revision { kept.tokens[text] = token }
        }
        return token
    }

    private func open(_ text: String, _ directory: IdentityDirectory) throws(TokenRefusal) -> TokenPayload {
        do { return try sealer.open(text) } catch {
            guard case .unknownKey = error, let ring = keys?.ring(in: directory), use(ring) else {
                throw .unreadable(error)
            }
        }
        do { return try sealer.open(text) } catch { throw .unreadable(error) }
    }
}

extension ValidToken {
    /// Whether what it was made from has not ended at `time`.
    func isInTime(_ time: Timestamp) -> Bool {
        (trust?.spec.expires.map { time < $0 } ?? true)
            && (applicationCredential?.spec.expires.map { time < $0 } ?? true)
    }
}

extension IdentityDirectory {
    /// What a token gives at `time`, from everything as it is now; throws `TokenRefusal`.
    public func validate(_ payload: TokenPayload, at time: Timestamp) throws(TokenRefusal) -> ValidToken {
        guard time < payload.expires else { throw .expired }
        // What was changed since would not void it: those times are of a clock that was set back.
        guard payload.issued <= time.advanced(by: TokenPayload.clockSlack) else { throw .void("it is from the future") }
        try refuseRevoked(payload)
        if let federation = payload.federation { try check(federation) }
        guard let user = user(payload.userID) else { throw .void("the user is gone") }
        guard let domain = domain(user.spec.domainID), domain.spec.isEnabled else {
            throw .void("the user's domain is off")
        }
        guard user.spec.isEnabled else { throw .void("the user is off") }
        try refuse(payload, before: user.spec.tokensFrom, of: "the user")
        try refuse(payload, before: domain.spec.tokensFrom, of: "the user's domain")
        let trust = try trust(of: payload, at: time)
        let credential = try applicationCredential(of: payload, at: time)
        let (scope, scopeDomain) = try resolve(payload)
        let roles = try roles(of: payload, user, trust, credential, at: time)
        return ValidToken(
            payload: payload, user: user, userDomain: domain, scope: scope, scopeDomain: scopeDomain,
            roles: roles.sorted { $0.spec.name < $1.spec.name },
            rolesEnd: memberships(ofUser: trust?.spec.trustorID ?? user.id).compactMap(\.spec.expires)
                .filter { time < $0 }.min(),
            trust: trust, applicationCredential: credential,
            accessRules: credential?.spec.accessRuleIDs?.compactMap { entry(AccessRule.self, $0) })
    }

    private func refuseRevoked(_ payload: TokenPayload) throws(TokenRefusal) {
        if entry(Revocation.self, payload.auditID) != nil { throw .revoked }
        if entry(Revocation.self, payload.auditChainID)?.spec.isChain == true { throw .revoked }
    }

    private func refuse(_ payload: TokenPayload, before time: Timestamp?, of what: String) throws(TokenRefusal) {
        if let time, payload.issued < time { throw .void("\(what) was changed") }
    }

    private func trust(of payload: TokenPayload, at time: Timestamp) throws(TokenRefusal) -> Trust? {
        guard let id = payload.trustID else { return nil }
        guard let trust = entry(Trust.self, id), trust.spec.expires.map({ time < $0 }) ?? true else {
            throw .void("the trust is gone")
        }
        for id in [trust.spec.trustorID, trust.spec.trusteeID] {
            guard let user = user(id), user.spec.isEnabled, domain(user.spec.domainID)?.spec.isEnabled == true else {
                throw .void("a user of the trust is gone or off")
            }
            try refuse(payload, before: user.spec.tokensFrom, of: "a user of the trust")
        }
        return trust
    }

    private func applicationCredential(
        of payload: TokenPayload, at time: Timestamp
    ) throws(TokenRefusal) -> ApplicationCredential? {
        guard let id = payload.applicationCredentialID else { return nil }
        guard let found = entry(ApplicationCredential.self, id), found.spec.expires.map({ time < $0 }) ?? true else {
            throw .void("the application credential is gone")
        }
        return found
    }

    private func resolve(_ payload: TokenPayload) throws(TokenRefusal) -> (Project?, Project?) {
        switch payload.scope {
        case .unscoped, .system: return (nil, nil)
        case .domain(let id):
            guard let domain = domain(id), domain.spec.isEnabled else { throw .void("the domain is gone or off") }
            try refuse(payload, before: domain.spec.tokensFrom, of: "the domain")
            return (domain, nil)
        case .project(let id):
            guard let project = project(id), project.spec.isEnabled else { throw .void("the project is gone or off") }
            // A domain that acts as a project is in itself.
            let domainID = project.spec.domainID ?? project.id
            guard let domain = domain(domainID), domain.spec.isEnabled else {
                throw .void("the project's domain is off")
            }
            try refuse(payload, before: project.spec.tokensFrom, of: "the project")
            try refuse(payload, before: domain.spec.tokensFrom, of: "the project's domain")
            return (project, domain)
        }
    }

    /// The roles of a token: what it was made from has now, and no more than that was made for.
    private func roles(
        of payload: TokenPayload, _ user: User, _ trust: Trust?, _ credential: ApplicationCredential?,
        at time: Timestamp
    ) throws(TokenRefusal) -> [UserRole] {
        guard payload.scope != .unscoped else { return [] }
        let actor = trust?.spec.trustorID ?? user.id
        // Those of the provider's groups are the user's own, and none of who has lent something.
        let moreGroups = trust == nil ? payload.federation?.groupIDs ?? [] : []
        var ids = effectiveRoleIDs(of: actor, moreGroups: moreGroups, in: payload.scope, at: time)
        if let trust {
            let wanted = withImplied(Set(trust.spec.roleIDs))
            guard Set(trust.spec.roleIDs).isSubset(of: ids) else {
                throw .void("the trustor has not all roles of the trust")
            }
            ids.formIntersection(wanted)
        }
        if let credential {
            guard Set(credential.spec.roleIDs).isSubset(of: ids) else {
                throw .void("the user has not all roles of the application credential")
            }
            ids.formIntersection(withImplied(Set(credential.spec.roleIDs)))
        }
        if let lent = payload.accessTokenID {
            guard let token = entry(ConsumerToken.self, lent), case .access(_, let roles) = token.spec.phase else {
                throw .void("the access token is gone")
            }
            guard Set(roles).isSubset(of: ids) else { throw .void("the user has not all roles of the access token") }
            ids.formIntersection(withImplied(Set(roles)))
        }
        guard !ids.isEmpty else { throw .void("the user has no role there") }
        return ids.compactMap(role)
    }
}
