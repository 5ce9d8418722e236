import AgentProtocol
import BareMetal
import CatalogBareMetal
import Primitives
import ResourceModel
import Synchronization
import Testing

/// Notes what it is told.
private final class NotingBMC: BMCDriver {
    let told = Mutex<[String]>([])

    func note(_ text: String) { told.withLock { $0.append(text) } }
    func identify() async throws(BMCError) -> BMCIdentification { BMCIdentification(system: "1") }
    func sensors() async throws(BMCError) -> [SensorReading] { [] }
    func powerState() async throws(BMCError) -> PowerState { .on }
    func setPower(_ action: PowerAction) async throws(BMCError) { note(action.rawValue) }
    func setBoot(_ target: BootTarget, once: Bool, firmware: MachineFirmware?) async throws(BMCError) {
        note("\(target.rawValue) \(once ? "once" : "always")")
    }
    func boot(medium url: String) async throws(BMCError) { note("medium \(url)") }
    func boot(http url: String) async throws(BMCError) { note("http \(url)") }
    func eject(medium url: String) async throws(BMCError) { note("eject \(url)") }
}

@Suite struct BootWayTests {
    private func told(_ way: BMC.BootWay?, firmware: String, _ order: BootOrder) async throws -> [String] {
        var spec = BMC.Spec(address: "http://10.0.0.1", system: nil, username: "a", passwordSecret: "bmc.b1", boot: way)
        spec.boot = way
        let bmc = BMC(
            metadata: Metadata(name: "b1", schemaVersion: 1, created: Timestamp(millisecondsSinceEpoch: 0)), spec: spec,
            status: BMC.Status())
        var node = Walk().node
        node.spec.bmc = "b1"
        node.status.summary = InventorySummary(
            model: "x", processors: 1, memory: .gibibytes(1), disks: [], firmware: firmware)
        let driver = NotingBMC()
        let access = BMCAccess(bmcs: { [bmc] }, driver: { _ in driver }, medium: { "http://m/\($0.metadata.name).iso" })
        try await access.boot(node, order)
        return driver.told.withLock { $0 }
    }

    @Test func `the site says how the ramdisk is booted, and the disk is booted for good`() async throws {
        #expect(try await told(nil, firmware: "bios", .ramdisk) == ["network once", "reset"])
        #expect(try await told(.network, firmware: "uefi", .ramdisk) == ["network once", "reset"])
        #expect(try await told(.media, firmware: "bios", .ramdisk) == ["medium http://m/b1.iso", "reset"])
        #expect(try await told(.http, firmware: "uefi", .ramdisk) == ["http http://m/b1.iso", "reset"])
        #expect(try await told(nil, firmware: "bios", .disk) == ["disk always", "reset"])
        #expect(try await told(.media, firmware: "bios", .disk) == ["eject http://m/b1.iso", "disk always", "reset"])
    }

    @Test func `a BIOS is not told to boot by HTTP`() async throws {
        let error = await #expect(throws: BMCError.self) { try await told(.http, firmware: "bios", .ramdisk) }
        #expect(error?.publicMessage.contains("boot: media") == true)
    }
}
