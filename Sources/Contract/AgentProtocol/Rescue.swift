import Primitives

/// Lets an operator log in to the ramdisk as root. Sent only to a boot that the conductor ordered, or that was approved.
public struct RescueOrder: Codable, Sendable, Hashable {
    /// The password's hash as crypt(5) has it; nil: the password was used, or its time is over.
    public var passwordHash: String?
    /// For how many seconds the password is good from now on.
    public var seconds: Int

    /// The longest hash.
    public static let hashLengthMax = 200

    /// An order.
    public init(passwordHash: String?, seconds: Int) {
        self.passwordHash = passwordHash
        self.seconds = seconds
    }
}

/// Where a machine in rescue can be logged in to.
public struct RescueAccess: Codable, Sendable, Hashable {
    /// The machine's addresses.
    public var addresses: [IPv4Address]
    /// The host key that the ramdisk made for this boot, as in `known_hosts`, for example `ssh-ed25519 AAAA…`.
    public var hostKey: String
    /// Its fingerprint as `ssh` shows it, for example `SHA256:…`.
    public var fingerprint: String

    /// The most characters of a key and of a fingerprint.
    public static let keyLengthMax = 800

    /// An access; too many addresses and too long texts are cut.
    public init(addresses: [IPv4Address], hostKey: String, fingerprint: String) {
        self.addresses = Array(addresses.prefix(8))
        self.hostKey = hostKey.printable(limit: Self.keyLengthMax)
        self.fingerprint = fingerprint.printable(limit: 100)
    }
}
