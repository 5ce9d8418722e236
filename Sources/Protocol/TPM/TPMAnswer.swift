import Primitives
import WireCoding

/// An answer of a TPM: its parameters, after the header was checked.
public struct TPMAnswer: Sendable, Hashable {
    private let body: [UInt8]
    private let hasSessions: Bool

    /// How many bytes the answer has whose first ten are `header`; throws `WireError` when it cannot be one.
    public static func length(header: [UInt8]) throws(WireError) -> Int {
        var reader = ByteReader(header)
        try reader.skip(2)
        let length = Int(try reader.readUInt32())
        guard (10...TPMCommand.sizeMax).contains(length) else {
            throw WireError(offset: 2, .tooLong(limit: TPMCommand.sizeMax))
        }
        return length
    }

    /// Reads the answer to `command`; throws `TPMError`.
    public init(_ bytes: [UInt8], to command: TPMCommand) throws(TPMError) {
        do {
            var reader = ByteReader(bytes)
            let tag = try reader.readUInt16()
            guard Int(try reader.readUInt32()) == bytes.count else {
                throw WireError(offset: 2, .invalid("the length is not the answer's"))
            }
            let code = try reader.readUInt32()
            guard code == 0 else { throw TPMError.refused(command.name, code) }
            hasSessions = tag == TPMNumber.sessions
            body = Array(reader.rest())
        } catch let error as WireError {
            throw .damaged(command.name, error)
        } catch let error as TPMError {
            throw error
        } catch {
            throw .damaged(command.name, WireError(offset: 0, .invalid("\(error)")))
        }
    }

    /// The handle and the public part of a new key.
    public func createdKey() throws(WireError) -> (handle: UInt32, key: [UInt8]) {
        var reader = ByteReader(body)
        let handle = try reader.readUInt32()
        try reader.skip(4)
        return (handle, Array(try reader.sized()))
    }

    /// The handle of a session.
    public func session() throws(WireError) -> UInt32 {
        var reader = ByteReader(body)
        return try reader.readUInt32()
    }

    /// How many bytes an NV index holds.
    public func nvSize() throws(WireError) -> UInt16 {
        var reader = ByteReader(body)
        var index = ByteReader(try reader.sized())
        try index.skip(4 + 2 + 4)
        _ = try index.sized()
        return try index.readUInt16()
    }

    /// The only parameter: bytes of an NV index, or the secret of a credential.
    public func bytes() throws(WireError) -> [UInt8] {
        var reader = try parameters()
        return Array(try reader.sized())
    }

    /// What was signed and the signature (TPMT_SIGNATURE).
    public func quote() throws(WireError) -> (attested: [UInt8], signature: [UInt8]) {
        var reader = try parameters()
        let attested = Array(try reader.sized())
        let start = reader
        try reader.skip(4)
        _ = try reader.sized()
        _ = try reader.sized()
        var whole = start
        return (attested, Array(try whole.bytes(reader.offset - start.offset)))
    }

    /// The values of the PCRs that were read. Throws `WireError` unless all that `TPMQuote.selection` names are there.
    public func pcrValues() throws(WireError) -> [[UInt8]] {
        var reader = ByteReader(body)
        try reader.skip(4)
        guard Array(try reader.bytes(TPMQuote.selection.count)) == TPMQuote.selection else {
            throw WireError(offset: 4, .invalid("the TPM has no SHA-256 bank with the PCRs 0 to 7"))
        }
        guard try reader.readUInt32() == TPMQuote.pcrCount else {
            throw WireError(offset: reader.offset, .invalid("not eight PCRs"))
        }
        var values: [[UInt8]] = []
        for _ in 0..<TPMQuote.pcrCount { values.append(Array(try reader.sized())) }
        return values
    }

    /// A reader at the first parameter: an answer with sessions has the parameters' length before them.
    private func parameters() throws(WireError) -> ByteReader {
        var reader = ByteReader(body)
        if hasSessions { try reader.skip(4) }
        return reader
    }
}

/// Why a TPM did not do what it was asked.
public enum TPMError: UserFacingError, Hashable {
    /// It answered with this code (TPM_RC) to this command.
    case refused(String, UInt32)
    /// Its answer to this command cannot be read.
    case damaged(String, WireError)

    public var publicMessage: String {
        switch self {
        case .refused(let command, let code):
            "The TPM refused \(command) with code 0x\(String(code, radix: 16))."
        case .damaged(let command, let error): "The TPM's answer to \(command) cannot be read: \(error.publicMessage)"
        }
    }
}
