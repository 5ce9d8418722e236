import Foundation
import Identity
import Primitives
import TestSupport
import Testing

@testable import ConductorServer

/// The operator's settings of the identity service.
@Suite struct IdentitySettingsTests {
    private static func read(_ text: String) throws -> Authenticator.Settings {
        try IdentitySettingsFile(text, path: "/etc/settings.yaml").settings
    }

    @Test func `the example of the inventory sets every member`() throws {
        let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
            .deletingLastPathComponent()
        let settings = try IdentitySettingsFile.read(
            root.appending(path: "Inventory/identity-settings.yaml").path(percentEncoded: false)
        ).settings
        var rules = PasswordRules()
        rules.lockoutAttempts = 6
        rules.lockoutDuration = .seconds(1800)
        rules.inactiveDaysMax = 180
        rules.expiryDays = 90
        rules.ageMinDays = 1
        rules.uniqueCount = 5
        try rules.setPattern(#"^(?=.*\d)(?=.*[a-zA-Z]).{10,}$"#)
        rules.patternDescription = "ten characters at least, a letter and a digit among them"
        #expect(settings.passwordRules == rules)
        try settings.passwordRules.checkStrength("a long passw0rd")
        #expect(throws: PasswordRefusal.self) { try settings.passwordRules.checkStrength("longpassword") }
        #expect(settings.lifetime == .seconds(3600) && settings.receiptLifetime == .seconds(300))
        #expect(settings.keyAge == .seconds(30 * 86_400) && settings.allowsRescoping)
    }

    @Test func `what is not said is as without the file`() throws {
        let usual = Authenticator.Settings()
        for text in ["", "# nothing\n", "token:\n", "token: {}\n"] {
            let settings = try Self.read(text)
            #expect(settings.passwordRules == usual.passwordRules && settings.lifetime == usual.lifetime)
        }
        let some = try Self.read("token:\n  expiration: 600\n  allow_rescope_scoped_token: false\n")
        #expect(some.lifetime == .seconds(600) && !some.allowsRescoping && some.keyAge == usual.keyAge)
    }

    @Test(
        arguments: [
            ("token:\n  expiration: 5\n", 2, "token.expiration has to be a whole number from 60 to 604800"),
            ("token:\n  expiration: \"600\"\n", 2, "a whole number"),
            ("token:\n  expiration: soon\n", 2, "a whole number"),
            ("token:\n  allow_rescope_scoped_token: maybe\n", 2, "true or false"),
            ("security_compliance:\n  password_regex: \"(\"\n", 2, "a regular expression"),
            ("security_compliance:\n  password_regex: [a]\n", 2, "a text"),
            ("security_compliance:\n\n  lockout_attempts: 3\n", 3, "has no member 'lockout_attempts'"),
            ("tokens:\n  expiration: 600\n", 1, "there is no section 'tokens'"), ("- token\n", 1, "expected sections"),
            ("token: 600\n", 1, "has to have members"),
            ("token:\n  expiration: 600\n  expiration: 700\n", nil, "twice"),
            ("token: {\n", nil, "not YAML"),
            (
                "security_compliance:\n  minimum_password_age: 9\n  password_expires_days: 9\n", nil,
                "minimum_password_age has to be less"
            ),
        ] as [(String, Int?, String)])
    func `what is wrong is told with its file, line and member`(text: String, line: Int?, problem: String) throws {
        let error = try #require(throws: SettingsError.self) { try Self.read(text) }
        #expect(error.publicMessage.hasPrefix("identity settings file /etc/settings.yaml: "))
        if let line { #expect(error.publicMessage.contains("line \(line): ")) }
        #expect(error.publicMessage.contains(problem), "\(error.publicMessage)")
    }

    @Test func `a file that is not there is named`() throws {
        let directory = try TemporaryDirectory("settings")
        let error = #expect(throws: InvalidValue.self) { try IdentitySettingsFile.read(directory.appending("none")) }
        #expect(error?.publicMessage.contains("none") == true)
    }
}
