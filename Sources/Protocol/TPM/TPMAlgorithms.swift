/// The numbers of TPM 2.0 (Part 2, "Structures") that an attestation needs.
enum TPMNumber {
    static let noSessions: UInt16 = 0x8001
    static let sessions: UInt16 = 0x8002
    static let quoteType: UInt16 = 0x8018
    /// The first four bytes of everything that a TPM itself says and signs (TPM_GENERATED_VALUE).
    static let generated: UInt32 = 0xFF54_4347

    /// The answer TPM_RC_RETRY.
    static let retry: UInt32 = 0x922

    static let aes: UInt16 = 0x0006
    static let sha256: UInt16 = 0x000B
    static let sha384: UInt16 = 0x000C
    static let null: UInt16 = 0x0010
    static let ecdsa: UInt16 = 0x0018
    static let ecc: UInt16 = 0x0023
    static let cfb: UInt16 = 0x0043

    static let owner: UInt32 = 0x4000_0001
    static let nullHierarchy: UInt32 = 0x4000_0007
    static let password: UInt32 = 0x4000_0009
    static let endorsement: UInt32 = 0x4000_000B

    static let nvRead: UInt32 = 0x14E
    static let createPrimary: UInt32 = 0x131
    static let activateCredential: UInt32 = 0x147
    static let policySecret: UInt32 = 0x151
    static let quote: UInt32 = 0x158
    static let flushContext: UInt32 = 0x165
    static let nvReadPublic: UInt32 = 0x169
    static let startAuthSession: UInt32 = 0x176
    static let pcrRead: UInt32 = 0x17E
}

/// A curve of keys in TPMs.
public enum TPMCurve: UInt16, Sendable, Hashable, CaseIterable {
    case p256 = 0x0003
    case p384 = 0x0004

    /// Bytes of a coordinate.
    public var coordinateLength: Int {
        switch self {
        case .p256: 32
        case .p384: 48
        }
    }
}

/// A hash by which a TPM names keys.
public enum TPMHash: UInt16, Sendable, Hashable {
    case sha256 = 0x000B
    case sha384 = 0x000C

    /// Bytes of a digest.
    public var length: Int {
        switch self {
        case .sha256: 32
        case .sha384: 48
        }
    }
}

/// What a key in a TPM may do and is bound to (TPMA_OBJECT).
public struct TPMKeyAttributes: OptionSet, Sendable, Hashable {
    public let rawValue: UInt32

    public init(rawValue: UInt32) { self.rawValue = rawValue }

    /// It never leaves this TPM.
    public static let fixedTPM = Self(rawValue: 1 << 1)
    /// It never leaves its hierarchy.
    public static let fixedParent = Self(rawValue: 1 << 4)
    /// The TPM made its secret part itself.
    public static let sensitiveDataOrigin = Self(rawValue: 1 << 5)
    /// A password is enough to use it.
    public static let userWithAuth = Self(rawValue: 1 << 6)
    /// Only its policy is enough to administer it.
    public static let adminWithPolicy = Self(rawValue: 1 << 7)
    /// It works on structures of the TPM's own making only.
    public static let restricted = Self(rawValue: 1 << 16)
    /// It decrypts.
    public static let decrypt = Self(rawValue: 1 << 17)
    /// It signs.
    public static let sign = Self(rawValue: 1 << 18)
}
