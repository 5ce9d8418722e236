import Primitives
import WireCoding

/// What a TPM signs when it is asked for its PCRs (TPMS_ATTEST with TPMS_QUOTE_INFO, TPM 2.0 Part 2 section 10.12).
public struct TPMQuote: Sendable, Hashable {
    /// The PCRs that are quoted: 0 to 7, which firmware and boot loaders extend.
    public static let pcrCount = 8
    /// A TPML_PCR_SELECTION of them in the SHA-256 bank.
    public static let selection: [UInt8] = [0, 0, 0, 1, 0x00, 0x0B, 3, 0xFF, 0, 0]
    /// The most bytes of a quote that are read.
    public static let sizeMax = 1024

    /// What the quote was asked with.
    public let nonce: [UInt8]
    /// SHA-256 of the PCRs' values one after the other.
    public let pcrDigest: [UInt8]
    /// How often the TPM was reset.
    public let resetCount: UInt32

    /// Reads one; throws `WireError` unless the TPM itself has made it and it is of the PCRs 0 to 7 in the SHA-256 bank.
    public init(decoding bytes: [UInt8]) throws(WireError) {
        guard bytes.count <= Self.sizeMax else { throw WireError(offset: 0, .tooLong(limit: Self.sizeMax)) }
        var reader = ByteReader(bytes)
        guard try reader.readUInt32() == TPMNumber.generated else {
            throw WireError(offset: 0, .invalid("not made by a TPM"))
        }
        try reader.expect(TPMNumber.quoteType, "not a quote")
        _ = try reader.sized()
        nonce = Array(try reader.sized())
        try reader.skip(8)
        resetCount = try reader.readUInt32()
        try reader.skip(4 + 1 + 8)
        guard Array(try reader.bytes(Self.selection.count)) == Self.selection else {
            throw WireError(offset: reader.offset, .invalid("not of the PCRs 0 to 7 in the SHA-256 bank"))
        }
        pcrDigest = Array(try reader.sized())
        try reader.expectEnd()
    }

    /// The signature's numbers r and s, 32 bytes each, of a TPMT_SIGNATURE; throws `WireError` unless it is by ECDSA with
    /// SHA-256.
    public static func signature(decoding bytes: [UInt8]) throws(WireError) -> [UInt8] {
        guard bytes.count <= 128 else { throw WireError(offset: 0, .tooLong(limit: 128)) }
        var reader = ByteReader(bytes)
        try reader.expect(TPMNumber.ecdsa, "not an ECDSA signature")
        try reader.expect(TPMNumber.sha256, "not a signature of a SHA-256")
        let r = Array(try reader.sized())
        let s = Array(try reader.sized())
        try reader.expectEnd()
        guard r.count <= 32, s.count <= 32 else {
            throw WireError(offset: reader.offset, .invalid("a number of the signature is too long"))
        }
        return TPMPublic.padded(r, .p256) + TPMPublic.padded(s, .p256)
    }
}
