import CatalogIdentity
import Primitives

/// What an operator asks of passwords and logins (Keystone's section `[security_compliance]`).
///
/// All of it is off unless it is set. The functions are pure: they take a user's record and give the next one.
public struct PasswordRules: Sendable, Hashable {
    /// What a new password must match from its beginning (`password_regex`).
    public private(set) var pattern: String?
    /// The pattern in words, for those whose password does not match (`password_regex_description`).
    public var patternDescription: String?
    /// For how many days a user may not change their own new password again (`minimum_password_age`).
    public var ageMinDays = 0
    /// After how many days a new password ends (`password_expires_days`).
    public var expiryDays: Int?
    /// How many of the last passwords a new one must differ from (`unique_last_password_count`).
    public var uniqueCount = 0
    /// How many wrong passwords in a row lock a user (`lockout_failure_attempts`).
    public var lockoutAttempts: Int?
    /// How long such a lock lasts (`lockout_duration`); nil: until the user is enabled again.
    public var lockoutDuration: Duration? = .seconds(1800)
    /// After how many days without a login a user is disabled (`disable_user_account_days_inactive`).
    public var inactiveDaysMax: Int?
    /// Whether a password that an administrator has set must be changed first (`change_password_upon_first_use`).
    public var changesUponFirstUse = false

    /// Rules that ask nothing.
    public init() {}

    /// Sets the pattern; throws `InvalidValue` when it is no regular expression.
    public mutating func setPattern(_ pattern: String?) throws(InvalidValue) {
        if let pattern, (try? Regex(pattern)) == nil {
            throw InvalidValue("password_regex", pattern, expected: "a regular expression")
        }
        self.pattern = pattern
    }

    // MARK: Logins

    /// Whether the user is enabled: an administrator says so, and they were here not too long ago.
    public func isEnabled(_ record: PasswordRecord, now: Timestamp) -> Bool {
        guard record.isEnabled, let inactiveDaysMax, !record.options.ignoresInactivity else { return record.isEnabled }
        return now.day - (record.active ?? record.created).day < Int64(inactiveDaysMax)
    }

    /// Whether the user is locked after too many wrong passwords.
    public func isLocked(_ record: PasswordRecord, now: Timestamp) -> Bool {
        guard let lockoutAttempts, record.failureCount >= lockoutAttempts, !record.options.ignoresLockout else {
            return false
        }
        guard let lockoutDuration, let failed = record.failed else { return true }
        return failed.advanced(by: lockoutDuration) > now
    }

    /// A login with a password that was found right or wrong: the next record, and why it is refused, if it is.
    ///
    /// A record that stays as it was need not be written. Nobody learns from a wrong password whether the user is
    /// disabled or the password has ended.
    public func login(
        _ record: PasswordRecord, isRight: Bool, now: Timestamp
    ) -> (next: PasswordRecord, refusal: LoginRefusal?) {
        guard !isLocked(record, now: now) else { return (record, .locked) }
        var next = record
        if let lockoutAttempts, record.failureCount >= lockoutAttempts, !record.options.ignoresLockout {
            // The lock is over: the user has as many tries as at first.
            next.forgiveFailures()
        }
        guard isRight else {
            next.failureCount += 1
            next.failed = now
            return (next, .wrong)
        }
        guard isEnabled(record, now: now) else { return (next, .disabled) }
        if let expires = record.passwords.last?.expires, expires <= now, !record.options.ignoresExpiry {
            return (next, .expired)
        }
        next.forgiveFailures()
        if inactiveDaysMax != nil, record.active?.day != now.day { next.active = now }
        return (next, nil)
    }

    /// An administrator enables the user: locks are off and the days without a login count anew.
    public func enabling(_ record: PasswordRecord, now: Timestamp) -> PasswordRecord {
        var next = record
        next.isEnabled = true
        next.forgiveFailures()
        if inactiveDaysMax != nil { next.active = now }
        return next
    }

    // MARK: Changes

    /// Throws `PasswordRefusal.weak` unless `password` matches the pattern.
    public func checkStrength(_ password: String) throws(PasswordRefusal) {
        guard let pattern else { return }
        guard password.utf8.count <= ScryptHasher.passwordSizeMax,
            let regex = (try? Regex(pattern))?.matchingSemantics(.unicodeScalar),
            (try? regex.prefixMatch(in: password)) != nil
        else { throw .weak(patternDescription) }
    }

    /// The hashes that a user's new password of their own must not have, newest last; whoever asks compares them.
    public func hashesToDifferFrom(_ record: PasswordRecord) -> [String] {
        record.passwords.suffix(max(0, uniqueCount)).map(\.hash)
    }

    /// Whether users may change their own password now. Throws `PasswordRefusal`.
    public func checkOwnChange(_ record: PasswordRecord, now: Timestamp) throws(PasswordRefusal) {
        guard !record.options.locksPassword else { throw .notByUser }
        guard let password = record.passwords.last, password.isOwn, ageMinDays > 0 else { return }
        let end = password.created.advanced(by: .days(ageMinDays))
        guard now < end else { return }
        throw .tooSoon(days: ageMinDays, left: Int(end.since(now) / .days(1)))
    }

    /// The record after a change to the password with the hash `hash`, which is strong and new enough.
    ///
    /// `isOwn` says that the user has changed it and no administrator.
    public func changing(
        _ record: PasswordRecord, to hash: String, isOwn: Bool, now: Timestamp
    ) -> PasswordRecord {
        var next = record
        next.passwords = record.passwords.suffix(max(1, uniqueCount)).map { old in
            var old = old
            if old.expires.map({ $0 > now }) ?? true { old.expires = now }
            return old
        }
        var new = PasswordRecord.Password(hash: hash, created: now, isOwn: isOwn)
        if let expiryDays, !record.options.ignoresExpiry {
            let end = now.advanced(by: .days(expiryDays)).millisecondsSinceEpoch
            new.expires = Timestamp(millisecondsSinceEpoch: end - end % 1000)
        }
        if changesUponFirstUse, !isOwn, !record.options.ignoresFirstUse { new.expires = now }
        next.passwords.append(new)
        return next
    }
}

/// What the rules look at of a user.
public struct PasswordRecord: Sendable, Hashable {
    /// A password that the user has or had.
    public typealias Password = UserSpec.Password

    /// When the user was made.
    public var created: Timestamp
    /// Whether an administrator lets them in.
    public var isEnabled: Bool
    /// What is different for this user.
    public var options: UserOptions
    /// The password and those before it, the newest last.
    public var passwords: [Password]
    /// Wrong passwords since the last right one.
    public var failureCount: Int
    /// When the last wrong one came.
    public var failed: Timestamp?
    /// The last login; only its day counts.
    public var active: Timestamp?

    /// A user's record.
    public init(
        created: Timestamp, isEnabled: Bool = true, options: UserOptions = UserOptions(), passwords: [Password] = [],
        failureCount: Int = 0, failed: Timestamp? = nil, active: Timestamp? = nil
    ) {
        self.created = created
        self.isEnabled = isEnabled
        self.options = options
        self.passwords = passwords
        self.failureCount = failureCount
        self.failed = failed
        self.active = active
    }

    fileprivate mutating func forgiveFailures() {
        failureCount = 0
        failed = nil
    }
}

/// Rules that are different for one user (`options` of `/v3/users`).
public struct UserOptions: Sendable, Hashable {
    /// Their password does not end (`ignore_password_expiry`).
    public var ignoresExpiry = false
    /// A password from an administrator need not be changed (`ignore_change_password_upon_first_use`).
    public var ignoresFirstUse = false
    /// Wrong passwords do not lock them (`ignore_lockout_failure_attempts`).
    public var ignoresLockout = false
    /// They are not disabled for being away (`ignore_user_inactivity`).
    public var ignoresInactivity = false
    /// Only administrators change their password (`lock_password`).
    public var locksPassword = false
    /// Which methods they need together: those of one of these lists (`multi_factor_auth_rules`).
    public var factorRules: [[String]] = []
    /// Whether these lists count (`multi_factor_auth_enabled`).
    public var needsFactors = true

    /// Nothing is different.
    public init() {}

    /// The options as the API has them; what has the wrong type does not count, and neither do empty lists.
    public init(_ options: [String: JSONValue]) {
        func isTrue(_ name: String) -> Bool { options[name] == .bool(true) }
        ignoresExpiry = isTrue("ignore_password_expiry")
        ignoresFirstUse = isTrue("ignore_change_password_upon_first_use")
        ignoresLockout = isTrue("ignore_lockout_failure_attempts")
        ignoresInactivity = isTrue("ignore_user_inactivity")
        locksPassword = isTrue("lock_password")
        needsFactors = options["multi_factor_auth_enabled"] != .bool(false)
        guard case .array(let lists) = options["multi_factor_auth_rules"] else { return }
        for case .array(let list) in lists {
            let methods = list.compactMap { value -> String? in
                guard case .string(let method) = value else { return nil }
                return method
            }
            if !methods.isEmpty, methods.count == list.count { factorRules.append(methods) }
        }
    }

    /// Whether somebody who has proved who they are by `methods` has done enough.
    ///
    /// Methods that are not `available` do not count in the lists, so that switching one off locks nobody out.
    public func areSatisfied(by methods: Set<String>, available: Set<String>) -> Bool {
        let rules = factorRules.map { Set($0).intersection(available) }.filter { !$0.isEmpty }
        return !needsFactors || rules.isEmpty || rules.contains { $0.isSubset(of: methods) }
    }
}

/// Why a login is refused.
public enum LoginRefusal: UserFacingError, Hashable {
    /// The password is another one.
    case wrong
    /// There were too many wrong passwords.
    case locked
    /// The user is disabled, or was away for too long.
    case disabled
    /// The password was right but has ended; the user may change it.
    case expired

    public var publicMessage: String {
        switch self {
        case .wrong: "The user or the password is wrong."
        case .locked: "The user is locked after too many wrong passwords; try again later or ask an administrator."
        case .disabled: "The user is disabled; ask an administrator."
        case .expired: "The password has ended; change it."
        }
    }
}

/// Why a password is not changed.
public enum PasswordRefusal: UserFacingError, Hashable {
    /// It does not match the pattern, which the text describes.
    case weak(String?)
    /// It is one of the last passwords, of which so many must differ.
    case usedBefore(count: Int)
    /// The user has changed it less than so many days ago; so many whole days are left.
    case tooSoon(days: Int, left: Int)
    /// Only administrators may change it.
    case notByUser

    public var publicMessage: String {
        switch self {
        case .weak(let description):
            "The password does not match the requirements: \(description ?? "ask an administrator which they are")."
        case .usedBefore(let count): "The password must differ from the last \(count)."
        case .tooSoon(let days, let left):
            "A new password is used for \(days) day(s) before it is changed again; \(left) day(s) are left."
        case .notByUser: "Only an administrator may change this user's password."
        }
    }
}

extension Timestamp {
    /// The number of the day (UTC) since 1970-01-01.
    fileprivate var day: Int64 {
        let (quotient, rest) = millisecondsSinceEpoch.quotientAndRemainder(dividingBy: 86_400_000)
        return rest < 0 ? quotient - 1 : quotient
    }
}

extension Duration {
    fileprivate static func days(_ count: Int) -> Duration { .seconds(Int64(count) * 86_400) }
}
