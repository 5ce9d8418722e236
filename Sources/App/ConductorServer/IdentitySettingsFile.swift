import Foundation
import Identity
import Primitives
import Yams

/// The operator's settings of the identity service, in YAML: sections and members as in `keystone.conf`.
///
/// Read strictly: what is not known, has another type or is out of its bounds is refused with its line.
struct IdentitySettingsFile {
    /// Bytes of a file.
    static let sizeMax = 64 << 10

    /// What the file says; what it does not say is as without it.
    let settings: Authenticator.Settings

    private typealias Member = @Sendable (inout Authenticator.Settings, Value) throws(SettingsProblem) -> Void

    /// Every member by its section.
    private static let members: [String: [String: Member]] = [
        "security_compliance": [
            "lockout_failure_attempts": { settings, value throws(SettingsProblem) in
                settings.passwordRules.lockoutAttempts = try value.integer(1...1000)
            },
            "lockout_duration": { settings, value throws(SettingsProblem) in
                settings.passwordRules.lockoutDuration = .seconds(try value.integer(1...31_536_000))
            },
            "disable_user_account_days_inactive": { settings, value throws(SettingsProblem) in
                settings.passwordRules.inactiveDaysMax = try value.integer(1...36_500)
            },
            "password_expires_days": { settings, value throws(SettingsProblem) in
                settings.passwordRules.expiryDays = try value.integer(1...36_500)
            },
            "unique_last_password_count": { settings, value throws(SettingsProblem) in
                settings.passwordRules.uniqueCount = try value.integer(0...24)
            },
            "minimum_password_age": { settings, value throws(SettingsProblem) in
                settings.passwordRules.ageMinDays = try value.integer(0...36_500)
            },
            "password_regex": { settings, value throws(SettingsProblem) in
                let pattern = try value.text()
                do { try settings.passwordRules.setPattern(pattern) } catch {
                    throw value.wrong("a regular expression")
                }
            },
            "password_regex_description": { settings, value throws(SettingsProblem) in
                settings.passwordRules.patternDescription = try value.text()
            },
            "change_password_upon_first_use": { settings, value throws(SettingsProblem) in
                settings.passwordRules.changesUponFirstUse = try value.flag()
            },
        ],
        "token": [
            "expiration": { settings, value throws(SettingsProblem) in
                settings.lifetime = .seconds(try value.integer(60...604_800))
            },
            "allow_rescope_scoped_token": { settings, value throws(SettingsProblem) in
                settings.allowsRescoping = try value.flag()
            },
            "key_rotation_days": { settings, value throws(SettingsProblem) in
                settings.keyAge = .seconds(86_400 * (try value.integer(1...3650)))
            },
        ],
        "receipt": [
            "expiration": { settings, value throws(SettingsProblem) in
                settings.receiptLifetime = .seconds(try value.integer(30...3600))
            }
        ],
    ]

    /// Reads the file at `path`; throws `InvalidValue` for one that cannot be read, and `SettingsError`.
    static func read(_ path: String) throws -> IdentitySettingsFile {
        let text: String
        do { text = try String(contentsOfFile: path, encoding: .utf8) } catch {
            throw InvalidValue("identity settings file", path, expected: "a file of UTF-8 text that can be read")
        }
        return try IdentitySettingsFile(text, path: path)
    }

    /// Reads `text`, the content of the file at `path`; throws `SettingsError`.
    init(_ text: String, path: String) throws(SettingsError) {
        do { settings = try Self.settings(text) } catch { throw SettingsError(file: path, problem: error) }
    }

    private static func settings(_ text: String) throws(SettingsProblem) -> Authenticator.Settings {
        guard text.utf8.count <= sizeMax else { throw SettingsProblem(nil, "it is larger than \(sizeMax) bytes.") }
        var settings = Authenticator.Settings()
        let root: Node?
        do { root = try Yams.compose(yaml: text) } catch { throw SettingsProblem(error) }
        for (section, known, values) in try sections(root) {
            for (key, node) in values {
                let name = key.string ?? ""
                guard let set = known[name] else {
                    let names = known.keys.sorted().joined(separator: ", ")
                    throw SettingsProblem(
                        key.mark?.line, "\(section) has no member '\(name.printable(limit: 80))'; it has \(names).")
                }
                try set(&settings, Value(node: node, name: "\(section).\(name)"))
            }
        }
        let rules = settings.passwordRules
        if let expiry = rules.expiryDays, rules.ageMinDays >= expiry {
            throw SettingsProblem(
                nil, "minimum_password_age has to be less than password_expires_days: passwords would end unchanged.")
        }
        return settings
    }

    /// The sections that the file has, each with the members that it may have and those that stand there.
    private static func sections(
        _ root: Node?
    ) throws(SettingsProblem) -> [(String, known: [String: Member], values: Node.Mapping)] {
        // A file of comments only sets nothing.
        guard let root, root != Node("", Tag(.null)) else { return [] }
        guard case .mapping(let mapping) = root else {
            throw SettingsProblem(root.mark?.line, "expected sections such as 'security_compliance:'.")
        }
        var found: [(String, known: [String: Member], values: Node.Mapping)] = []
        for (key, node) in mapping {
            let name = key.string ?? ""
            guard let known = members[name] else {
                let names = members.keys.sorted().joined(separator: ", ")
                throw SettingsProblem(
                    key.mark?.line, "there is no section '\(name.printable(limit: 80))'; there are \(names).")
            }
            if node == Node("", Tag(.null)) { continue }
            guard case .mapping(let values) = node else {
                throw SettingsProblem(node.mark?.line, "\(name) has to have members such as 'name: value'.")
            }
            found.append((name, known, values))
        }
        return found
    }

    /// What a member has.
    private struct Value {
        let node: Node
        let name: String

        func integer(_ range: ClosedRange<Int>) throws(SettingsProblem) -> Int {
            guard case .scalar(let scalar) = node, scalar.style == .plain || scalar.style == .any,
                let number = Int(scalar.string), range.contains(number)
            else { throw wrong("a whole number from \(range.lowerBound) to \(range.upperBound)") }
            return number
        }

        func flag() throws(SettingsProblem) -> Bool {
            guard case .scalar(let scalar) = node, let flag = ["true": true, "false": false][scalar.string] else {
                throw wrong("true or false")
            }
            return flag
        }

        func text() throws(SettingsProblem) -> String {
            guard case .scalar(let scalar) = node, !scalar.string.isEmpty else { throw wrong("a text in quotes") }
            return scalar.string
        }

        func wrong(_ expected: String) -> SettingsProblem {
            SettingsProblem(node.mark?.line, "\(name) has to be \(expected).")
        }
    }
}

/// What is wrong in a settings file, and where (1-based; nil: all of it).
struct SettingsProblem: Error, Hashable {
    let line: Int?
    let problem: String

    init(_ line: Int?, _ problem: String) {
        self.line = line
        self.problem = problem
    }

    init(_ error: any Error) {
        switch error as? YamlError {
        case .scanner(_, let problem, let mark, _), .parser(_, let problem, let mark, _),
            .composer(_, let problem, let mark, _):
            self.init(mark.line, "not YAML: \(problem.printable(limit: 200)).")
        case .duplicatedKeysInMapping(let names, let context):
            let name = names.map { $0.printable(limit: 80) }.joined(separator: ", ")
            self.init(context.mark.line, "'\(name)' stands twice; keep one.")
        default: self.init(nil, "not YAML: \("\(error)".printable(limit: 200)).")
        }
    }
}

/// A settings file that cannot be used.
struct SettingsError: UserFacingError, Hashable {
    let file: String
    let problem: SettingsProblem

    var publicMessage: String {
        let line = problem.line.map { "line \($0): " } ?? ""
        return "identity settings file \(file.printable(limit: 200)): \(line)\(problem.problem)"
    }
}
