import Primitives
import Testing

@Suite struct Base64Tests {
    /// RFC 4648 section 10, without the padding.
    @Test(arguments: [
        ("", ""), ("f", "Zg"), ("fo", "Zm8"), ("foo", "Zm9v"), ("foob", "Zm9vYg"), ("fooba", "Zm9vYmE"),
        ("foobar", "Zm9vYmFy"),
    ])
    func `has the vectors of RFC 4648`(plain: String, text: String) {
        for alphabet in [Base64.standard, .urlSafe] {
            #expect(alphabet.encode(plain.utf8) == text)
            #expect(alphabet.decode(text.utf8) == Array(plain.utf8))
        }
    }

    @Test func `each alphabet has its own last two characters`() {
        #expect(Base64.standard.encode([0xFB, 0xFF]) == "+/8")
        #expect(Base64.urlSafe.encode([0xFB, 0xFF]) == "-_8")
        #expect(Base64.standard.decode("-_8".utf8) == nil)
        #expect(Base64.urlSafe.decode("+/8".utf8) == nil)
    }

    @Test(arguments: ["Z", "Zg==", "Zh", "Zm9", "Zm9vY", "Zm 9v", "Zm9v\n", "Zm9vé"])
    func `decodes nothing but the canonical text`(text: String) {
        #expect(Base64.standard.decode(text.utf8) == nil)
    }

    @Test func `any bytes come back`() {
        var random = SeededRandom(seed: 7)
        for size in 0..<200 {
            let bytes = (0..<size).map { _ in UInt8.random(in: .min ... .max, using: &random) }
            #expect(Base64.urlSafe.decode(Base64.urlSafe.encode(bytes).utf8) == bytes)
        }
    }
}
