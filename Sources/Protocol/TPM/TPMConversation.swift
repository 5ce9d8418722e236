import Primitives
import WireCoding

/// How bytes get to a TPM and back.
public protocol TPMTransport {
    /// Sends a whole command and gives the whole answer.
    func exchange(_ command: [UInt8]) throws -> [UInt8]
}

/// The machine's side of an attestation, over any transport.
public struct TPMConversation {
    private let transport: any TPMTransport

    /// The most bytes of a certificate that are read.
    public static let certificateSizeMax = 4096
    /// How much of an NV index is asked for at once; every TPM takes 512 bytes.
    private static let nvPieceSize: UInt16 = 512
    /// How often a command is sent again.
    private static let retryCountMax = 5

    /// A conversation over `transport`.
    public init(_ transport: any TPMTransport) { self.transport = transport }

    /// What the machine says first: its endorsement key with the maker's certificate, and a key that signs quotes.
    public struct Introduction: Sendable, Hashable {
        /// The certificate in DER; nil: the TPM holds none for an elliptic-curve key.
        public var certificate: [UInt8]?
        /// The endorsement key's TPMT_PUBLIC.
        public var endorsementKey: [UInt8]
        /// The attestation key's TPMT_PUBLIC.
        public var attestationKey: [UInt8]
    }

    /// What the machine proves then.
    public struct Proof: Sendable, Hashable {
        /// The secret of the credential.
        public var secret: [UInt8]
        /// TPMS_ATTEST.
        public var quote: [UInt8]
        /// TPMT_SIGNATURE.
        public var signature: [UInt8]
        /// The PCRs 0 to 7.
        public var pcrs: [[UInt8]]
    }

    /// The introduction. Throws `TPMError`, `WireError`, and what the transport does.
    public func introduce() throws -> Introduction {
        var certificate: [UInt8]?
        var template = EndorsementTemplate.p256
        for candidate in EndorsementTemplate.allCases where certificate == nil {
            certificate = try nvContent(candidate.certificateIndex)
            if certificate != nil { template = candidate }
        }
        let endorsement = try created(template.key)
        try flush(endorsement.handle)
        let attestation = try created(.attestationTemplate)
        try flush(attestation.handle)
        return Introduction(
            certificate: certificate, endorsementKey: endorsement.key, attestationKey: attestation.key)
    }

    /// Opens `credential` by the keys that were introduced, `endorsementKey` (TPMT_PUBLIC) among them, and quotes over
    /// `nonce`, at least 16 bytes. Throws as `introduce` does.
    public func prove(
        endorsementKey: [UInt8], _ credential: ProtectedCredential, nonce: [UInt8]
    ) throws -> Proof {
        let known = try TPMPublic(decoding: endorsementKey)
        guard let template = EndorsementTemplate.allCases.first(where: { $0.key.isSameKind(as: known) }) else {
            throw WireError(offset: 0, .invalid("the endorsement key is by no template"))
        }
        let endorsement = try created(template.key)
        defer { try? flush(endorsement.handle) }
        let attestation = try created(.attestationTemplate)
        defer { try? flush(attestation.handle) }
        let secret = try activate(attestation.handle, endorsement.handle, template, credential, nonce: nonce)
        let quote = try ask(.quote(key: attestation.handle, nonce: nonce)).quote()
        let pcrs = try ask(.pcrRead()).pcrValues()
        return Proof(secret: secret, quote: quote.attested, signature: quote.signature, pcrs: pcrs)
    }

    private func activate(
        _ attestation: UInt32, _ endorsement: UInt32, _ template: EndorsementTemplate,
        _ credential: ProtectedCredential, nonce: [UInt8]
    ) throws -> [UInt8] {
        // A session's nonce only has to be new to the TPM's own one, which it is.
        let session =
            try template.key.attributes.contains(.userWithAuth)
            ? nil : ask(.startPolicySession(nonce: Array(nonce.prefix(32)))).session()
        defer { if let session { try? flush(session) } }
        if let session { _ = try ask(.policySecret(session: session)) }
        return try ask(
            .activateCredential(
                attestationKey: attestation, endorsementKey: endorsement, policy: session, credential)
        ).bytes()
    }

    /// The content of an NV index; nil when there is none.
    private func nvContent(_ index: UInt32) throws -> [UInt8]? {
        let size: UInt16
        do { size = try ask(.nvReadPublic(index)).nvSize() } catch let error as TPMError {
            guard case .refused = error else { throw error }
            return nil
        }
        guard size > 0, Int(size) <= Self.certificateSizeMax else { return nil }
        var content: [UInt8] = []
        while content.count < Int(size) {
            let offset = UInt16(content.count)
            let piece = try ask(.nvRead(index, offset: offset, count: min(Self.nvPieceSize, size - offset))).bytes()
            guard !piece.isEmpty, piece.count <= Int(size) - content.count else {
                throw WireError(offset: content.count, .invalid("the NV index ends too early"))
            }
            content += piece
        }
        return content
    }

    private func created(_ template: TPMPublic) throws -> (handle: UInt32, key: [UInt8]) {
        try ask(.createPrimary(template)).createdKey()
    }

    private func flush(_ handle: UInt32) throws { _ = try ask(.flush(handle)) }

    /// Sends a command, again when the TPM says that it has to be sent again (TPM_RC_RETRY), which it does at the first use of
    /// a key after its start.
    private func ask(_ command: TPMCommand) throws -> TPMAnswer {
        for _ in 0..<Self.retryCountMax {
            do { return try TPMAnswer(try transport.exchange(command.bytes), to: command) } catch let error as TPMError
            {
                guard case .refused(_, TPMNumber.retry) = error else { throw error }
            }
        }
        return try TPMAnswer(try transport.exchange(command.bytes), to: command)
    }
}
