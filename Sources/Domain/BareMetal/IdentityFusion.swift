import AgentProtocol
import CatalogBareMetal
import Primitives

/// Decides which known machine a claim belongs to, from everything that identifies a machine.
///
/// Strong marks are the SMBIOS UUID, the system's serial number and a TPM's endorsement key that was proven; weak ones the board's serial number and the MAC
/// addresses, since boards and NICs are swapped. A claim joins a node when they share a mark and no strong mark
/// contradicts, or when a contradiction is outvoted by the other strong mark together with a weak one (a new board).
/// A node that is known by a TPM is never joined by a claim that does not prove that TPM.
/// Everything else that overlaps is a conflict for an operator.
public enum IdentityFusion {
    /// What a claim turned out to be.
    public enum Outcome: Sendable, Hashable {
        /// Nobody shares anything with it.
        case unknown
        /// It is this machine.
        case known(NodeID)
        /// It overlaps with nodes in a way that cannot be decided.
        case conflict([NodeID], reason: String)
    }

    /// What the marks of an identity are called in indexes: identities that share none have nothing in common.
    public static func marks(of identity: MachineIdentity) -> [String] {
        [
            identity.smbiosUUID.map { "uuid:\($0)" }, identity.serial.map { "serial:\($0)" },
            identity.boardSerial.map { "board:\($0)" }, identity.endorsementKey.map { "tpm:\($0)" },
        ].compactMap { $0 } + identity.macs.sorted().map(mark)
    }

    /// What a NIC's address is called in indexes.
    public static func mark(_ mac: MACAddress) -> String { "mac:\(mac)" }

    /// Judges `claim` against the nodes that share a mark with it, or against any others too.
    public static func judge(_ claim: MachineIdentity, among nodes: [(id: NodeID, identity: MachineIdentity)])
        -> Outcome
    {
        let overlapping = nodes.map { ($0.id, Comparison(claim, $0.identity)) }.filter { $0.1.isOverlap }
        guard let (id, comparison) = overlapping.first else { return .unknown }
        if overlapping.count == 1, comparison.isSame { return .known(id) }
        let reasons = overlapping.map { "\($0.0) \($0.1.explanation)" }
        return .conflict(overlapping.map(\.0).sorted(), reason: reasons.joined(separator: "; "))
    }

    /// `claim` joined with what was known: marks that are gone are kept out, except the BMC.
    public static func fuse(_ claim: MachineIdentity, into known: MachineIdentity) -> MachineIdentity {
        MachineIdentity(
            smbiosUUID: claim.smbiosUUID ?? known.smbiosUUID, serial: claim.serial ?? known.serial,
            boardSerial: claim.boardSerial ?? known.boardSerial, macs: claim.macs.isEmpty ? known.macs : claim.macs,
            bmc: claim.bmc ?? known.bmc, endorsementKey: claim.endorsementKey)
    }

    /// The marks that one inventory gives, without the placeholders that firmware vendors leave.
    public static func claim(of inventory: InventoryReport) -> MachineIdentity {
        MachineIdentity(
            smbiosUUID: mark(inventory.system.uuid)?.lowercased(), serial: mark(inventory.system.serial),
            boardSerial: mark(inventory.system.boardSerial),
            macs: Set(inventory.nics.compactMap(\.permanentMAC).filter { !$0.isGroup && $0.value != 0 }),
            endorsementKey: inventory.attestation?.endorsementKey)
    }

    /// `text` unless it is empty or one of the texts that firmware carries instead of an identity.
    static func mark(_ text: String?) -> String? {
        guard let text, !text.isEmpty else { return nil }
        let lower = text.lowercased()
        let placeholders: Set<String> = [
            "none", "not specified", "not applicable", "n/a", "unknown", "default string", "to be filled by o.e.m.",
            "to be filled by oem", "system serial number", "0123456789", "123456789", "0", "00000000", "empty",
            "03000200-0400-0500-0006-000700080009",
        ]
        guard !placeholders.contains(lower) else { return nil }
        let digits = lower.filter { $0 != "-" }
        guard Set(digits).count > 1 else { return nil }
        return text
    }

    /// Which marks two identities have in common.
    private struct Comparison {
        /// Nil: one of them has none.
        let uuid, serial, board, tpm, macs: Bool?

        init(_ claim: MachineIdentity, _ known: MachineIdentity) {
            uuid = Self.compare(claim.smbiosUUID, known.smbiosUUID)
            serial = Self.compare(claim.serial, known.serial)
            tpm = known.endorsementKey.map { claim.endorsementKey == $0 }
            board = Self.compare(claim.boardSerial, known.boardSerial)
            macs = claim.macs.isEmpty || known.macs.isEmpty ? nil : !claim.macs.isDisjoint(with: known.macs)
        }

        var isOverlap: Bool { [uuid, serial, board, tpm, macs].contains(true) }

        var isSame: Bool {
            guard tpm != false else { return false }
            let strong = [uuid, serial, tpm]
            guard strong.contains(false) else { return isOverlap }
            return strong.contains(true) && (board == true || macs == true)
        }

        /// For people.
        var explanation: String {
            let marks = [
                ("SMBIOS UUID", uuid), ("serial number", serial), ("board serial", board),
                ("the TPM's endorsement key", tpm), ("MAC addresses", macs),
            ]
            let agree = marks.filter { $0.1 == true }.map(\.0)
            let differ = marks.filter { $0.1 == false }.map(\.0)
            return "agrees in \(agree.joined(separator: ", "))"
                + (differ.isEmpty ? "" : " but differs in \(differ.joined(separator: ", "))")
        }

        private static func compare(_ left: String?, _ right: String?) -> Bool? {
            guard let left, let right else { return nil }
            return left == right
        }
    }
}
