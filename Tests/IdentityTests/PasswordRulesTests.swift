import CatalogIdentity
import Identity
import Primitives
import Testing

@Suite struct PasswordRulesTests {
    private let start = Timestamp(millisecondsSinceEpoch: 1_800_000_000_000)
    private let day: Int64 = 86_400

    private func after(_ seconds: Int64) -> Timestamp { start.advanced(by: .seconds(seconds)) }

    private func record(_ options: [String: JSONValue] = [:]) -> PasswordRecord {
        PasswordRecord(
            created: start, options: UserOptions(options), passwords: [.init(hash: "first", created: start)])
    }

    // MARK: Logins

    @Test func `without rules a right password is all`() {
        let rules = PasswordRules()
        var user = record()
        for _ in 0..<1000 {
            let (next, refusal) = rules.login(user, isRight: false, now: after(1))
            #expect(refusal == .wrong)
            user = next
        }
        let (next, refusal) = rules.login(user, isRight: true, now: after(1000 * day))
        #expect(refusal == nil && next.failureCount == 0 && next.failed == nil && next.active == nil)
        #expect(rules.login(next, isRight: true, now: after(1001 * day)).next == next)
    }

    @Test func `wrong passwords lock a user for a time`() {
        var rules = PasswordRules()
        rules.lockoutAttempts = 3
        rules.lockoutDuration = .seconds(60)
        var user = record()
        for time: Int64 in 1...3 {
            let (next, refusal) = rules.login(user, isRight: false, now: after(time))
            #expect(refusal == .wrong)
            user = next
        }
        // Neither a right nor a wrong password is looked at, and neither makes the lock longer.
        for isRight in [true, false] {
            let (next, refusal) = rules.login(user, isRight: isRight, now: after(62))
            #expect(refusal == .locked && next == user)
        }
        let (tried, refusal) = rules.login(user, isRight: false, now: after(63))
        #expect(refusal == .wrong && tried.failureCount == 1)
        let (free, none) = rules.login(user, isRight: true, now: after(63))
        #expect(none == nil && free.failureCount == 0)
    }

    @Test func `a lock without a duration lasts until the user is enabled`() {
        var rules = PasswordRules()
        rules.lockoutAttempts = 1
        rules.lockoutDuration = nil
        let locked = rules.login(record(), isRight: false, now: after(1)).next
        #expect(rules.login(locked, isRight: true, now: after(10_000 * day)).refusal == .locked)
        let enabled = rules.enabling(locked, now: after(2))
        #expect(rules.login(enabled, isRight: true, now: after(3)).refusal == nil)
    }

    @Test func `a user may be exempt from locks`() {
        var rules = PasswordRules()
        rules.lockoutAttempts = 1
        var user = record(["ignore_lockout_failure_attempts": .bool(true)])
        for _ in 0..<5 { user = rules.login(user, isRight: false, now: after(1)).next }
        #expect(user.failureCount == 5)
        #expect(rules.login(user, isRight: true, now: after(1)).refusal == nil)
    }

    @Test func `a wrong password tells nothing of the user`() {
        var rules = PasswordRules()
        rules.inactiveDaysMax = 1
        var user = record()
        user.isEnabled = false
        user.passwords[0].expires = start
        #expect(rules.login(user, isRight: false, now: after(9 * day)).refusal == .wrong)
        #expect(rules.login(user, isRight: true, now: after(9 * day)).refusal == .disabled)
        user.isEnabled = true
        user.active = after(9 * day)
        #expect(rules.login(user, isRight: true, now: after(9 * day)).refusal == .expired)
    }

    @Test func `users who stay away are disabled`() {
        var rules = PasswordRules()
        rules.inactiveDaysMax = 30
        let user = record()
        #expect(rules.isEnabled(user, now: after(29 * day)))
        #expect(!rules.isEnabled(user, now: after(30 * day)))
        #expect(rules.isEnabled(record(["ignore_user_inactivity": .bool(true)]), now: after(300 * day)))
        let active = rules.login(user, isRight: true, now: after(29 * day)).next
        #expect(rules.isEnabled(active, now: after(58 * day)) && !rules.isEnabled(active, now: after(59 * day)))
        // One write a day is enough.
        #expect(rules.login(active, isRight: true, now: after(29 * day + 60)).next == active)
        #expect(rules.isEnabled(rules.enabling(user, now: after(90 * day)), now: after(91 * day)))
    }

    // MARK: Changes

    @Test func `passwords match the pattern from their beginning`() throws {
        var rules = PasswordRules()
        try rules.checkStrength("")
        try rules.setPattern(#"^(?=.*\d)(?=.*[a-zA-Z]).{7,}$"#)
        rules.patternDescription = "seven characters with a letter and a digit"
        try rules.checkStrength("abcdef1")
        try rules.checkStrength("пароль-a1")
        for weak in ["", "abcdefg", "1234567", "abc1", String(repeating: "a1", count: 2049)] {
            let error = #expect(throws: PasswordRefusal.weak("seven characters with a letter and a digit")) {
                try rules.checkStrength(weak)
            }
            #expect(error?.publicMessage.contains("a letter and a digit") == true)
        }
        try rules.setPattern("[a-z]+")
        try rules.checkStrength("abc1")
        #expect(throws: PasswordRefusal.self) { try rules.checkStrength("1abc") }
        #expect(throws: InvalidValue.self) { try rules.setPattern("(") }
        try rules.setPattern(nil)
        try rules.checkStrength("1")
    }

    @Test func `a new password ends and those before it have ended`() {
        var rules = PasswordRules()
        rules.expiryDays = 10
        let now = Timestamp(millisecondsSinceEpoch: 1_800_000_000_789)
        let changed = rules.changing(record(), to: "second", isOwn: true, now: now)
        #expect(changed.passwords.map(\.hash) == ["first", "second"])
        #expect(changed.passwords[0].expires == now)
        #expect(changed.passwords[1].expires == after(10 * day) && changed.passwords[1].isOwn)
        #expect(rules.login(changed, isRight: true, now: after(10 * day - 1)).refusal == nil)
        #expect(rules.login(changed, isRight: true, now: after(10 * day)).refusal == .expired)
        let exempt = rules.changing(record(["ignore_password_expiry": .bool(true)]), to: "x", isOwn: true, now: now)
        #expect(exempt.passwords.last?.expires == nil)
        var before = changed
        before.options.ignoresExpiry = true
        #expect(rules.login(before, isRight: true, now: after(10 * day)).refusal == nil)
    }

    @Test func `as many old passwords are kept as must differ`() {
        var rules = PasswordRules()
        var user = record()
        for number in 2...5 { user = rules.changing(user, to: "\(number)", isOwn: true, now: start) }
        #expect(user.passwords.map(\.hash) == ["4", "5"])
        #expect(rules.hashesToDifferFrom(user) == [])
        rules.uniqueCount = 3
        for number in 6...9 { user = rules.changing(user, to: "\(number)", isOwn: true, now: start) }
        #expect(rules.hashesToDifferFrom(user) == ["7", "8", "9"])
        #expect(user.passwords.count == 4)
    }

    @Test func `users change their own password not too soon`() throws {
        var rules = PasswordRules()
        rules.ageMinDays = 3
        // One from an administrator may be changed at once.
        try rules.checkOwnChange(record(), now: start)
        let own = rules.changing(record(), to: "second", isOwn: true, now: start)
        #expect(throws: PasswordRefusal.tooSoon(days: 3, left: 2)) { try rules.checkOwnChange(own, now: after(1)) }
        #expect(throws: PasswordRefusal.tooSoon(days: 3, left: 0)) {
            try rules.checkOwnChange(own, now: after(3 * day - 1))
        }
        try rules.checkOwnChange(own, now: after(3 * day))
        #expect(throws: PasswordRefusal.notByUser) {
            try PasswordRules().checkOwnChange(record(["lock_password": .bool(true)]), now: start)
        }
    }

    @Test func `a password from an administrator is changed first`() {
        var rules = PasswordRules()
        rules.changesUponFirstUse = true
        rules.expiryDays = 10
        let reset = rules.changing(record(), to: "x", isOwn: false, now: start)
        #expect(rules.login(reset, isRight: true, now: start).refusal == .expired)
        let own = rules.changing(reset, to: "y", isOwn: true, now: after(1))
        #expect(rules.login(own, isRight: true, now: after(2)).refusal == nil)
        let service = record(["ignore_change_password_upon_first_use": .bool(true)])
        let exempt = rules.changing(service, to: "x", isOwn: false, now: start)
        #expect(exempt.passwords.last?.expires == after(10 * day))
    }

    // MARK: Several methods

    private func needs(_ lists: [[String]], enabled: Bool? = nil) -> UserOptions {
        var options: [String: JSONValue] = [
            "multi_factor_auth_rules": .array(lists.map { .array($0.map(JSONValue.string)) })
        ]
        if let enabled { options["multi_factor_auth_enabled"] = .bool(enabled) }
        return UserOptions(options)
    }

    @Test func `one list of methods is enough`() {
        let available: Set = ["password", "totp", "token"]
        let options = needs([["password", "totp"], ["token"]])
        #expect(!options.areSatisfied(by: ["password"], available: available))
        #expect(!options.areSatisfied(by: [], available: available))
        #expect(options.areSatisfied(by: ["password", "totp"], available: available))
        #expect(options.areSatisfied(by: ["token", "totp"], available: available))
        #expect(needs([]).areSatisfied(by: ["password"], available: available))
        #expect(needs([["totp"]], enabled: false).areSatisfied(by: ["password"], available: available))
        #expect(!needs([["totp"]], enabled: true).areSatisfied(by: ["password"], available: available))
    }

    @Test func `methods that are switched off lock nobody out`() {
        #expect(needs([["password", "totp"]]).areSatisfied(by: ["password"], available: ["password"]))
        #expect(needs([["saml9"]]).areSatisfied(by: ["password"], available: ["password"]))
        #expect(!needs([["saml9"], ["totp"]]).areSatisfied(by: ["password"], available: ["password", "totp"]))
    }

    @Test func `options of the wrong type do not count`() {
        let options = UserOptions([
            "lock_password": .string("true"), "ignore_password_expiry": .null, "unknown": .bool(true),
            "multi_factor_auth_rules": .array([.string("totp"), .array([]), .array([.integer(1)])]),
        ])
        #expect(options == UserOptions())
    }
}
