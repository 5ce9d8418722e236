import CatalogIdentity
import Primitives
import ResourceModel

extension IdentityDirectory {
    /// What the rules of passwords and logins look at of a user.
    public func passwordRecord(of user: User, logins: LoginRecordSpec? = nil) -> PasswordRecord {
        let logins = logins ?? entry(LoginRecord.self, user.id)?.spec ?? LoginRecordSpec()
        return PasswordRecord(
            created: user.metadata.created, isEnabled: user.spec.isEnabled,
            options: UserOptions(user.spec.options ?? [:]), passwords: user.spec.passwords,
            failureCount: logins.failureCount, failed: logins.failed, active: logins.active)
    }
}

extension LoginRecordSpec {
    /// These with what a step of the rules has made of them.
    public func after(_ record: PasswordRecord) -> LoginRecordSpec {
        var next = self
        next.failureCount = record.failureCount
        next.failed = record.failed
        next.active = record.active
        return next
    }
}
