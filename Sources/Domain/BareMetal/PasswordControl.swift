import Primitives

/// Changes the password of the account as which a BMC is spoken to.
public protocol PasswordControl: Sendable {
    /// Which passwords the BMC takes; throws `BMCError.unsupported` when it lets nobody change them.
    func passwordRule() async throws(BMCError) -> PasswordRule

    /// Gives the account another password, and returns when the BMC has said that it has it.
    ///
    /// Sent once. What `PasswordRule.canBeSent` does not allow is refused before anything is sent. After an error that
    /// `isTransient` the BMC may have it or not.
    func setPassword(_ new: SecretText) async throws(BMCError)

    /// Logs in anew, whatever sessions are held already, and ends that login; throws `BMCError.badCredentials` when the
    /// BMC does not take the password.
    func proveLogin() async throws(BMCError)
}

extension PasswordControl {
    public func passwordRule() async throws(BMCError) -> PasswordRule { throw .noPasswordControl }
    public func setPassword(_ new: SecretText) async throws(BMCError) { throw .noPasswordControl }
    public func proveLogin() async throws(BMCError) { throw .noPasswordControl }
}

extension BMCError {
    /// The BMC has no accounts that can be changed from afar.
    public static let noPasswordControl = BMCError.unsupported(
        "it lets nobody change a password; change it at the BMC itself, then in the site file")
}

/// Which passwords a BMC takes.
public struct PasswordRule: Sendable, Hashable {
    /// The length of a password that the conductor makes, unless the BMC wants another.
    public static let lengthUsual = 20
    /// Shorter ones are not made.
    public static let lengthLeast = 12
    /// Longer ones are not made, whatever a BMC asks for.
    public static let lengthMost = 64
    /// The longest that every BMC keeps whole for IPMI (IPMI v2.0 section 22.30).
    public static let lengthOfIPMI = 16

    /// The fewest characters.
    public let lengthMin: Int
    /// The most characters.
    public let lengthMax: Int

    /// A rule of what a BMC tells, whatever that is; nil: it does not say.
    public init(lengthMin: Int? = nil, lengthMax: Int? = nil) {
        self.lengthMin = max(lengthMin ?? 0, 0)
        // There are services that tell 0 where they have no limit.
        self.lengthMax = lengthMax.flatMap { $0 > 0 ? $0 : nil } ?? .max
    }

    /// This rule, and at most `length` characters.
    public func atMost(_ length: Int) -> PasswordRule {
        PasswordRule(lengthMin: lengthMin, lengthMax: min(lengthMax, length))
    }

    /// The length of a password that is made for it; throws `BMCError.refused` when there is none that is good.
    public func length() throws(BMCError) -> Int {
        let length = min(max(Self.lengthUsual, lengthMin), lengthMax)
        guard lengthMin <= lengthMax, (Self.lengthLeast...Self.lengthMost).contains(length) else {
            throw .refused(
                "it wants passwords of \(lengthMin) to \(lengthMax) characters; between \(Self.lengthLeast) and "
                    + "\(Self.lengthMost) are made")
        }
        return length
    }

    /// Whether a password may be sent to a BMC as a new one: printable ASCII without spaces, at most 64 bytes.
    ///
    /// Others are cut, changed or kept differently by one BMC or another, and then nobody knows the password.
    public static func canBeSent(_ password: SecretText) -> Bool {
        let bytes = password.revealed.utf8
        return (1...lengthMost).contains(bytes.count) && bytes.allSatisfy { (0x21...0x7E).contains($0) }
    }
}

/// Makes passwords that nobody can guess.
enum StrongPassword {
    private static let kinds = ["abcdefghijkmnopqrstuvwxyz", "ABCDEFGHJKLMNPQRSTUVWXYZ", "23456789", "-_."].map {
        Array($0)
    }

    /// A password of `length` characters, each drawn from 60 or from one of their kinds: small and capital letters,
    /// digits, and marks, of each one at least, as BMCs ask for. It begins with a letter.
    ///
    /// One of 16 characters has more than 85 random bits.
    static func make(length: Int, using random: inout some RandomNumberGenerator) -> SecretText {
        let all = kinds.flatMap(\.self)
        var rest = kinds.dropFirst().compactMap { $0.randomElement(using: &random) }
        while rest.count < length - 1 { rest.append(all.randomElement(using: &random) ?? "x") }
        rest.shuffle(using: &random)
        let first = kinds[0].randomElement(using: &random) ?? "x"
        return SecretText(String([first] + rest))
    }
}
