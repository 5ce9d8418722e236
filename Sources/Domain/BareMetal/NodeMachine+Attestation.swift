import AgentProtocol
import CatalogBareMetal
import Primitives

/// What a machine's TPM says, and what follows from it.
///
/// A TPM takes the place of an operator's look at a boot of a node that was let in before: the boot must be by the very
/// TPM that the node is known by, the site must vouch for it, and the PCRs that the site requires must be those of the
/// boot that was accepted last.
extension NodeWalk {
    /// The PCRs that the boot accepted last had otherwise; empty also when there is nothing to compare.
    func changedPCRs(_ registration: Registration) -> [Int] {
        guard let before = node.status.attestation, let now = registration.claim.attestation,
            before.endorsementKey == now.endorsementKey
        else { return [] }
        return now.changedPCRs(since: before)
    }

    /// The required ones among them: a boot that differs in one is not trusted, whoever ordered it.
    func changedRequiredPCRs(_ registration: Registration) -> [Int] {
        changedPCRs(registration).filter(registration.requiredPCRs.contains)
    }

    /// Whether the TPM makes this boot as good as one that an operator approved.
    func isAttestedReturn(_ registration: Registration) -> Bool {
        guard let before = node.status.attestation, let now = registration.claim.attestation else { return false }
        return now.isVouched && before.isVouched && before.endorsementKey == now.endorsementKey
            && changedRequiredPCRs(registration).isEmpty
    }

    /// Tells of a new boot's attestation.
    mutating func noteAttestation(_ registration: Registration) {
        if let problem = registration.attestationProblem {
            effects.append(.record(type: "AttestationFailed", message: problem))
        }
        guard let now = registration.claim.attestation else { return }
        if node.status.attestation?.endorsementKey != now.endorsementKey
            || node.status.attestation?.voucher != now.voucher
        {
            let key = "the TPM \(now.endorsementKey.hex.prefix(16))"
            effects.append(
                .record(
                    type: now.isVouched ? "Attested" : "NotAttested",
                    message: now.voucher.map { "\(key) is vouched for by \($0)" }
                        ?? "\(key) is not vouched for: \(now.doubt ?? "nobody does")"))
        }
        let changed = changedPCRs(registration)
        guard !changed.isEmpty else { return }
        let isHeldUp = !changedRequiredPCRs(registration).isEmpty
        effects.append(
            .record(
                type: "MeasurementsChanged",
                message: "\(Self.text(changed)) not as in the boot that was accepted last"
                    + (isHeldUp ? "; nothing is sent to this boot until an operator accepts it" : "")))
    }

    /// Has an operator wait for who has to accept other measurements; nil when there are none.
    func measurementWait(_ registration: Registration) -> Node.Wait? {
        let changed = changedRequiredPCRs(registration)
        guard !changed.isEmpty else { return nil }
        return operatorWait(
            Node.Block.measurements(changed).message,
            next: "find out why, then: muster node approve \(node.spec.name) --accept-difference")
    }

    static func text(_ pcrs: [Int]) -> String { pcrs.map(MeasuredPart.text).joined(separator: ", ") }
}

extension Node.Block {
    /// That these PCRs are not as they were.
    static func measurements(_ pcrs: [Int]) -> Node.Block {
        Node.Block(
            kind: .measurements,
            message: "the machine was measured to boot otherwise than before: \(NodeWalk.text(pcrs))")
    }
}

extension Node {
    /// What the node is known by, as a claim has to agree with it: a TPM binds once somebody has let the node in or the site
    /// vouches for the TPM, so that a stranger who comes first with an invented one keeps nobody out.
    var bindingIdentity: MachineIdentity {
        var identity = status.identity
        let isBinding = spec.approval != nil || status.attestation?.isVouched == true
        if !isBinding || identity.endorsementKey == spec.forgottenTPM { identity.endorsementKey = nil }
        return identity
    }
}
