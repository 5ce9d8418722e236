import Identity
import Primitives
import Testing

@Suite struct TOTPTests {
    /// "12345678901234567890", the secret of RFC 6238, in base32.
    private let secret = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"

    private func seconds(_ count: Int64) -> Timestamp { Timestamp(millisecondsSinceEpoch: count * 1000) }

    /// RFC 6238 appendix B, of its eight digits the last six.
    @Test(
        arguments: [
            (59, "287082"), (1_111_111_109, "081804"), (1_111_111_111, "050471"), (1_234_567_890, "005924"),
            (2_000_000_000, "279037"), (20_000_000_000, "353130"),
        ] as [(Int64, String)])
    func `has the vectors of RFC 6238`(time: Int64, code: String) throws {
        #expect(try TOTP(secret: secret).passcode(at: seconds(time)) == code)
        #expect(try TOTP(secret: secret).step(of: code, now: seconds(time)) == time / 30)
    }

    @Test func `a passcode is good in its window and the next one`() throws {
        let totp = try TOTP(secret: secret)
        let code = totp.passcode(at: seconds(90))
        for time: Int64 in [90, 119, 120, 149] { #expect(totp.step(of: code, now: seconds(time)) == 3) }
        for time: Int64 in [0, 89, 150, 1000] { #expect(totp.step(of: code, now: seconds(time)) == nil) }
        #expect(totp.step(of: code, now: seconds(120), previousWindows: 0) == nil)
        #expect(totp.step(of: code, now: seconds(180), previousWindows: 3) == 3)
        #expect(totp.step(of: code, now: Timestamp(millisecondsSinceEpoch: 119_999)) == 3)
        #expect(totp.step(of: code, now: seconds(90), previousWindows: -5) == 3)
    }

    @Test(arguments: ["", "28708", "2870822", "28708２", "abcdef", "287 082", String(repeating: "2", count: 100_000)])
    func `anything else is none`(code: String) throws {
        #expect(try TOTP(secret: secret).step(of: code, now: seconds(59)) == nil)
    }

    @Test func `strange times have passcodes too`() throws {
        let totp = try TOTP(secret: secret)
        for time in [Int64.min, -1, 0, .max] {
            let now = Timestamp(millisecondsSinceEpoch: time)
            #expect(totp.step(of: totp.passcode(at: now), now: now) != nil)
        }
    }

    @Test func `secrets are base32 with or without padding`() throws {
        let long = try TOTP(secret: "MFRGGZDFMZTWQ2LKNNWG23TPOBYXE43U").passcode(at: seconds(0))
        #expect(try TOTP(secret: "mfrggzdfmztwq2lknnwg23tpobyxe43u").passcode(at: seconds(0)) == long)
        _ = try TOTP(secret: "MFRGGZDFMZTWQ2LKNNWG23TPOA")
        _ = try TOTP(secret: "MFRGGZDFMZTWQ2LKNNWG23TPOA======")
    }

    @Test(arguments: ["", "MFRGGZDF", "MFRGGZDFMZTWQ2LKNNWG23TPOBYXE431", "MFRG=GZDFMZTWQ2LKNNWG23TPOBYXE43U", "é"])
    func `what is no secret is refused without showing it`(text: String) {
        let error = #expect(throws: InvalidValue.self) { try TOTP(secret: text) }
        #expect(error?.publicMessage.contains("<secret>") == true)
        #expect(throws: InvalidValue.self) { try TOTP(secret: text + String(repeating: "A", count: 300)) }
    }
}
