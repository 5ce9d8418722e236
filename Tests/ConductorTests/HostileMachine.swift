import BlobStore
import TestSupport
import AgentProtocol
import CatalogBareMetal
import FoundationEssentials
import Primitives
import ResourceModel

/// A machine that tells the conductor code where it should tell facts.
enum HostileMachine {
    static let text =
        #"<script>window.owned=1</script><img src=x onerror="window.owned=1">'"--></textarea><svg/onload=owned=1>"#
    /// Ends attributes of either quote, and turns the direction of what follows.
    static let attribute = "\" autofocus onfocus=\"window.owned=1\" x='\u{202E}\u{0}"

    static let number: UInt8 = 0x66

    @discardableResult
    static func add(to fleet: FleetFixture) async throws -> NodeID {
        let disk = InventoryReport.Disk(
            name: text, path: text, serial: attribute, wwn: text, model: text, size: .gibibytes(1), bus: text,
            contents: .init(
                partitionTable: text,
                partitions: [
                    .init(
                        number: 1, name: attribute, uuid: text, start: .max, size: ByteCount(bytes: .max),
                        signature: .init(type: text, label: text)),
                    .init(number: -5, name: text, start: 0, size: ByteCount(bytes: 0)),
                ], signature: .init(type: attribute), isAmbiguous: true))
        let report = InventoryReport(
            agentVersion: text, collectedAt: fleet.clock.now, kernelVersion: text,
            system: .init(
                vendor: text, product: attribute, serial: text, uuid: text, boardSerial: text, biosVendor: text,
                biosVersion: text, firmwareMode: .bios),
            cpu: .init(model: text, architecture: attribute, sockets: 0, cores: -1, threads: .max),
            memory: .init(
                total: ByteCount(bytes: .max), modules: [.init(slot: text, size: .gibibytes(1), serial: text)]),
            disks: [disk],
            nics: [
                .init(
                    name: text, mac: MACAddress(bytes: [2, 0, 0, 0, 0, 1]), driver: attribute, speed: -1, hasLink: true,
                    mtu: -1, addresses: [text])
            ], pciDevices: [.init(address: text, classCode: .max, vendor: 1, device: 2, driver: text)],
            tpmVersion: text, virtualization: text, omissions: [text])
        let digest = try fleet.blobs.put(Array(try JSONEncoder().encode(report)))
        let id = try await fleet.addNode(text, number: number) { node in
            node.spec.approval = .init(by: text, at: fleet.clock.now, number: 1)
            node.spec.bmc = text
            node.spec.role = .network
            node.spec.image = text
            node.status.inventory = digest
            node.status.lastError = text
            node.status.state = .deploying(.writing)
            node.status.progress = .init(done: .max / 200, total: -3, bytes: .max)
            node.status.power = .unknown(since: fleet.clock.now, cause: attribute)
            node.status.identity.serial = text
            node.status.wait = .init(cause: text, owner: .operator, deadline: fleet.clock.now, next: "'muster \(text)'")
            node.status.summary = .init(
                model: attribute, processors: -1, memory: ByteCount(bytes: .max),
                disks: [.init(serial: attribute, size: .gibibytes(1))], firmware: text)
            node.status.agent = .init(
                version: text, bootID: text, isConnected: true, since: fleet.clock.now,
                conditions: [.init(type: text, isTrue: false, message: attribute, since: fleet.clock.now)])
        }
        try await fleet.put(
            NodeEvent(
                metadata: Metadata(name: "\(id).1", schemaVersion: 1, created: fleet.clock.now),
                spec: .init(node: id, time: fleet.clock.now, type: attribute, message: text)))
        return id
    }
}
