import Primitives
import Testing

@Suite struct GlobPatternTests {
    @Test(arguments: [
        ("SRV-*", "SRV-1", true), ("SRV-*", "SRV-", true), ("SRV-*", "xSRV-1", false), ("*-1", "SRV-1", true),
        ("S?V", "SRV", true), ("S?V", "SV", false), ("[A-C]1", "B1", true), ("[A-C]1", "D1", false),
        ("[!A-C]1", "D1", true), ("[!A-C]1", "A1", false), ("a*b*c", "axxbyyc", true), ("a*b*c", "axxbyy", false),
        ("a*b*c", "abcbc", true), ("\\*", "*", true), ("\\*", "x", false), ("**", "", true), ("?", "", false),
        ("[x-]", "-", true), ("é*", "école", true), ("*", "anything at all", true),
    ]) func aWholeTextFits(_ pattern: String, _ text: String, _ fits: Bool) throws {
        #expect(try GlobPattern(pattern).matches(text) == fits)
    }

    @Test(arguments: ["", "[", "[]", "[z-a]", "a[b", "\\", String(repeating: "x", count: 201)])
    func whatIsNoPatternIsRefused(_ pattern: String) {
        #expect(throws: InvalidValue.self) { try GlobPattern(pattern) }
    }

    /// The pattern that hangs matchers which try every way: here it takes some thousand steps.
    @Test func manyRunsTakeNoTime() throws {
        let pattern = try GlobPattern(String(repeating: "a*", count: 90) + "b")
        #expect(!pattern.matches(String(repeating: "a", count: 10_000)))
    }
}
