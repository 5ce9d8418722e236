import AgentProtocol
import BlobStore
import CatalogBareMetal
import ControlPlane
import Primitives
import ResourceModel
import StoreMemory
import TestSupport
import Testing

@testable import ConductorServer

/// What a control plane's steps know of nodes, conductors and blobs.
@Suite struct SiteControllersTests {
    private static func controllers(_ bed: PeerBed, _ number: Int = 0) -> SiteControllers {
        let member = bed.members[number]
        return SiteControllers(
            catalog: member.catalog, blobs: member.site, manifests: ManifestMemory(), answers: { _ in true })
    }

    /// Names `digests` in the catalog: as inventories of nodes.
    private static func name(_ digests: [Digest], in bed: PeerBed) async throws {
        for (index, digest) in digests.enumerated() {
            let id = try NodeID("00000000-0000-4000-8000-0000000001" + Hex.encode([UInt8(index)]))
            var node = Node(
                metadata: Metadata(name: id.raw, schemaVersion: Node.schemaVersion, created: bed.clock.now),
                spec: Node.Spec(name: "n\(index)"),
                status: Node.Status(state: .enroll, since: bed.clock.now, identity: MachineIdentity()))
            node.status.inventory = digest
            _ = try await bed.store.commit(Transaction(operations: [try Stored(new: node).put()]))
        }
    }

    private static func blob(_ number: Int) -> [UInt8] { Array("blob \(number)".utf8) }

    @Test("Blobs lie on two of the controllers that stay, or on the only one, before anybody leaves")
    func copies() async throws {
        try await PeerBed.with(4) { bed in
            var digests: [Digest] = []
            for number in 0..<30 {
                // On the two that leave, on one of them and one that stays, on both that stay.
                let holders = [[2, 3], [1, 2], [0, 1]][number % 3]
                for holder in holders {
                    let digest = try bed.members[holder].files.put(Self.blob(number))
                    if holder == holders[0] { digests.append(digest) }
                }
            }
            try await Self.name(digests, in: bed)
            let controllers = Self.controllers(bed)
            let staying = ["c0", "c1"]
            #expect(try await controllers.blobsShort(on: ["c0", "c1", "c2", "c3"]) == 0)
            #expect(try await controllers.blobsShort(on: staying) == 20)
            #expect(try await controllers.blobsShort(on: ["c1"]) == 10, "one is enough on the only one")
            while try await controllers.blobsShort(on: staying) > 0 { try await controllers.copyBlobs(to: staying) }
            for digest in digests {
                #expect(Set(bed.holders(of: digest)).isSuperset(of: staying), "\(bed.holders(of: digest))")
            }
        }
    }

    @Test("What nobody has is not waited for, but who may have it and does not answer is")
    func lost() async throws {
        try await PeerBed.with(3) { bed in
            let kept = try bed.members[0].files.put(Self.blob(1))
            _ = try bed.members[1].files.put(Self.blob(1))
            let lost = Digest(bytes: [UInt8](repeating: 9, count: 32))
            try await Self.name([kept, lost], in: bed)
            let controllers = Self.controllers(bed)
            #expect(try await controllers.blobsShort(on: ["c0", "c1"]) == 0)
            await bed.members[2].stop()
            await #expect(throws: BlobError.self) { try await controllers.blobsShort(on: ["c0", "c1"]) }
            bed.forget(2)
            bed.note(2, isNoted: true)
            await #expect(throws: SourceSilent(name: "c2", count: 1)) {
                try await controllers.blobsShort(on: ["c0", "c1"])
            }
            bed.note(2, isNoted: false)
            #expect(try await controllers.blobsShort(on: ["c0", "c1"]) == 0)
            await #expect(throws: BlobError.self, "one that is wanted has to tell") {
                try await controllers.blobsShort(on: ["c0", "c2"])
            }
        }
    }

    @Test(
        "A controller's address is lent by others where they serve DHCP, unless its network says that it is its own")
    func lent() async throws {
        try await PeerBed.with(1) { bed in
            let network = try IPv4Network("10.77.0.0/24")
            let address = IPv4Address(0x0A4D_0007)
            func put(_ resource: some Resource) async throws {
                var stored = try await bed.store.fetch(type(of: resource), resource.metadata.name)
                if stored == nil { stored = Stored(new: resource) } else { stored?.value = resource }
                if let stored { _ = try await bed.store.commit(Transaction(operations: [try stored.put()])) }
            }
            func metadata(_ name: String) -> Metadata {
                Metadata(name: name, schemaVersion: 1, created: bed.clock.now)
            }
            func isLentByOthers() async throws -> Bool? {
                try await Self.controllers(bed).controllers()["k1"]?.isLentByOthers
            }
            var segment = Segment(
                metadata: metadata("s"),
                spec: Segment.Spec(interface: nil, network: network, server: IPv4Address(0x0A4D_00FE), pools: []))
            let id = "00000000-0000-4000-8000-000000000001"
            var node = Node(
                metadata: metadata(id), spec: Node.Spec(name: "k1"),
                status: Node.Status(state: .active, since: bed.clock.now, identity: MachineIdentity()))
            node.metadata.schemaVersion = Node.schemaVersion
            node.spec.role = .controller
            node.status.agent = Node.Agent(
                version: "1", bootID: "b", isConnected: true, since: bed.clock.now, addresses: [address])
            try await put(segment)
            try await put(node)
            #expect(try await isLentByOthers() == false)
            segment.spec.mode = .proxy
            try await put(segment)
            #expect(try await isLentByOthers() == true)
            try await put(
                PlaneNetwork(
                    metadata: metadata("boot"),
                    spec: .init(plane: .provisioning, network: network, hosts: ["k1": address])))
            try await put(
                NodeNetwork(
                    metadata: metadata("own"),
                    spec: .init(
                        interfaces: [.init(name: "lan", match: .name("en*"))],
                        addresses: [.init(on: "lan", network: "boot", source: .pool)])))
            node.spec.network = "own"
            try await put(node)
            #expect(try await isLentByOthers() == true, "it has been given none yet")
            try await put(
                AddressAssignment(
                    metadata: metadata(AddressAssignment.name(network: "boot", address: address)),
                    spec: .init(network: "boot", address: address, node: try NodeID(id))))
            #expect(try await isLentByOthers() == false)
        }
    }

    @Test("A controller is ready when it is active, connected, has its keys and an address in a segment")
    func states() async throws {
        try await PeerBed.with(1) { bed in
            let segment = Segment(
                metadata: Metadata(name: "s", schemaVersion: Segment.schemaVersion, created: bed.clock.now),
                spec: Segment.Spec(
                    interface: nil, network: try IPv4Network("10.77.0.0/24"), server: IPv4Address(0x0A4D_00FE),
                    pools: []))
            _ = try await bed.store.commit(Transaction(operations: [try Stored(new: segment).put()]))
            let controllers = Self.controllers(bed)
            var node = Node(
                metadata: Metadata(
                    name: "00000000-0000-4000-8000-000000000001", schemaVersion: Node.schemaVersion,
                    created: bed.clock.now), spec: Node.Spec(name: "k1"),
                status: Node.Status(state: .active, since: bed.clock.now, identity: MachineIdentity()))
            func state(_ change: (inout Node) -> Void) async throws -> (isThere: Bool, isReady: Bool) {
                change(&node)
                var stored = try await bed.store.fetch(Node.self, node.metadata.name) ?? Stored(new: node)
                stored.value = node
                _ = try await bed.store.commit(Transaction(operations: [try stored.put()]))
                let found = try await controllers.controllers()["k1"]
                return (found != nil, found?.isReady == true)
            }
            #expect(try await state { $0.spec.role = .compute } == (false, false))
            #expect(try await state { $0.spec.role = .controller } == (true, false))
            #expect(
                try await state {
                    $0.status.agent = Node.Agent(
                        version: "1", bootID: "b", isConnected: true, since: bed.clock.now,
                        addresses: [IPv4Address(0x0A4D_0007)])
                } == (true, false))
            let condition = Condition(
                type: Condition.controllerSecretsReady, isTrue: true, message: "", since: bed.clock.now)
            #expect(try await state { $0.status.agent?.conditions = [condition] } == (true, true))
            #expect(try await controllers.controllers()["k1"]?.address == IPv4Address(0x0A4D_0007))
            #expect(try await state { $0.status.agent?.addresses = [IPv4Address(0x0A4E_0007)] } == (true, false))
            #expect(
                try await state {
                    $0.status.agent?.addresses = [IPv4Address(0x0A4D_0007)]
                    $0.status.agent?.isConnected = false
                } == (true, false))
        }
    }
}
