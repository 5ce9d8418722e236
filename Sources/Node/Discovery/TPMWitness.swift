import AgentProtocol
import FoundationEssentials
import HardwareInventory
import Primitives
import TPM

/// Has the machine's TPM speak for it; blocks while the TPM works.
struct TPMWitness: Sendable {
    /// Opens the TPM; nil: the machine has none.
    let open: @Sendable () throws -> (any TPMTransport)?

    /// The machine's own TPM.
    static let own = TPMWitness { try TPMDevice.open() }

    /// A machine without one.
    static let none = TPMWitness { nil }

    /// The TPM's keys for the boot `bootID`; nil: there is no TPM. Throws what the TPM does.
    func offer(bootID: String) throws -> AttestationOffer? {
        guard let transport = try open() else { return nil }
        let introduction = try TPMConversation(transport).introduce()
        return AttestationOffer(
            bootID: bootID, certificate: introduction.certificate.map { Data($0) },
            endorsementKey: Data(introduction.endorsementKey), attestationKey: Data(introduction.attestationKey))
    }

    /// The answer to what the conductor asked about `offer`; nil: there is no TPM any more. Throws what the TPM does.
    func answer(_ challenge: AttestationChallenge, to offer: AttestationOffer) throws -> AttestationEvidence? {
        guard let transport = try open() else { return nil }
        let credential = ProtectedCredential(blob: Array(challenge.credential), secret: Array(challenge.secret))
        let proof = try TPMConversation(transport).prove(
            endorsementKey: Array(offer.endorsementKey), credential, nonce: Array(challenge.nonce))
        return AttestationEvidence(
            offer: offer, ticket: challenge.ticket, secret: Data(proof.secret), quote: Data(proof.quote),
            signature: Data(proof.signature), pcrs: proof.pcrs.map { Data($0) })
    }
}
