import Crypto
import Primitives

/// One-time passwords that change with the time (RFC 6238): six digits of HMAC-SHA-1, new every 30 seconds, as Keystone
/// and the usual authenticator programs make them.
public struct TOTP: Sendable {
    /// How long a passcode is the one of now.
    public static let period: Duration = .seconds(30)
    /// How many passcodes before the one of now are taken, by default.
    public static let previousWindows = 1
    /// The sizes of secrets, in bytes (RFC 4226 section 4, R6: 128 bits at least).
    public static let secretSizes = 16...128

    private static let digitCount = 6

    private let key: SymmetricKey

    /// The passwords of a secret in base32 (RFC 4648 section 6), with or without padding, in upper or lower case.
    ///
    /// Throws `InvalidValue`, which does not show the secret.
    public init(secret: String) throws(InvalidValue) {
        guard let bytes = Self.base32(secret), Self.secretSizes.contains(bytes.count) else {
            throw InvalidValue(
                "secret of one-time passwords", "<secret>",
                expected: "base32 of \(Self.secretSizes.lowerBound) to \(Self.secretSizes.upperBound) bytes")
        }
        key = SymmetricKey(data: bytes)
    }

    /// The passcode at `time`.
    public func passcode(at time: Timestamp) -> String { passcode(step: Self.step(at: time)) }

    /// The step of time that `passcode` belongs to, when it is the one of `now` or one of the `previousWindows` before
    /// it; nil when it is none of them.
    ///
    /// A caller remembers the step and refuses passcodes of the same or an earlier one, so that none is used twice
    /// (RFC 6238 section 5.2).
    public func step(of passcode: String, now: Timestamp, previousWindows: Int = TOTP.previousWindows) -> Int64? {
        let given = Array(passcode.utf8)
        let current = Self.step(at: now)
        var found: Int64?
        // All are compared, so that the time does not tell which one it was.
        for back in 0...Int64(min(max(0, previousWindows), 10)) {
            let step = current - back
            if ConstantTime.equal(given, Array(self.passcode(step: step).utf8)), found == nil { found = step }
        }
        return found
    }

    private static func step(at time: Timestamp) -> Int64 {
        let (quotient, rest) = time.millisecondsSinceEpoch.quotientAndRemainder(dividingBy: period.milliseconds)
        return rest < 0 ? quotient - 1 : quotient
    }

    private func passcode(step: Int64) -> String {
        let counter = (0..<8).map { UInt8(truncatingIfNeeded: step >> Int64(56 - 8 * $0)) }
        let code = Array(HMAC<Insecure.SHA1>.authenticationCode(for: counter, using: key))
        // RFC 4226 section 5.3.
        let offset = Int(code[19] & 0xF)
        let number = code[offset..<offset + 4].reduce(UInt32(0)) { $0 << 8 | UInt32($1) } & 0x7FFF_FFFF
        let digits = String(number % 1_000_000)
        return String(repeating: "0", count: Self.digitCount - digits.utf8.count) + digits
    }

    private static func base32(_ text: String) -> [UInt8]? {
        guard text.utf8.count <= 256 else { return nil }
        let characters = text.utf8.reversed().drop { $0 == UInt8(ascii: "=") }.reversed()
        var bytes: [UInt8] = []
        var bits: UInt32 = 0
        var count = 0
        for character in characters {
            let value: UInt8
            switch character {
            case UInt8(ascii: "A")...UInt8(ascii: "Z"): value = character - UInt8(ascii: "A")
            case UInt8(ascii: "a")...UInt8(ascii: "z"): value = character - UInt8(ascii: "a")
            case UInt8(ascii: "2")...UInt8(ascii: "7"): value = character - UInt8(ascii: "2") + 26
            default: return nil
            }
            bits = bits << 5 | UInt32(value)
            count += 5
            if count >= 8 {
                count -= 8
                bytes.append(UInt8(truncatingIfNeeded: bits >> UInt32(count)))
            }
        }
        return bytes
    }
}
