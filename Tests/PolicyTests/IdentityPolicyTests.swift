import Policy
import Primitives
import TestSupport
import Testing

/// The identity API's rules against a table of what Keystone 30's own rules decide.
///
/// `Tests/Golden/policy/identity.py` wrote `identity.txt` beside it by asking oslo.policy with Keystone's rules; the
/// table is the contract, and no run of ours writes it.
@Suite struct IdentityPolicyTests {
    private static let roles = ["admin", "manager", "member", "reader", "service", "none"]
    private static let scopes = ["system", "domain", "project", "unscoped"]

    @Test func `every rule decides as Keystone's does`() throws {
        let table = try PolicyTable(IdentityPolicy.defaults)
        let blocks = try Self.blocks()
        var names: [String] = []
        for block in blocks {
            let targets = Self.targets(block.target)
            for name in block.names {
                #expect(Self.members(of: name).sorted() == block.target, "\(name) asks other members of the target")
                for scope in Self.scopes {
                    let line = Self.roles.map { role in
                        "\(role)=\(Self.cell(table, name, Self.caller(role: role, scope: scope), targets))"
                    }.joined(separator: " ")
                    #expect(line == block.rows[scope], "\(name) \(scope)")
                }
            }
            names += block.names
        }
        #expect(names.sorted() == IdentityPolicy.defaults.map(\.name).sorted())
        #expect(names.count == 204)
    }

    @Test func `every rule says what it guards`() {
        for rule in IdentityPolicy.defaults {
            #expect(!rule.summary.isEmpty && rule.summary.count <= 60, "\(rule.name)")
        }
        #expect(Set(IdentityPolicy.defaults.map(\.name)).count == IdentityPolicy.defaults.count)
    }

    private struct Block {
        var names: [String] = []
        var target: [String] = []
        var rows: [String: String] = [:]
    }

    private static func blocks() throws -> [Block] {
        let text = String(decoding: try GoldenFile.contents(of: "policy/identity.txt"), as: UTF8.self)
        let lines = text.split(separator: "\n", omittingEmptySubsequences: false).filter { !$0.hasPrefix("#") }
        return lines.split(separator: "").map { lines in
            var block = Block()
            for line in lines {
                guard line.hasPrefix("  ") else {
                    block.names.append(String(line))
                    continue
                }
                let parts = line.dropFirst(2).split(separator: ": ", maxSplits: 1).map(String.init)
                if parts[0] == "target" {
                    block.target = parts[1] == "(nothing)" ? [] : parts[1].split(separator: " ").map(String.init)
                } else {
                    block.rows[parts[0]] = parts[1]
                }
            }
            return block
        }
    }

    /// The members of the target that the rule or one that it refers to asks for.
    private static func members(of name: String) -> Set<String> {
        let rules = Dictionary(IdentityPolicy.defaults.map { ($0.name, $0.check) }, uniquingKeysWith: { $1 })
        func members(_ text: PolicyText) -> Set<String> {
            switch text {
            case .text, .null: []
            case .target(let path): [path.description]
            case .joined(let pieces): pieces.reduce(into: []) { $0.formUnion(members($1)) }
            }
        }
        func members(_ check: PolicyCheck) -> Set<String> {
            switch check {
            case .always, .never: []
            case .role(let text), .same(_, let text): members(text)
            case .rule(let name): rules[name].map(members) ?? []
            case .not(let inner): members(inner)
            case .all(let checks), .any(let checks): checks.reduce(into: []) { $0.formUnion(members($1)) }
            }
        }
        return rules[name].map(members) ?? []
    }

    private static func caller(role: String, scope: String) -> PolicyCredentials {
        PolicyCredentials(
            userID: "u-own", userDomainID: "d-token", projectID: scope == "project" ? "p-own" : nil,
            projectDomainID: scope == "project" ? "d-project" : nil, domainID: scope == "domain" ? "d-token" : nil,
            isSystemScoped: scope == "system", roles: role == "none" ? [] : [role])
    }

    /// What a member of the target is tried with; nil for missing.
    private static func values(of member: String) -> [JSONValue?] {
        if member == "target.role.name" {
            return ["manager", "member", "reader", "admin"].map { .string($0) } + [.null, nil]
        }
        let pair =
            if member.hasSuffix("user_id") || member == "target.user.id" {
                ["u-own", "u-other"]
            } else if member.hasSuffix("project.id") || member.hasSuffix("project_id") {
                ["p-own", "p-other"]
            } else {
                ["d-token", "d-project"]
            }
        return pair.map { .string($0) } + [.null, nil]
    }

    /// Every combination of values of `members`, the last changing fastest.
    private static func targets(_ members: [String]) -> [PolicyTarget] {
        let values = members.map(values)
        return (0..<values.reduce(1) { $0 * $1.count }).map { index in
            var rest = index
            var nested: [String: JSONValue] = [:]
            for (member, choices) in zip(members, values).reversed() {
                let value = choices[rest % choices.count]
                rest /= choices.count
                if let value { nested.set(value, at: member.split(separator: ".")[...]) }
            }
            return PolicyTarget(nested)
        }
    }

    /// `all`, `-`, or which of the targets are allowed: as digits, or counted and with their FNV-1a.
    private static func cell(
        _ table: PolicyTable, _ rule: String, _ who: PolicyCredentials, _ targets: [PolicyTarget]
    ) -> String {
        let count = targets.count
        let bits: [UInt8] = targets.map { table.isAllowed(rule, who, $0) ? 0x31 : 0x30 }
        let allowed = bits.count { $0 == 0x31 }
        if allowed == count { return "all" }
        if allowed == 0 { return "-" }
        if count <= 24 { return String(decoding: bits, as: UTF8.self) }
        let hex = String(StableHash.of(bits), radix: 16)
        return "\(allowed)of\(count):" + String(repeating: "0", count: 16 - hex.count) + hex
    }
}

extension [String: JSONValue] {
    fileprivate mutating func set(_ value: JSONValue, at path: ArraySlice<Substring>) {
        guard let first = path.first.map(String.init) else { return }
        guard path.count > 1 else {
            self[first] = value
            return
        }
        var inner: [String: JSONValue] = [:]
        if case .object(let members) = self[first] { inner = members }
        inner.set(value, at: path.dropFirst())
        self[first] = .object(inner)
    }
}
