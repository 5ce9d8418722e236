import FoundationEssentials
import Primitives
import Synchronization
import Testing

@testable import Identity

@Suite struct TokenSealerTests {
    private let random = seededBytes(1)
    private static let start = Timestamp(millisecondsSinceEpoch: 1_795_000_000_000)
    private let ring = TokenKeyRing(random: seededBytes(2), at: Self.start)
    private var sealer: TokenSealer { TokenSealer(ring: ring) }

    private static let issued = Timestamp(millisecondsSinceEpoch: 1_800_000_000_123)
    private static let plain = TokenPayload(
        userID: "8d3f1f4cbe9a4c2e9f3c0b3a5f0a7e11", methods: ["password", "totp"],
        scope: .project("0f5a4c1b2d3e4f5061728394a5b6c7d8"), issued: issued,
        expires: issued.advanced(by: .seconds(3600)), auditID: "3T2dc1CGQxyJsHdDu1xkcw",
        auditChainID: "VcxU2JYqT8OzfUVvrjEITQ")

    private static var payloads: [TokenPayload] {
        var all = [plain]
        var first = plain
        first.auditChainID = first.auditID
        for scope in [TokenPayload.Scope.unscoped, .domain("default"), .system, .project("a-b")] {
            first.scope = scope
            all.append(first)
        }
        var full = plain
        full.methods = ["token", "password", "password", "Kerberos é"]
        full.trustID = "1f5a4c1b2d3e4f5061728394a5b6c7d8"
        full.applicationCredentialID = "2f5a4c1b2d3e4f5061728394a5b6c7d8"
        full.accessTokenID = "3f5a4c1b2d3e4f5061728394a5b6c7d8"
        full.federation = .init(
            identityProvider: "Keycloak ü", protocol: "openid", groupIDs: ["4f5a4c1b2d3e4f5061728394a5b6c7d8", ""])
        all.append(full)
        var strange = plain
        strange.userID = String(repeating: "ab", count: 32)
        strange.auditID = "3T2dc1CGQxyJsHdDu1xkcx"
        strange.auditChainID = "AF5A4C1B2D3E4F5061728394A5B6C7D8"
        strange.methods = TokenPayload.knownMethods
        strange.issued = Timestamp(millisecondsSinceEpoch: .max)
        strange.expires = Timestamp(millisecondsSinceEpoch: .min)
        all.append(strange)
        strange.methods = []
        strange.userID = ""
        strange.issued = Timestamp(millisecondsSinceEpoch: -1)
        all.append(strange)
        return all
    }

    @Test(arguments: payloads)
    func `what is sealed opens as it was`(payload: TokenPayload) throws {
        let token = try sealer.seal(payload, random: random)
        #expect(try sealer.open(token) == payload)
        #expect(token.hasPrefix("mst_"))
        #expect(token.utf8.allSatisfy { $0 == UInt8(ascii: "_") || $0 == UInt8(ascii: "-") || isLetterOrDigit($0) })
    }

    @Test func `usual tokens are short`() throws {
        var payload = Self.plain
        #expect(try sealer.seal(payload, random: random).utf8.count < 180)
        payload.trustID = "1f5a4c1b2d3e4f5061728394a5b6c7d8"
        payload.applicationCredentialID = "2f5a4c1b2d3e4f5061728394a5b6c7d8"
        #expect(try sealer.seal(payload, random: random).utf8.count < 255)
    }

    @Test func `two tokens of one payload are two texts`() throws {
        #expect(try sealer.seal(Self.plain, random: random) != sealer.seal(Self.plain, random: random))
    }

    @Test func `a token that is changed anywhere does not open`() throws {
        let token = Array(try sealer.seal(Self.plain, random: random).utf8)
        for index in token.indices {
            for mask: UInt8 in [1, 2, 32] {
                var changed = token
                changed[index] ^= mask
                #expect(throws: TokenError.self) { try sealer.open(String(decoding: changed, as: UTF8.self)) }
            }
        }
    }

    @Test func `a token that is cut or continued does not open`() throws {
        let token = try sealer.seal(Self.plain, random: random)
        for count in 0..<token.count {
            #expect(throws: TokenError.self) { try sealer.open(String(token.prefix(count))) }
        }
        for end in ["A", "AA", "AAAA", "=", "\n", " "] {
            #expect(throws: TokenError.self) { try sealer.open(token + end) }
        }
    }

    @Test func `says why`() throws {
        let token = try sealer.seal(Self.plain, random: random)
        let bytes = try #require(Base64.urlSafe.decode(token.utf8.dropFirst(4)))
        func text(_ change: (inout [UInt8]) -> Void) -> String {
            var changed = bytes
            change(&changed)
            return "mst_" + Base64.urlSafe.encode(changed)
        }
        #expect(throws: TokenError.forged) { try sealer.open(text { $0[20] ^= 1 }) }
        #expect(throws: TokenError.forged) { try sealer.open(text { $0[$0.count - 1] ^= 1 }) }
        #expect(throws: TokenError.unknownVersion(2)) { try sealer.open(text { $0[0] = 2 }) }
        #expect(throws: TokenError.notAToken) { try sealer.open(text { $0.removeLast($0.count - 33) }) }
        #expect(throws: TokenError.notAToken) { try sealer.open("") }
        #expect(throws: TokenError.notAToken) { try sealer.open(String(token.dropFirst(4))) }
        #expect(throws: TokenError.notAToken) { try sealer.open("gAAAAABl" + token.dropFirst(8)) }
        #expect(throws: TokenError.tooLarge) { try sealer.open("mst_" + String(repeating: "A", count: 9000)) }
        let other = TokenSealer(ring: TokenKeyRing(random: seededBytes(3), at: Self.start))
        #expect(throws: TokenError.unknownKey(ring.keyIDs[0])) { try other.open(token) }
    }

    @Test func `a receipt is no token, and a token no receipt`() throws {
        let receipts = TokenSealer(ring: ring, purpose: .receipt)
        let (token, receipt) = (
            try sealer.seal(Self.plain, random: random), try receipts.seal(Self.plain, random: random)
        )
        #expect(try receipts.open(receipt) == Self.plain && receipt.hasPrefix("msr_"))
        #expect(throws: TokenError.notAToken) { try sealer.open(receipt) }
        #expect(throws: TokenError.notAToken) { try receipts.open(token) }
        #expect(throws: TokenError.forged) { try sealer.open("mst_" + receipt.dropFirst(4)) }
        #expect(throws: TokenError.forged) { try receipts.open("msr_" + token.dropFirst(4)) }
    }

    @Test func `a payload that is too large is not sealed`() throws {
        var payload = Self.plain
        payload.federation = .init(
            identityProvider: "i", protocol: "p",
            groupIDs: (0..<340).map { _ in Hex.encode(random(16)) })
        #expect(try sealer.open(sealer.seal(payload, random: random)) == payload)
        payload.userID = String(repeating: "x", count: 8000)
        #expect(throws: TokenError.tooLarge) { try sealer.seal(payload, random: random) }
    }

    private static let day: Duration = .seconds(86_400)

    private func turned(_ ring: TokenKeyRing, after time: Duration) -> TokenKeyRing {
        ring.turned(at: Self.start.advanced(by: time), age: Self.day, lifetime: .seconds(3600), random: random)
    }

    @Test func `a key is replaced when it is old, and goes when no token of it can live`() throws {
        let token = try sealer.seal(Self.plain, random: random)
        #expect(turned(ring, after: .seconds(86_399)) == ring)
        let second = turned(ring, after: Self.day)
        #expect(second.keyIDs.count == 2 && second.keyIDs[1] == ring.keyIDs[0])
        #expect(try TokenSealer(ring: second).open(token) == Self.plain)
        let newer = try TokenSealer(ring: second).seal(Self.plain, random: random)
        #expect(throws: TokenError.unknownKey(second.keyIDs[0])) { try sealer.open(newer) }
        #expect(turned(second, after: Self.day + .seconds(7199)) == second, "an hour of a token, an hour of the clock")
        let third = turned(second, after: Self.day + .seconds(7200))
        #expect(third.keyIDs == [second.keyIDs[0]])
        #expect(throws: TokenError.unknownKey(ring.keyIDs[0])) { try TokenSealer(ring: third).open(token) }
        #expect(try TokenSealer(ring: third).open(newer) == Self.plain)
    }

    @Test func `a clock that is set neither loses keys nor stops their rotation`() throws {
        let second = turned(ring, after: Self.day)
        #expect(turned(second, after: Self.day - .seconds(3600)) == second, "an hour back: nothing is done")
        let far = turned(ring, after: .seconds(86_400 * 3650))
        let back = turned(far, after: .seconds(60))
        #expect(Array(back.keyIDs.dropFirst()) == far.keyIDs, "a key from the future is replaced, and opens still")
        #expect(turned(back, after: Self.day).keyIDs == [back.keyIDs[0]])
        var full = ring
        for hour in 0..<40 {
            full = full.turned(
                at: Self.start.advanced(by: .seconds(hour)), age: .zero, lifetime: Self.day, random: random)
        }
        #expect(full.keyIDs.count == TokenKeyRing.countMax)
    }

    @Test func `a ring comes back from its JSON and shows no key`() throws {
        let ring = turned(ring, after: Self.day)
        let json = try JSONEncoder().encode(ring)
        #expect(try JSONDecoder().decode(TokenKeyRing.self, from: json) == ring)
        let keys = ring.keys.map { Hex.encode($0.bytes) }
        #expect(keys.count == 2 && keys.allSatisfy { String(decoding: json, as: UTF8.self).contains($0) })
        #expect(!keys.contains { shown(ring).contains($0) })
        let key = keys[0]
        for wrong in ["[]", "[\"\"]", "[\"\(key.dropLast(2))\"]", "[\"\(key)\",\"\(key)\"]", "[\"\(key)\",\"zz\"]"] {
            #expect(throws: DecodingError.self) {
                try JSONDecoder().decode(TokenKeyRing.self, from: Data("{\"keys\":\(wrong)}".utf8))
            }
        }
        let undated = try JSONDecoder().decode(TokenKeyRing.self, from: Data("{\"keys\":[\"\(key)\"]}".utf8))
        #expect(turned(undated, after: .zero).keyIDs.count == 2, "what has no time is replaced at once")
    }

    @Test func `any bytes are read or refused`() {
        var random = SeededRandom(seed: 11)
        var read = 0
        let good = Self.payloads.map(\.encoded)
        for round in 0..<20_000 {
            var bytes = good[round % good.count]
            for _ in 0..<Int.random(in: 1...4, using: &random) {
                bytes[Int.random(in: bytes.indices, using: &random)] = UInt8.random(in: .min ... .max, using: &random)
            }
            if round.isMultiple(of: 3) { bytes.removeLast(Int.random(in: 0..<bytes.count, using: &random)) }
            guard let payload = TokenPayload(decoding: bytes) else { continue }
            read += 1
            #expect(TokenPayload(decoding: payload.encoded) == payload)
        }
        #expect(read > 1000)
    }

    private func isLetterOrDigit(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
            UInt8(ascii: "0")...UInt8(ascii: "9"):
            true
        default: false
        }
    }
}
