import Primitives
import Testing

@Suite struct NameTests {
    private enum Machine {}

    @Test(arguments: ["a", "node-1", "rack.example", "0", String(repeating: "a", count: 63)])
    func identifiersAreTakenAsTheyAre(text: String) throws {
        let id = try ID<Machine>(text)
        #expect(id.raw == text && id.description == text)
        #expect(try roundTrip(id) == id)
    }

    @Test(arguments: [
        "", "A", "a b", "a/b", "a\n", "a\0", "é", "a_b", "..;", String(repeating: "a", count: 64), "a\u{202E}",
    ])
    func otherTextsAreNoIdentifier(text: String) throws {
        #expect(throws: InvalidValue.self) { try ID<Machine>(text) }
        #expect(throws: DecodingError.self) { try decode(ID<Machine>.self, json(text)) }
    }

    @Test(arguments: 0..<50) func randomIdentifiersAreUUIDsOfVersion4(seed: Int) throws {
        var random = SeededRandom(seed: UInt64(seed))
        let text = ID<Machine>.random(using: &random).raw
        let groups = text.split(separator: "-")
        #expect(groups.map(\.count) == [8, 4, 4, 4, 12])
        #expect(groups[2].first == "4")
        #expect(groups[3].first.map { "89ab".contains($0) } == true)
        #expect(Hex.decode(groups.joined())?.count == 16)
        #expect(try ID<Machine>(text).raw == text)
    }

    @Test func uuidsAreFormatted() {
        #expect(UUIDText.format(Array(0..<16)) == "00010203-0405-0607-0809-0a0b0c0d0e0f")
        #expect(UUIDText.format([UInt8](repeating: 0xFF, count: 16)) == "ffffffff-ffff-ffff-ffff-ffffffffffff")
    }

    @Test func theSameSeedGivesTheSameIdentifiers() {
        var first = SeededRandom(seed: 1)
        var second = SeededRandom(seed: 1)
        var third = SeededRandom(seed: 2)
        let id = ID<Machine>.random(using: &first)
        #expect(id == ID<Machine>.random(using: &second))
        #expect(id != ID<Machine>.random(using: &third))
        #expect(id != ID<Machine>.random(using: &first))
    }

    @Test(arguments: ["a", "0", "node-1", "a--b", String(repeating: "x", count: 63)])
    func labelsAreTakenAsTheyAre(text: String) throws {
        let label = try DNSLabel(text)
        #expect(label.text == text)
        #expect(try roundTrip(label) == label)
    }

    @Test(arguments: [
        "", "-a", "a-", "-", "A", "a.b", "a b", "a\n", "a'b", "a\"b", "a$b", "é", String(repeating: "x", count: 64),
    ])
    func otherTextsAreNoLabel(text: String) {
        #expect {
            try DNSLabel(text, as: "node name")
        } throws: { error in
            (error as? InvalidValue)?.what == "node name"
        }
    }

    @Test func errorsAreSafeToPrint() {
        let error = InvalidValue("name", "a\u{1B}[31m\n" + String(repeating: "x", count: 200), expected: "less")
        #expect(error.publicMessage.hasPrefix("'a\\u{1b}[31m\\u{a}xxx"))
        #expect(error.value.unicodeScalars.count < 100)
        #expect(error.description == error.publicMessage)
    }

    @Test(arguments: [
        ("plain", true), ("ümläut 日本", true), ("tab\t", false), ("nul\0", false), ("del\u{7F}", false),
        ("c1\u{85}", false), ("line\u{2028}", false), ("zero\u{200B}width", false), ("bidi\u{202E}", false),
        ("bom\u{FEFF}", false), ("", true),
    ])
    func printableTextIsToldApart(text: String, isPrintable: Bool) {
        #expect(text.hasOnlyPrintableScalars == isPrintable)
    }

    @Test func printableTextIsCutAndEscaped() {
        #expect("abc".printable(limit: 3) == "abc")
        #expect("abcd".printable(limit: 3) == "abc…")
        #expect("a\u{7F}\u{9F}\r".printable(limit: 9) == "a\\u{7f}\\u{9f}\\u{d}")
    }
}
