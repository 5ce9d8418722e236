import Policy
import Primitives
import Testing

/// Random checks: what is written is read back, and what is broken is refused.
@Suite struct PolicyFuzzTests {
    private static let words = [
        "role:a", "rule:b", "user_id:%(x)s", "'t':%(y.z)s", "None:%(x)s", "@", "!", "and", "or", "not", "(", ")", "((",
        "%", "%(", ")s", "'", "\"", ":", "role:", "ROLE:x", "domain_id:None", "\u{301}", "ß", "\u{0}", "\t",
    ]

    private static func check(_ depth: Int, _ random: inout SeededRandom) -> PolicyCheck {
        let leaves: [PolicyCheck] = [
            .always, .never, .role("ä"), .role(.target("t.role")), .rule("base"),
            .same(.attribute(.userID), .target("t.user")), .same(.text("it's"), .joined(["50%", .target("t.user")])),
            .same(.null, .target("t.null")), .same(.attribute(.domainID), .null), .same(.text(""), "x"),
        ]
        guard depth > 0, Int.random(in: 0..<4, using: &random) > 0 else {
            return leaves[Int.random(in: 0..<leaves.count, using: &random)]
        }
        let inner = (0..<Int.random(in: 2...4, using: &random)).map { _ in check(depth - 1, &random) }
        switch Int.random(in: 0..<3, using: &random) {
        case 0: return .not(inner[0])
        case 1: return .all(inner)
        default: return .any(inner)
        }
    }

    /// The value of a tree, by the plain rules of logic.
    private static func value(_ check: PolicyCheck, _ leaf: (PolicyCheck) throws -> Bool) rethrows -> Bool {
        switch check {
        case .not(let inner): try !value(inner, leaf)
        case .all(let checks): try checks.reduce(true) { try value($1, leaf) && $0 }
        case .any(let checks): try checks.reduce(false) { try value($1, leaf) || $0 }
        default: try leaf(check)
        }
    }

    @Test func `what a tree prints is the tree again, and decides as logic does`() throws {
        var random = SeededRandom(seed: 5)
        let caller = PolicyCredentials(userID: "u", roles: ["Ä"])
        let target = PolicyTarget([
            "t": .object(["user": .string("u"), "role": .string("x"), "null": .null])
        ])
        let base = PolicyRule("base", .role("Ä"), summary: "")
        for _ in 0..<2000 {
            let check = Self.check(4, &random)
            let text = check.description
            let read = try PolicyCheck(parsing: text)
            #expect(read == check, "\(text)")
            let table = try PolicyTable([base, PolicyRule("r", read, summary: "")])
            let expected = try Self.value(check) { leaf in
                try PolicyTable([base, PolicyRule("leaf", leaf, summary: "")]).isAllowed("leaf", caller, target)
            }
            #expect(table.isAllowed("r", caller, target) == expected, "\(text)")
            #expect((table.decide("r", caller, target) == .allowed) == expected, "\(text)")
            #expect(table.explain("r", caller, target).first == (expected ? "allowed by r" : "denied by r"))
        }
    }

    @Test func `words in any order are read or refused, never more`() {
        var random = SeededRandom(seed: 6)
        var counts = (read: 0, refused: 0)
        for _ in 0..<20_000 {
            let text = (0..<Int.random(in: 0...9, using: &random)).map { _ in
                Self.words[Int.random(in: 0..<Self.words.count, using: &random)]
                    + (Bool.random(using: &random) ? " " : "")
            }.joined()
            do {
                let check = try PolicyCheck(parsing: text)
                counts.read += 1
                #expect((try? PolicyCheck(parsing: check.description)) == check, "\(text)")
            } catch {
                counts.refused += 1
                guard case .syntax(let position, _) = error.cause else {
                    Issue.record("\(text): \(error)")
                    continue
                }
                #expect((1...text.count + 1).contains(position), "\(text): \(error)")
            }
        }
        #expect(counts.read > 500 && counts.refused > 5000, "\(counts)")
    }
}
