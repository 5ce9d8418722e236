import Primitives
import WireCoding

/// A command to a TPM 2.0 (Part 3, "Commands") as its bytes. Passwords are empty, as those of a TPM that nobody has
/// taken into possession are.
public struct TPMCommand: Sendable, Hashable {
    /// Its bytes, header included.
    public let bytes: [UInt8]
    /// What it is called, for errors.
    public let name: String

    /// The most bytes of a command or an answer.
    public static let sizeMax = 4096

    private init(
        _ name: String, _ code: UInt32, handles: [UInt32] = [], sessions: [UInt32] = [],
        _ parameters: (inout ByteWriter) throws(WireError) -> Void = { _ in }
    ) throws(WireError) {
        var body = ByteWriter(limit: Self.sizeMax - 10)
        for handle in handles { try body.writeUInt32(handle) }
        if !sessions.isEmpty {
            try body.writeUInt32(UInt32(sessions.count * 9))
            for session in sessions {
                try body.writeUInt32(session)
                try body.writeUInt16(0)
                // A session goes on after the command (continueSession) and is flushed by its own command.
                try body.writeUInt8(session == TPMNumber.password ? 0 : 1)
                try body.writeUInt16(0)
            }
        }
        try parameters(&body)
        var writer = ByteWriter(limit: Self.sizeMax)
        try writer.writeUInt16(sessions.isEmpty ? TPMNumber.noSessions : TPMNumber.sessions)
        try writer.writeUInt32(UInt32(body.count + 10))
        try writer.writeUInt32(code)
        try writer.write(body.bytes)
        bytes = writer.bytes
        self.name = name
    }

    /// TPM2_NV_ReadPublic: what is known of an NV index.
    public static func nvReadPublic(_ index: UInt32) throws(WireError) -> TPMCommand {
        try TPMCommand("NV_ReadPublic", TPMNumber.nvReadPublic, handles: [index])
    }

    /// TPM2_NV_Read: `count` bytes of an NV index from `offset` on, by the index' own password.
    public static func nvRead(_ index: UInt32, offset: UInt16, count: UInt16) throws(WireError) -> TPMCommand {
        try TPMCommand(
            "NV_Read", TPMNumber.nvRead, handles: [index, index], sessions: [TPMNumber.password]
        ) { (body) throws(WireError) in
            try body.writeUInt16(count)
            try body.writeUInt16(offset)
        }
    }

    /// TPM2_CreatePrimary in the endorsement hierarchy: the same template gives the same key.
    public static func createPrimary(_ template: TPMPublic) throws(WireError) -> TPMCommand {
        let key = try template.encoded()
        return try TPMCommand(
            "CreatePrimary", TPMNumber.createPrimary, handles: [TPMNumber.endorsement], sessions: [TPMNumber.password]
        ) { (body) throws(WireError) in
            // No password and no data, the template, no outside information, no PCRs of its creation.
            try body.sized([0, 0, 0, 0])
            try body.sized(key)
            try body.sized([])
            try body.writeUInt32(0)
        }
    }

    /// TPM2_StartAuthSession for a policy, with a nonce of 16 bytes or more.
    public static func startPolicySession(nonce: [UInt8]) throws(WireError) -> TPMCommand {
        try TPMCommand(
            "StartAuthSession", TPMNumber.startAuthSession, handles: [TPMNumber.nullHierarchy, TPMNumber.nullHierarchy]
        ) { (body) throws(WireError) in
            try body.sized(nonce)
            try body.sized([])
            try body.writeUInt8(1)
            try body.writeUInt16(TPMNumber.null)
            try body.writeUInt16(TPMNumber.sha256)
        }
    }

    /// TPM2_PolicySecret with the endorsement hierarchy's password.
    public static func policySecret(session: UInt32) throws(WireError) -> TPMCommand {
        try TPMCommand(
            "PolicySecret", TPMNumber.policySecret, handles: [TPMNumber.endorsement, session],
            sessions: [TPMNumber.password]
        ) { (body) throws(WireError) in
            try body.sized([])
            try body.sized([])
            try body.sized([])
            try body.writeUInt32(0)
        }
    }

    /// TPM2_ActivateCredential: opens what was made for `attestationKey` and `endorsementKey` of one TPM.
    ///
    /// - Parameter policy: the session that allows the endorsement key's use; nil: its password does.
    public static func activateCredential(
        attestationKey: UInt32, endorsementKey: UInt32, policy: UInt32?, _ credential: ProtectedCredential
    ) throws(WireError) -> TPMCommand {
        try TPMCommand(
            "ActivateCredential", TPMNumber.activateCredential, handles: [attestationKey, endorsementKey],
            sessions: [TPMNumber.password, policy ?? TPMNumber.password]
        ) { (body) throws(WireError) in
            try body.sized(credential.blob)
            try body.sized(credential.secret)
        }
    }

    /// TPM2_Quote of the SHA-256 bank's PCRs 0 to 7 by `key` over `nonce`.
    public static func quote(key: UInt32, nonce: [UInt8]) throws(WireError) -> TPMCommand {
        try TPMCommand(
            "Quote", TPMNumber.quote, handles: [key], sessions: [TPMNumber.password]
        ) { (body) throws(WireError) in
            try body.sized(nonce)
            try body.writeUInt16(TPMNumber.null)
            try body.write(TPMQuote.selection)
        }
    }

    /// TPM2_PCR_Read of the SHA-256 bank's PCRs 0 to 7.
    public static func pcrRead() throws(WireError) -> TPMCommand {
        try TPMCommand("PCR_Read", TPMNumber.pcrRead) { (body) throws(WireError) in
            try body.write(TPMQuote.selection)
        }
    }

    /// TPM2_FlushContext: takes a key or session out of the TPM's memory.
    public static func flush(_ handle: UInt32) throws(WireError) -> TPMCommand {
        try TPMCommand("FlushContext", TPMNumber.flushContext, handles: [handle])
    }
}

/// A secret that only one TPM can open, and only while it holds one certain key: what TPM2_MakeCredential gives.
public struct ProtectedCredential: Sendable, Hashable {
    /// TPMS_ID_OBJECT: the HMAC and the encrypted secret.
    public var blob: [UInt8]
    /// TPMS_ECC_POINT: the ephemeral key that the seed was agreed with.
    public var secret: [UInt8]

    /// A credential.
    public init(blob: [UInt8], secret: [UInt8]) {
        self.blob = blob
        self.secret = secret
    }
}
