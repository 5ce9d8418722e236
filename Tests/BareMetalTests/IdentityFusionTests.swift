import AgentProtocol
@testable import BareMetal
import CatalogBareMetal
import Primitives
import Testing

@Suite struct IdentityFusionTests {
    private let first = try! NodeID("node-a")
    private let second = try! NodeID("node-b")

    private func identity(_ uuid: String?, _ serial: String?, _ macs: [UInt64] = [], board: String? = nil)
        -> MachineIdentity
    {
        MachineIdentity(
            smbiosUUID: uuid, serial: serial, boardSerial: board,
            macs: Set(
                macs.map { number in
                    MACAddress(bytes: (0..<6).map { UInt8(truncatingIfNeeded: number >> (40 - 8 * $0)) })
                }))
    }

    @Test func `nobody shares anything with a new machine`() {
        let known = [(id: first, identity: identity("u1", "s1", [1]))]
        #expect(IdentityFusion.judge(identity("u2", "s2", [2]), among: known) == .unknown)
    }

    @Test func `a swapped NIC keeps the history`() {
        let known = [(id: first, identity: identity("u1", "s1", [1, 2]))]
        #expect(IdentityFusion.judge(identity("u1", "s1", [3, 4]), among: known) == .known(first))
    }

    @Test func `a swapped board keeps the history by serial number and MAC address`() {
        let known = [(id: first, identity: identity("u1", "s1", [1, 2], board: "b1"))]
        #expect(IdentityFusion.judge(identity("u9", "s1", [1, 2], board: "b9"), among: known) == .known(first))
    }

    @Test func `the same UUID on two chassis is a conflict`() {
        let known = [(id: first, identity: identity("u1", "s1", [1]))]
        guard case .conflict(let nodes, let reason) = IdentityFusion.judge(identity("u1", "s2", [2]), among: known)
        else {
            Issue.record("two machines with one UUID were merged")
            return
        }
        #expect(nodes == [first])
        #expect(reason.contains("agrees in SMBIOS UUID but differs in serial number"))
    }

    @Test func `a claim that touches two nodes is a conflict`() {
        let known = [
            (id: first, identity: identity("u1", "s1", [1])), (id: second, identity: identity("u2", "s2", [2])),
        ]
        guard case .conflict(let nodes, _) = IdentityFusion.judge(identity("u1", "s1", [2]), among: known) else {
            Issue.record("a NIC moved between two machines went unnoticed")
            return
        }
        #expect(nodes == [first, second])
    }

    @Test(arguments: [
        "", "None", "To Be Filled By O.E.M.", "Default string", "00000000-0000-0000-0000-000000000000",
        "ffffffff-ffff-ffff-ffff-ffffffffffff", "03000200-0400-0500-0006-000700080009",
    ])
    func `placeholders are no identity`(text: String) {
        #expect(IdentityFusion.mark(text) == nil)
    }

    @Test func `real marks are kept`() {
        #expect(IdentityFusion.mark("SN0001") == "SN0001")
    }
}
