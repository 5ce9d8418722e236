import Primitives
import Testing

@Suite struct PercentEncodingTests {
    @Test func `all but unreserved characters are encoded by their bytes`() {
        let unreserved = "ABCXYZabcxyz0189-._~"
        #expect(unreserved.percentEncoded == unreserved)
        #expect("".percentEncoded == "" && "a/b c+d%e".percentEncoded == "a%2Fb%20c%2Bd%25e")
        #expect("\u{1}\n é☃".dropFirst().percentEncoded == "%0A%20%C3%A9%E2%98%83")
    }

    @Test func `what was encoded is decoded`() {
        let text = String(String.UnicodeScalarView((0..<0x180).compactMap(Unicode.Scalar.init)))
        #expect(text.percentEncoded.percentDecoded() == text)
        #expect(text.percentEncoded.percentDecoded(plusIsSpace: true) == text)
    }

    @Test func `a plus is a space in forms alone`() {
        #expect("a+b%2b".percentDecoded() == "a+b+")
        #expect("a+b%2B".percentDecoded(plusIsSpace: true) == "a b+")
    }

    @Test(arguments: ["%", "a%4", "%4g", "%%41", "%+1", "%FF", "%C3", "%ED%A0%80"])
    func `wrong escapes and what is no UTF-8 are nothing`(text: String) {
        #expect(text.percentDecoded() == nil && text.percentDecoded(plusIsSpace: true) == nil)
    }
}
