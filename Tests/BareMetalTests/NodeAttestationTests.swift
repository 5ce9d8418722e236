import AgentProtocol
@testable import BareMetal
import CatalogBareMetal
import Primitives
import Testing

/// What follows from what a TPM proves.
@Suite struct NodeAttestationTests {
    private static func attestation(_ key: UInt8 = 1, vouched: Bool = true, changed: [Int] = []) -> Attestation {
        Attestation(
            endorsementKey: Digest(bytes: [UInt8](repeating: key, count: 32)), voucher: vouched ? "CN=Maker" : nil,
            doubt: vouched ? nil : "nobody",
            pcrs: (0..<8).map { Digest(bytes: [UInt8](repeating: changed.contains($0) ? 0xFF : 0, count: 32)) })
    }

    private static func registration(_ boot: String, _ attestation: Attestation?) -> Registration {
        var registration = Walk.registration(boot)
        registration.claim.attestation = attestation
        registration.claim.identity.endorsementKey = attestation?.endorsementKey
        registration.requiredPCRs = TPMPolicy.requiredPCRsDefault
        return registration
    }

    /// A node without a role that was let in in its first boot, and is available.
    private func available(_ attestation: Attestation?) throws -> Walk {
        var walk = Walk()
        try walk.take(.registered(Self.registration("boot-first", attestation)))
        #expect(walk.node.trust == (attestation?.isVouched == true ? .attested : .quarantined))
        walk.approve()
        walk.node.spec.role = nil
        try walk.take(.specified)
        try walk.take(.bmcVerified(hasBMC: true))
        #expect(walk.node.status.state == .available)
        return walk
    }

    @Test func `an attested boot of a known node is trusted without another approval`() throws {
        var walk = try available(Self.attestation())
        try walk.take(.registered(Self.registration("boot-second", Self.attestation())))
        #expect(walk.node.status.session?.isTrusted == true)
        #expect(walk.node.trust == .attested)
    }

    @Test func `an attested boot of a node that nobody let in is not trusted yet`() throws {
        var walk = Walk()
        try walk.take(.registered(Self.registration("boot-first", Self.attestation())))
        try walk.take(.registered(Self.registration("boot-second", Self.attestation())))
        #expect(walk.node.status.session?.isTrusted == false)
        #expect(walk.node.status.state == .enroll)
    }

    @Test(arguments: [nil, attestation(vouched: false), attestation(2)])
    func `a boot that the TPM does not vouch for is looked at by an operator`(second: Attestation?) throws {
        var walk = try available(Self.attestation())
        try walk.take(.registered(Self.registration("boot-second", second)))
        #expect(walk.node.status.session?.isTrusted == false)
        #expect(walk.node.status.attestation == Self.attestation())
    }

    @Test func `a node that was only approved is not trusted by a TPM that nobody vouches for`() throws {
        var walk = try available(Self.attestation(vouched: false))
        #expect(walk.node.trust == .approved)
        try walk.take(.registered(Self.registration("boot-second", Self.attestation(vouched: false))))
        #expect(walk.node.status.session?.isTrusted == false)
    }

    @Test func `other measurements are an event that names them, and keep the boot out until they are accepted`() throws
    {
        var walk = try available(Self.attestation())
        let changed = Self.attestation(changed: [4, 5, 7])
        try walk.take(.registered(Self.registration("boot-second", changed)))
        #expect(walk.node.status.session?.isTrusted == false)
        let event = try #require(walk.recorded("MeasurementsChanged"))
        #expect(event.contains("PCR 4 (boot loader), PCR 5 (boot loader's settings and partition table), PCR 7"))
        #expect(event.contains("nothing is sent to this boot"))
        let wait = try #require(walk.node.status.wait)
        #expect(wait.owner == .operator)
        #expect(wait.cause.contains("PCR 4 (boot loader), PCR 7 (Secure Boot state)"))
        #expect(!wait.cause.contains("PCR 5"))
        #expect(wait.next.contains("--accept-difference"))
        #expect(walk.node.status.session?.claim?.blocks?.map(\.kind) == [.measurements])
        walk.approve()
        try walk.take(.specified)
        #expect(walk.node.status.session?.isTrusted == true)
        #expect(walk.node.status.attestation == changed)
        #expect(walk.node.status.blocks == nil)
        // From then on these are the ones to compare with.
        try walk.take(.registered(Self.registration("boot-third", changed)))
        #expect(walk.node.status.session?.isTrusted == true)
        #expect(walk.recorded("MeasurementsChanged") == nil)
    }

    @Test func `measurements that the site does not require are told and taken over`() throws {
        var walk = try available(Self.attestation())
        try walk.take(.registered(Self.registration("boot-second", Self.attestation(changed: [1]))))
        #expect(walk.node.status.session?.isTrusted == true)
        #expect(
            walk.recorded("MeasurementsChanged")
                == "PCR 1 (firmware settings and boot order) not as in the boot that was accepted last")
        try walk.take(.registered(Self.registration("boot-third", Self.attestation(changed: [1]))))
        #expect(walk.recorded("MeasurementsChanged") == nil)
    }

    @Test func `the BMC's order does not help a boot that was measured otherwise`() throws {
        var walk = try available(Self.attestation())
        walk.node.status.session = nil
        walk.node.spec.role = .network
        try walk.take(.specified)
        #expect(walk.node.status.state == .deploying(.bootingRamdisk))
        try walk.take(.bootOrdered(.ramdisk))
        try walk.take(.registered(Self.registration("boot-ordered", Self.attestation(changed: [0]))))
        #expect(walk.node.status.session?.isTrusted == false)
        #expect(DiscoveryOrders.wanted(of: walk.node) != .deploy)
        #expect(walk.node.status.wait?.owner == .operator)
    }

    @Test func `a machine that reboots while it is written goes on when its TPM proves that it is the one`() throws {
        var walk = try available(Self.attestation())
        walk.node.spec.role = .network
        try walk.take(.specified)
        #expect(walk.node.status.state == .deploying(.writing))
        for boot in 1...3 {
            try walk.take(.registered(Self.registration("boot-again-\(boot)", Self.attestation())))
            #expect(walk.node.status.state == .deploying(.writing))
            #expect(walk.node.status.session?.isTrusted == true)
        }
        // Not for ever.
        try walk.take(.registered(Self.registration("boot-again-4", Self.attestation())))
        #expect(walk.node.status.state == .deployFailed)
    }

    @Test func `a TPM that proves nothing is an event`() throws {
        var walk = Walk()
        var registration = Self.registration("boot-first", nil)
        registration.attestationProblem = "The quote is not right: it is not over the challenge's nonce."
        try walk.take(.registered(registration))
        #expect(walk.recorded("AttestationFailed")?.contains("nonce") == true)
    }

    @Test func `a TPM binds its node once somebody has let it in or the site vouches, until it is forgotten`() throws {
        var walk = Walk()
        try walk.take(.registered(Self.registration("boot-first", Self.attestation(vouched: false))))
        #expect(walk.node.bindingIdentity.endorsementKey == nil)
        walk.approve()
        #expect(walk.node.bindingIdentity.endorsementKey == Self.attestation().endorsementKey)
        walk.node.spec.forgottenTPM = Self.attestation().endorsementKey
        #expect(walk.node.bindingIdentity.endorsementKey == nil)
    }

    @Test func `what copies MAC, UUID and serial number without the TPM is a conflict`() throws {
        let id = try NodeID("node-a")
        let macs: Set<MACAddress> = [MACAddress(bytes: [2, 0, 0, 0, 0, 1])]
        let key = Self.attestation().endorsementKey
        let known = MachineIdentity(smbiosUUID: "u1", serial: "s1", macs: macs, endorsementKey: key)
        var copy = known
        #expect(IdentityFusion.judge(known, among: [(id, known)]) == .known(id))
        for other in [nil, Self.attestation(2).endorsementKey] {
            copy.endorsementKey = other
            guard case .conflict(let nodes, let reason) = IdentityFusion.judge(copy, among: [(id, known)]) else {
                Issue.record("a copy without the TPM was taken for the node")
                continue
            }
            #expect(nodes == [id])
            #expect(reason.contains("but differs in the TPM's endorsement key"))
        }
        // The TPM alone is enough to be known again: new board data, new cards.
        let moved = MachineIdentity(serial: "s1", macs: [MACAddress(bytes: [2, 0, 0, 0, 0, 9])], endorsementKey: key)
        #expect(IdentityFusion.judge(moved, among: [(id, known)]) == .known(id))
        #expect(IdentityFusion.fuse(moved, into: known).endorsementKey == key)
    }
}

extension Walk {
    /// The message of the event of this type that the last step recorded; nil: there is none.
    fileprivate func recorded(_ type: String) -> String? {
        effects.lazy.compactMap { effect in
            guard case .record(let found, let message) = effect, found == type else { return nil as String? }
            return message
        }.first
    }
}
