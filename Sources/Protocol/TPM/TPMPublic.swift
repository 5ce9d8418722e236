import Primitives
import WireCoding

/// The public part of an elliptic-curve key in a TPM (TPMT_PUBLIC, TPM 2.0 Part 2 section 12.2.4).
public struct TPMPublic: Sendable, Hashable {
    /// The hash that its name is made with.
    public var nameHash: TPMHash
    /// What it may do.
    public var attributes: TPMKeyAttributes
    /// The digest of the policy that allows its use; empty: none.
    public var policy: [UInt8]
    /// Bits of the AES key, in CFB mode, by which it protects what it is given; nil: it protects nothing.
    public var aesBits: UInt16?
    /// The hash of its ECDSA signatures; nil: it signs by no fixed scheme.
    public var signatureHash: TPMHash?
    /// Its curve.
    public var curve: TPMCurve
    /// The point's coordinates, big endian; as they stand in the TPM, so zeros at the front may be missing.
    public var x: [UInt8]
    public var y: [UInt8]

    /// The most bytes of a public part that are read.
    public static let sizeMax = 512

    /// A public part.
    public init(
        nameHash: TPMHash, attributes: TPMKeyAttributes, policy: [UInt8] = [], aesBits: UInt16? = nil,
        signatureHash: TPMHash? = nil, curve: TPMCurve, x: [UInt8] = [], y: [UInt8] = []
    ) {
        self.nameHash = nameHash
        self.attributes = attributes
        self.policy = policy
        self.aesBits = aesBits
        self.signatureHash = signatureHash
        self.curve = curve
        self.x = x
        self.y = y
    }

    /// Reads a TPMT_PUBLIC; throws `WireError` when it is damaged or not of a kind that is used here.
    public init(decoding bytes: [UInt8]) throws(WireError) {
        guard bytes.count <= Self.sizeMax else { throw WireError(offset: 0, .tooLong(limit: Self.sizeMax)) }
        var reader = ByteReader(bytes)
        try reader.expect(TPMNumber.ecc, "not an elliptic-curve key")
        nameHash = try reader.hash()
        attributes = TPMKeyAttributes(rawValue: try reader.readUInt32())
        policy = Array(try reader.sized())
        switch try reader.readUInt16() {
        case TPMNumber.null: aesBits = nil
        case TPMNumber.aes:
            aesBits = try reader.readUInt16()
            try reader.expect(TPMNumber.cfb, "not AES in CFB mode")
        default: throw WireError(offset: reader.offset, .invalid("an unknown cipher"))
        }
        switch try reader.readUInt16() {
        case TPMNumber.null: signatureHash = nil
        case TPMNumber.ecdsa: signatureHash = try reader.hash()
        default: throw WireError(offset: reader.offset, .invalid("an unknown signature scheme"))
        }
        guard let known = TPMCurve(rawValue: try reader.readUInt16()) else {
            throw WireError(offset: reader.offset, .invalid("an unknown curve"))
        }
        curve = known
        try reader.expect(TPMNumber.null, "an unknown key derivation")
        x = Array(try reader.sized())
        y = Array(try reader.sized())
        guard x.count <= curve.coordinateLength, y.count <= curve.coordinateLength else {
            throw WireError(offset: reader.offset, .invalid("a coordinate is too long for its curve"))
        }
        try reader.expectEnd()
    }

    /// The bytes of this TPMT_PUBLIC. Throws `WireError` when a part is longer than its length can tell.
    public func encoded() throws(WireError) -> [UInt8] {
        var writer = ByteWriter(limit: Self.sizeMax)
        try writer.writeUInt16(TPMNumber.ecc)
        try writer.writeUInt16(nameHash.rawValue)
        try writer.writeUInt32(attributes.rawValue)
        try writer.sized(policy)
        if let aesBits {
            try writer.writeUInt16(TPMNumber.aes)
            try writer.writeUInt16(aesBits)
            try writer.writeUInt16(TPMNumber.cfb)
        } else {
            try writer.writeUInt16(TPMNumber.null)
        }
        if let signatureHash {
            try writer.writeUInt16(TPMNumber.ecdsa)
            try writer.writeUInt16(signatureHash.rawValue)
        } else {
            try writer.writeUInt16(TPMNumber.null)
        }
        try writer.writeUInt16(curve.rawValue)
        try writer.writeUInt16(TPMNumber.null)
        try writer.sized(x)
        try writer.sized(y)
        return writer.bytes
    }

    /// The point as X9.63 writes it: 04, x, y, each coordinate with its zeros.
    public var point: [UInt8] { [0x04] + Self.padded(x, curve) + Self.padded(y, curve) }

    /// A coordinate with all its zeros at the front.
    public static func padded(_ coordinate: [UInt8], _ curve: TPMCurve) -> [UInt8] {
        [UInt8](repeating: 0, count: max(0, curve.coordinateLength - coordinate.count)) + coordinate
    }

    /// Whether it is a key of the same kind as `other`: all is equal but the point.
    public func isSameKind(as other: TPMPublic) -> Bool {
        var left = self
        (left.x, left.y) = (other.x, other.y)
        return left == other
    }
}

/// The endorsement keys that a TPM can be asked for, by the templates of the "TCG EK Credential Profile for TPM Family 2.0".
public enum EndorsementTemplate: CaseIterable, Sendable {
    /// Template L-2: P-256; the certificate of it stands in the NV index 0x01C0000A.
    case p256
    /// Template H-3: P-384; the certificate of it stands in the NV index 0x01C00016.
    case p384

    /// Where the TPM keeps the certificate of its maker.
    public var certificateIndex: UInt32 {
        switch self {
        case .p256: 0x01C0_000A
        case .p384: 0x01C0_0016
        }
    }

    /// The key's public part, with the point that the template tells the TPM to make the key from.
    public var key: TPMPublic {
        let attributes: TPMKeyAttributes = [
            .fixedTPM, .fixedParent, .sensitiveDataOrigin, .adminWithPolicy, .restricted, .decrypt,
        ]
        switch self {
        case .p256:
            let zeros = [UInt8](repeating: 0, count: 32)
            return TPMPublic(
                nameHash: .sha256, attributes: attributes, policy: Self.policyA, aesBits: 128, curve: .p256, x: zeros,
                y: zeros)
        case .p384:
            return TPMPublic(
                nameHash: .sha384, attributes: attributes.union(.userWithAuth), policy: Self.policyB, aesBits: 256,
                curve: .p384)
        }
    }

    /// PolicyA with SHA-256: TPM2_PolicySecret of the endorsement hierarchy.
    private static let policyA: [UInt8] = [
        0x83, 0x71, 0x97, 0x67, 0x44, 0x84, 0xB3, 0xF8, 0x1A, 0x90, 0xCC, 0x8D, 0x46, 0xA5, 0xD7, 0x24,
        0xFD, 0x52, 0xD7, 0x6E, 0x06, 0x52, 0x0B, 0x64, 0xF2, 0xA1, 0xDA, 0x1B, 0x33, 0x14, 0x69, 0xAA,
    ]

    /// PolicyB with SHA-384.
    private static let policyB: [UInt8] = [
        0xB2, 0x6E, 0x7D, 0x28, 0xD1, 0x1A, 0x50, 0xBC, 0x53, 0xD8, 0x82, 0xBC, 0xF5, 0xFD, 0x3A, 0x1A,
        0x07, 0x41, 0x48, 0xBB, 0x35, 0xD3, 0xB4, 0xE4, 0xCB, 0x1C, 0x0A, 0xD9, 0xBD, 0xE4, 0x19, 0xCA,
        0xCB, 0x47, 0xBA, 0x09, 0x69, 0x96, 0x46, 0x15, 0x0F, 0x9F, 0xC0, 0x00, 0xF3, 0xF8, 0x0E, 0x12,
    ]
}

extension TPMPublic {
    /// The key that signs quotes: P-256, ECDSA with SHA-256, restricted, so that it signs nothing that is not the TPM's own.
    public static let attestationTemplate = TPMPublic(
        nameHash: .sha256,
        attributes: [.fixedTPM, .fixedParent, .sensitiveDataOrigin, .userWithAuth, .restricted, .sign],
        signatureHash: .sha256, curve: .p256)
}

extension ByteReader {
    /// Bytes with their count in two bytes before them (TPM2B).
    mutating func sized() throws(WireError) -> ArraySlice<UInt8> { try bytes(Int(try readUInt16())) }

    mutating func expect(_ number: UInt16, _ otherwise: String) throws(WireError) {
        guard try readUInt16() == number else { throw WireError(offset: offset, .invalid(otherwise)) }
    }

    mutating func hash() throws(WireError) -> TPMHash {
        guard let hash = TPMHash(rawValue: try readUInt16()) else {
            throw WireError(offset: offset, .invalid("an unknown hash"))
        }
        return hash
    }
}

extension ByteWriter {
    /// Bytes with their count in two bytes before them (TPM2B).
    mutating func sized(_ bytes: [UInt8]) throws(WireError) {
        guard let count = UInt16(exactly: bytes.count) else { throw WireError(offset: count, .tooLong(limit: 65_535)) }
        try writeUInt16(count)
        try write(bytes)
    }
}
