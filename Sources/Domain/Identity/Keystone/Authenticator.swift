import CatalogIdentity
import Primitives
import ReconcileRuntime
import ResourceModel

/// Gives tokens to those who show that they are who they say.
public struct Authenticator: Sendable {
    /// What a site sets.
    public struct Settings: Sendable {
        /// How long a token is good.
        public var lifetime: Duration = .seconds(3600)
        /// How long the receipt of a login that needs more methods is good.
        public var receiptLifetime: Duration = .seconds(300)
        /// How old the key that seals tokens becomes.
        public var keyAge: Duration = .seconds(30 * 86_400)
        /// Whether a scoped token may be exchanged for another one.
        public var allowsRescoping = true
        /// What is asked of passwords and logins.
        public var passwordRules = PasswordRules()

        /// The defaults.
        public init() {}
    }

    let cache: ResourceCache
    let store: any ResourceStore
    let tokens: TokenDesk
    let passwords: PasswordDesk
    let vault: SecretVault
    let clock: any WallClock
    let random: RandomBytes
    public let settings: Settings

    /// An authenticator.
    public init(
        cache: ResourceCache, store: any ResourceStore, tokens: TokenDesk, passwords: PasswordDesk, vault: SecretVault,
        clock: any WallClock, random: RandomBytes = .system, settings: Settings = Settings()
    ) {
        self.cache = cache
        self.store = store
        self.tokens = tokens
        self.passwords = passwords
        self.vault = vault
        self.clock = clock
        self.random = random
        self.settings = settings
    }

    /// Who somebody was found to be.
    struct Finding {
        var user: User
        var methods: [String]
        /// The token that was shown.
        var parent: ValidToken?
        var applicationCredential: ApplicationCredential?
        /// What a user has lent to a consumer.
        var accessToken: ConsumerToken?
        /// The identity provider that has vouched for the user.
        var federation: TokenPayload.Federation?
    }

    /// A new token with its text; throws `AuthenticationError`.
    public func authenticate(
        _ request: AuthenticationRequest
    ) async throws(AuthenticationError) -> (text: String, token: ValidToken) {
        guard !request.proofs.isEmpty else { throw .invalid("The request names no authentication method.") }
        var findings: [Finding] = []
        for proof in request.proofs { findings.append(try await check(proof)) }
        var finding = findings[0]
        for other in findings.dropFirst() {
            guard other.user.id == finding.user.id else { throw .refused("the methods name different users") }
            finding.methods += other.methods.filter { !finding.methods.contains($0) }
            finding.parent = finding.parent ?? other.parent
            finding.applicationCredential = finding.applicationCredential ?? other.applicationCredential
            finding.accessToken = finding.accessToken ?? other.accessToken
        }
        try checkFactors(&finding, receipt: request.receipt)
        return try await issue(finding, request.scope)
    }

    func directory() -> IdentityDirectory { IdentityDirectory(cache.snapshot()) }

    // MARK: Proofs

    private func check(_ proof: AuthenticationRequest.Proof) async throws(AuthenticationError) -> Finding {
        switch proof {
        case .password(let reference, let password):
            let user = directory().user(reference)
            return try await checkPassword(of: user, password)
        case .passcode(let reference, let passcode):
            guard let user = directory().user(reference) else { throw .refused("there is no such user") }
            try await checkPasscode(of: user, passcode)
            return Finding(user: user, methods: ["totp"])
        case .token(let text):
            let token: ValidToken
            do { token = try tokens.verify(text) } catch { throw .refused(error.diagnostic) }
            guard !token.payload.isDelegated else {
                throw .forbidden("A token of what was lent may not be exchanged for another one.")
            }
            if !settings.allowsRescoping, token.payload.scope != .unscoped {
                throw .forbidden("A scoped token may not be exchanged for another one here.")
            }
            var methods = token.payload.methods
            if !methods.contains("token") { methods.append("token") }
            return Finding(user: token.user, methods: methods, parent: token)
        case .applicationCredential(let reference, let secret):
            return try await checkApplicationCredential(reference, secret)
        case .accessToken(let request): return try await checkAccessToken(request)
        }
    }

    /// The same time is spent whether or not there is such a user.
    private func checkPassword(
        of user: User?, _ password: SecretText
    ) async throws(AuthenticationError) -> Finding {
        let isRight: Bool
        do {
            isRight = try await passwords.verify(password.revealed, user?.spec.passwords.last?.hash)
        } catch { throw .desk(error) }
        guard let user else { throw .refused("there is no such user") }
        if let refusal = try await note(isRight: isRight, of: user) {
            guard refusal != .expired else { throw .passwordExpired(userID: user.id) }
            throw .refused(refusal.publicMessage)
        }
        return Finding(user: user, methods: ["password"])
    }

    /// Returns when `password` is the one of `user`, ended or not: whoever shows it may change it. It counts as a login
    /// does, right or wrong; throws `AuthenticationError`.
    public func checkForChange(of user: User?, _ password: SecretText) async throws(AuthenticationError) {
        do { _ = try await checkPassword(of: user, password) } catch {
            guard case .passwordExpired = error else { throw error }
        }
    }

    /// What the rules say to a login, and what it leaves; decided on the record as it is when that is written.
    private func note(isRight: Bool, of user: User) async throws(AuthenticationError) -> LoginRefusal? {
        let rules = settings.passwordRules
        let now = clock.now
        let directory = directory()
        var refusal: LoginRefusal?
        try await updateLogins(of: user) { logins in
            let record = directory.passwordRecord(of: user, logins: logins)
            let step = rules.login(record, isRight: isRight, now: now)
            refusal = step.refusal
            return rules.lockoutAttempts == nil && isRight == false ? logins : logins.after(step.next)
        }
        return refusal
    }

    /// Changes what is kept of a user's logins; nothing is written where nothing changes.
    private func updateLogins(
        of user: User, _ change: (LoginRecordSpec) throws(AuthenticationError) -> LoginRecordSpec
    ) async throws(AuthenticationError) {
        let name = CatalogName.of(user.id)
        do {
            try await store.update(LoginRecord.self, name) { found in
                let before = found?.value.spec ?? LoginRecordSpec()
                let after = try change(before)
                guard after != before else { return nil }
                var next = found ?? Stored(new: LoginRecord(name: name, created: clock.now, spec: before))
                next.value.spec = after
                return next
            }
        } catch let error as AuthenticationError {
            throw error
        } catch let error as StoreError {
            throw .store(error)
        } catch {
            throw .refused("the login was not noted: \(error)")
        }
    }

    /// A passcode is taken once, of any of the user's credentials of type `totp`.
    private func checkPasscode(of user: User, _ passcode: SecretText) async throws(AuthenticationError) {
        let directory = directory()
        guard user.spec.isEnabled else { throw .refused("the user is off") }
        var found: Int64?
        for credential in directory.credentials(of: user.id) where credential.spec.type == "totp" {
            guard let secret = directory.now.get(Secret.self, CredentialSpec.secretName(credential.id)),
                let text = try? vault.open(secret), let generator = try? TOTP(secret: text.revealed)
            else { continue }
            found = generator.step(of: passcode.revealed, now: clock.now) ?? found
        }
        guard let step = found else { throw .refused("the one-time password is wrong") }
        try await updateLogins(of: user) { logins throws(AuthenticationError) in
            guard logins.passcodeStep.map({ step > $0 }) ?? true else {
                throw .refused("the one-time password was used before")
            }
            var next = logins
            next.passcodeStep = step
            return next
        }
    }

    private func checkApplicationCredential(
        _ reference: AuthenticationRequest.CredentialReference, _ secret: SecretText
    ) async throws(AuthenticationError) -> Finding {
        let directory = directory()
        let found: ApplicationCredential? =
            switch reference {
            case .id(let id): directory.entry(ApplicationCredential.self, id)
            case .name(let name, let user):
                directory.user(user).flatMap { user in
                    directory.applicationCredentials(of: user.id).first { $0.spec.name == name }
                }
            }
        let isRight: Bool
        do { isRight = try await passwords.verify(secret.revealed, found?.spec.hash) } catch { throw .desk(error) }
        guard let found, isRight else {
            throw .refused("there is no such application credential, or its secret is another")
        }
        guard found.spec.expires.map({ clock.now < $0 }) ?? true else {
            throw .refused("the application credential has ended")
        }
        guard let user = directory.user(found.spec.userID) else { throw .refused("the user is gone") }
        return Finding(user: user, methods: ["application_credential"], applicationCredential: found)
    }

    // MARK: Scope

    func issue(
        _ finding: Finding, _ asked: AuthenticationRequest.Scope?
    ) async throws(AuthenticationError) -> (text: String, token: ValidToken) {
        let directory = directory()
        let now = clock.now
        // Users without a password are looked after by who vouches for them.
        let record = directory.passwordRecord(of: finding.user)
        guard record.passwords.isEmpty || settings.passwordRules.isEnabled(record, now: now) else {
            throw .refused("the user is off, or was away for too long")
        }
        var trust: Trust?
        let scope: TokenPayload.Scope
        if let credential = finding.applicationCredential {
            guard asked == nil || resolves(asked, to: credential.spec.projectID, directory) else {
                throw .refused("an application credential is good for its own project only")
            }
            scope = .project(credential.spec.projectID)
        } else if let lent = finding.accessToken {
            guard asked == nil || resolves(asked, to: lent.spec.projectID, directory) else {
                throw .refused("an access token is good for its own project only")
            }
            scope = .project(lent.spec.projectID)
        } else if case .trust(let id) = asked {
            let found = try self.trust(id, for: finding, directory, now)
            trust = found
            scope = found.spec.projectID.map { .project($0) } ?? .unscoped
        } else {
            scope = try self.scope(asked, of: finding.user, directory, now)
            if finding.parent?.payload.scope == .system, scope != .system, scope != .unscoped {
                throw .forbidden("A token of the system may not be exchanged for one of a project or domain.")
            }
        }
        let user = trust.flatMap { $0.spec.isImpersonation ? directory.user($0.spec.trustorID) : nil } ?? finding.user
        let auditID = Self.auditID(random)
        var ends = [now.advanced(by: settings.lifetime)]
        if let parent = finding.parent { ends.append(parent.payload.expires) }
        if let end = finding.applicationCredential?.spec.expires { ends.append(end) }
        if let end = finding.accessToken?.spec.expires { ends.append(end) }
        if let end = trust?.spec.expires { ends.append(end) }
        var payload = TokenPayload(
            userID: user.id, methods: finding.methods, scope: scope, issued: now, expires: ends.min() ?? now,
            auditID: auditID, auditChainID: finding.parent?.payload.auditChainID ?? auditID, trustID: trust?.id,
            applicationCredentialID: finding.applicationCredential?.id, accessTokenID: finding.accessToken?.id)
        payload.federation = finding.federation ?? finding.parent?.payload.federation
        let token: ValidToken
        do { token = try directory.validate(payload, at: now) } catch { throw .refused(error.diagnostic) }
        if let trust, trust.spec.remainingUses != nil { try await useUp(trust) }
        do { return (try tokens.sealer.seal(payload, random: random), token) } catch {
            throw .refused("the token cannot be sealed: \(error.diagnostic)")
        }
    }

    private func resolves(
        _ scope: AuthenticationRequest.Scope?, to project: String, _ directory: IdentityDirectory
    ) -> Bool {
        guard case .project(let reference) = scope else { return false }
        return directory.project(reference)?.id == project
    }

    private func scope(
        _ asked: AuthenticationRequest.Scope?, of user: User, _ directory: IdentityDirectory, _ now: Timestamp
    ) throws(AuthenticationError) -> TokenPayload.Scope {
        switch asked {
        case .unscoped, .trust: return .unscoped
        case .system: return .system
        case .domain(let reference):
            guard let domain = directory.domain(reference) else { throw .refused("there is no such domain") }
            return .domain(domain.id)
        case .project(let reference):
            guard let project = directory.project(reference) else { throw .refused("there is no such project") }
            return .project(project.id)
        case nil:
            guard let id = user.spec.defaultProjectID, let project = directory.project(id), project.spec.isEnabled,
                !directory.effectiveRoleIDs(of: user.id, in: .project(id), at: now).isEmpty
            else { return .unscoped }
            return .project(id)
        }
    }

    private func trust(
        _ id: String, for finding: Finding, _ directory: IdentityDirectory, _ now: Timestamp
    ) throws(AuthenticationError) -> Trust {
        guard let trust = directory.entry(Trust.self, id) else { throw .refused("there is no such trust") }
        guard trust.spec.trusteeID == finding.user.id else { throw .forbidden("The trust is not for this user.") }
        guard trust.spec.expires.map({ now < $0 }) ?? true else { throw .refused("the trust has ended") }
        guard trust.spec.remainingUses.map({ $0 > 0 }) ?? true else { throw .refused("the trust is used up") }
        return trust
    }

    /// Takes one use of a trust; whoever comes when none is left gets nothing.
    private func useUp(_ trust: Trust) async throws(AuthenticationError) {
        let revision: Revision?
        do {
            revision = try await store.update(Trust.self, CatalogName.of(trust.id)) { found in
                guard var found, let left = found.value.spec.remainingUses, left > 0 else { return nil }
                found.value.spec.remainingUses = left - 1
                return found
            }
        } catch let error as StoreError {
            throw .store(error)
        } catch {
            throw .refused("the trust could not be used: \(error)")
        }
        guard revision != nil else { throw .refused("the trust is used up") }
    }

    /// A new audit identifier: 16 random bytes in URL-safe base64 without padding.
    static func auditID(_ random: RandomBytes) -> String { Base64.urlSafe.encode(random(16)) }
}

extension IdentityDirectory {
    /// The user so named; nil: there is none.
    public func user(_ reference: AuthenticationRequest.UserReference) -> User? {
        switch reference {
        case .id(let id): user(id)
        case .name(let name, let domain): self.domain(domain).flatMap { user(named: name, in: $0.id) }
        }
    }

    /// The domain so named; nil: there is none.
    public func domain(_ reference: AuthenticationRequest.DomainReference) -> Project? {
        switch reference {
        case .id(let id): domain(id)
        case .name(let name): domain(named: name)
        }
    }

    /// The project so named; nil: there is none.
    public func project(_ reference: AuthenticationRequest.ProjectReference) -> Project? {
        switch reference {
        case .id(let id): project(id)
        case .name(let name, let domain): self.domain(domain).flatMap { project(named: name, in: $0.id) }
        case .domainItself(let domain): self.domain(domain)
        }
    }
}
