import FoundationEssentials
import Primitives
import Testing

@Suite struct ByteValueTests {
    @Test func hexadecimalTextIsWrittenAndRead() {
        let all = Array(UInt8.min ... .max)
        #expect(Hex.decode(Hex.encode(all)) == all)
        #expect(Hex.encode([0, 0x0F, 0xF0, 0xFF]) == "000ff0ff")
        #expect(Hex.decode("00Ff") == [0, 255])
        #expect(Hex.decode("") == [])
        for bad in ["0", "0g", "g0", " 00", "0x00", "00 ", "é", "+1"] { #expect(Hex.decode(bad) == nil) }
    }

    @Test func digestsAre64Digits() throws {
        let bytes = (0..<32).map { UInt8($0) }
        let digest = Digest(bytes: bytes)
        #expect(digest.hex == "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f")
        #expect(digest.bytes == bytes)
        #expect(try Digest(hex: digest.hex) == digest)
        #expect(try roundTrip(digest) == digest)
        #expect(Digest(bytes: [UInt8](repeating: 0, count: 32)) < digest)
        let long = String(repeating: "a", count: 63)
        for bad in ["", long, long + "aa", long + "A", long + "g", long + "\n", "../" + long.dropLast(2)] {
            #expect(throws: InvalidValue.self) { try Digest(hex: bad) }
        }
    }

    @Test func secretsDoNotShow() throws {
        let secret = try decode(SecretText.self, "\"hunter2\"")
        #expect(secret.revealed == "hunter2")
        var dumped = ""
        dump(secret, to: &dumped)
        struct Holder { var secret: SecretText }
        let texts = [
            "\(secret)", String(describing: secret), String(reflecting: secret), dumped,
            "\(Holder(secret: secret))", String(reflecting: Holder(secret: secret)), "\([secret])",
            "\(Optional(secret) as Any)",
        ]
        for text in texts { #expect(!text.contains("hunter2")) }
        #expect(throws: EncodingError.self) { try JSONEncoder().encode(["password": secret]) }
        #expect(secret == SecretText("hunter2") && secret != SecretText("hunter3") && secret != SecretText(""))
    }

    @Test func constantTimeComparisonIsEquality() {
        #expect(ConstantTime.equal([], []) && ConstantTime.equal([1, 2], [1, 2]))
        for (left, right) in [([1, 2], [1, 3]), ([1, 2], [2, 2]), ([1], [1, 2]), ([], [0])] as [([UInt8], [UInt8])] {
            #expect(!ConstantTime.equal(left, right))
        }
    }

    @Test(arguments: [
        "null", "true", "0", "-1", "9223372036854775807", "18446744073709551615", "0.5", "\"text\"", "[]", "{}",
        "{\"a\":[1,{\"b\":null},\"c\"],\"d\":false}", "\"\\u0000\\n\"", "[1.5e300]", "[true,1,0,false]",
    ])
    func jsonValuesAreKept(text: String) throws {
        let value = try decode(JSONValue.self, text)
        #expect(try roundTrip(value) == value)
        let again = try decode(JSONValue.self, json(value))
        #expect(again == value)
    }

    @Test func jsonValuesAreToldApart() throws {
        #expect(try decode(JSONValue.self, "1") == .integer(1))
        #expect(try decode(JSONValue.self, "true") == .bool(true))
        #expect(try decode(JSONValue.self, "18446744073709551615") == .unsigned(.max))
        #expect(try decode(JSONValue.self, "0.5") == .number(0.5))
        #expect(try decode(JSONValue.self, "{\"a\":null}")["a"] == .null)
        #expect(try decode(JSONValue.self, "{}")["a"] == nil)
        #expect(try decode(JSONValue.self, "[1]")["a"] == nil)
    }

    /// The reference implementation's numbers for the seed 1234567.
    @Test func seededNumbersAreThoseOfSplitMix64() {
        var random = SeededRandom(seed: 1_234_567)
        let numbers = (0..<5).map { _ in random.next() }
        #expect(
            numbers == [
                6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423,
                4_593_380_528_125_082_431, 16_408_922_859_458_223_821,
            ])
    }
}
