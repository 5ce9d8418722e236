import BareMetal
import Primitives
import Redfish

/// The password of the account as which the driver speaks (DSP0266 section 13, DSP0268 AccountService).
extension RedfishDriver {
    /// The most accounts that are looked through.
    private static let accountCountMax = 64

    public func passwordRule() async throws(BMCError) -> PasswordRule {
        try await call { session throws(BMCError) in
            do throws(BMCError) {
                let service = try await accountService(session)
                return PasswordRule(lengthMin: service.passwordLengthMin, lengthMax: service.passwordLengthMax)
            } catch {
                // Such an account may see itself only.
                guard case .passwordChangeRequired = error else { throw error }
                return PasswordRule()
            }
        }
    }

    public func setPassword(_ new: SecretText) async throws(BMCError) {
        guard PasswordRule.canBeSent(new) else {
            throw .refused("a new password is printable ASCII without spaces, at most \(PasswordRule.lengthMost) bytes")
        }
        try await call { session throws(BMCError) in
            let path = try await ownAccount(session)
            for isLast in [false, true] {
                let (account, answer) = try await session.read(ManagerAccount.self, at: path)
                let tag = answer.response.etag ?? account.etag
                let reply = try await session.send(
                    .changePassword(path, to: new, ifMatch: isLast ? tag?.strong : tag))
                if !isLast, [409, 412, 428].contains(reply.response.status) { continue }
                return try session.check(try await session.finish(reply))
            }
        }
    }

    /// Makes a session with the password and ends it; where the service has none, each request has the password.
    public func proveLogin() async throws(BMCError) {
        let own = LoginSessions()
        let driver = with(logins: own)
        defer { _ = own.takeAll() }
        try await driver.call { session throws(BMCError) in
            do throws(BMCError) {
                let root = try await session.read(ServiceRoot.self, at: .serviceRoot).resource
                _ = try await session.read(ResourceCollection.self, at: root.systems ?? .systems)
            } catch {
                // It knows the user and wants another password of them.
                guard case .passwordChangeRequired = error else { throw error }
            }
            for held in own.takeAll() { try? await session.logout(held.login) }
        }
    }

    private func accountService(_ session: RedfishSession) async throws(BMCError) -> AccountService {
        let root = try await session.read(ServiceRoot.self, at: .serviceRoot).resource
        guard let path = root.accounts else { throw .noPasswordControl }
        return try await session.read(AccountService.self, at: path).resource
    }

    /// Where the account is that the driver speaks as.
    private func ownAccount(_ session: RedfishSession) async throws(BMCError) -> ResourcePath {
        let members: [ResourcePath]
        do throws(BMCError) {
            guard let accounts = try await accountService(session).accounts else { throw .noPasswordControl }
            members = try await session.read(ResourceCollection.self, at: accounts).resource.members
        } catch {
            guard case .passwordChangeRequired(let account) = error, let account,
                let path = try? ResourcePath(account)
            else { throw error }
            return path
        }
        for path in members.prefix(Self.accountCountMax) {
            let account = try await optional { () throws(BMCError) in
                try await session.read(ManagerAccount.self, at: path).resource
            }
            if account?.userName == session.address.user { return path }
        }
        throw .refused("it shows no account '\(session.address.user)' among its accounts")
    }
}
