import AgentProtocol
import BootServer
import CatalogBareMetal
import CatalogIdentity
import Identity
import Primitives
import ResourceModel
import TestSupport

@testable import ConductorServer
@testable import NodeAgent

/// What the site file of a simulation says, and the secrets of it.
struct SiteFixture: Sendable {
    let segment: Segment
    private let machines: [Shape.Machine]
    private let isApprovedByRule: Bool

    /// One authority for all simulations of a process: making keys takes longer than the rest.
    static let authorities: SiteAuthorities = {
        do {
            let root = try CertificateAuthority.makeRoot(name: "simulated", clock: ManualWallClock())
            let state = SiteAuthority.State.steady(SiteAuthority.Authority(root, number: 1))
            return SiteAuthorities(AuthoritySet(state: state, newest: root, older: nil))
        } catch { preconditionFailure("\(error)") }
    }()
    static let manifest = Digest(bytes: [UInt8](repeating: 7, count: 32))
    static let network: [UInt8] = [10, 0, 0]

    private static let requests: [String] = (0..<4).map { _ in
        var random = RandomSource.system
        return (try? NodeKey().signingRequest(for: NodeID.random(using: &random))) ?? ""
    }

    init(_ shape: Shape) {
        machines = shape.machines
        isApprovedByRule = shape.isApprovedByRule
        let network = try? IPv4Network("10.0.0.0/24")
        let last = UInt8(10 + shape.machines.count + shape.spareAddresses)
        segment = Segment(
            metadata: Metadata(name: "s1", schemaVersion: Segment.schemaVersion, created: World.epoch),
            spec: Segment.Spec(
                interface: "eth0", network: network ?? Self.anywhere, server: IPv4Address(bytes: [10, 0, 0, 1]),
                pools: [.init(start: Self.address(10), end: Self.address(last))], leaseTimeSeconds: shape.leaseSeconds))
    }

    private static var anywhere: IPv4Network {
        guard let network = try? IPv4Network(containing: .any, prefixLength: 8) else { preconditionFailure("0/8") }
        return network
    }

    static func address(_ last: UInt8) -> IPv4Address { IPv4Address(bytes: network + [last]) }

    /// One of the signing requests that agents have.
    func request(_ number: Int) -> String { Self.requests[number] }

    /// What the vault has for the BMC of a machine.
    func password(of machine: Int) -> String { "hunter-\(machine)-of-the-vault" }

    // MARK: Documents

    func write(to world: World) async {
        do {
            _ = try await world.disk.commit(Transaction(operations: try operations()), in: world)
        } catch {
            world.violate(.acknowledged, "the site is not written: \(error)")
        }
    }

    private func operations() throws(StoreError) -> [Transaction.Operation] {
        var operations = [try put(segment), try put(site), try put(image), try put(ramdisk)]
        if isApprovedByRule { operations.append(try put(rule)) }
        for (index, machine) in machines.enumerated() where machine.hasBMC {
            operations.append(try put(bmc(index)))
        }
        return operations
    }

    private func put(_ resource: some Resource) throws(StoreError) -> Transaction.Operation {
        try Stored(new: resource).put()
    }

    private func metadata<R: Resource>(_ type: R.Type, _ name: String) -> Metadata {
        Metadata(name: name, schemaVersion: R.schemaVersion, created: World.epoch)
    }

    private var site: Site {
        Site(metadata: metadata(Site.self, Site.name), spec: .init(name: "simulated", sshKeys: []))
    }

    private var image: NodeImage {
        NodeImage(
            metadata: metadata(NodeImage.self, "network"),
            spec: .init(
                role: .network, manifest: Self.manifest, size: .gibibytes(1), storedSize: .mebibytes(200),
                chunkCount: RamdiskHost.chunkCount))
    }

    private var ramdisk: Ramdisk {
        Ramdisk(
            metadata: metadata(Ramdisk.self, Ramdisk.discovery),
            spec: .init(kernel: Self.manifest, initrd: Self.manifest))
    }

    private var rule: Rule {
        let serials = machines.indices.filter { !machines[$0].isStranger }.map { "SN-\($0)" }
        let fact = Rule.Fact(
            path: "system.serial", comparison: .oneOf, value: serials[0], others: Array(serials.dropFirst()))
        return Rule(
            metadata: metadata(Rule.self, "all"),
            spec: .init(
                order: 1, match: [fact], role: .network, approves: true))
    }

    private func bmc(_ index: Int) -> BMC {
        BMC(
            metadata: metadata(BMC.self, "bmc-\(index)"),
            spec: .init(
                address: "http://10.0.1.\(index)", system: nil, username: "admin", passwordSecret: "bmc.\(index)",
                powersOnForDiscovery: true), status: .init())
    }
}
