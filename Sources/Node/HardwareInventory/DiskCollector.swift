import AgentProtocol
import LinuxSystem
import Primitives

/// Finds the disks by udev and looks what is on them.
struct DiskCollector {
    private static let ignored = ["loop", "ram", "sr", "fd", "zram", "nbd", "dm-", "md"]

    let udev: Udev

    func collect() -> [InventoryReport.Disk] {
        udev.devices(subsystem: "block", limit: 4096)
            .filter { isDisk($0) }
            .compactMap { disk($0) }
            .sorted { $0.name < $1.name }
    }

    private func isDisk(_ device: UdevDevice) -> Bool {
        device.property("DEVTYPE") == "disk" && !Self.ignored.contains { device.name.hasPrefix($0) }
    }

    private func disk(_ device: UdevDevice) -> InventoryReport.Disk? {
        guard let path = device.node, let sectors = device.attribute("size").flatMap({ UInt64($0) }) else { return nil }
        // A drive without a medium, or a multipath leg that is away, has no size and nothing to probe.
        let contents = sectors > 0 ? try? BlockProbe.contents(path) : nil
        return InventoryReport.Disk(
            name: device.name, path: path, serial: DiskIdentity.serial(device.property, device.attribute),
            wwn: DiskIdentity.wwn(device.property, device.attribute),
            model: device.property("ID_MODEL") ?? device.attribute("device/model"),
            size: ByteCount(bytes: sectors * 512), isRotational: device.attribute("queue/rotational").map { $0 == "1" },
            bus: DiskIdentity.bus(device.name, device.property), idPath: device.property("ID_PATH"),
            logicalBlockSize: device.attribute("queue/logical_block_size").flatMap { Int($0) } ?? 512,
            physicalBlockSize: device.attribute("queue/physical_block_size").flatMap { Int($0) } ?? 512,
            isReadOnly: device.attribute("ro") == "1", isRemovable: device.attribute("removable") == "1",
            contents: contents ?? InventoryReport.DiskContents())
    }
}

/// Which of udev's many names of a disk are the true ones.
enum DiskIdentity {
    typealias Lookup = (String) -> String?

    /// The unit's serial number. For SCSI, ID_SERIAL_SHORT is the WWN and ID_SCSI_SERIAL the serial number; without
    /// udev's database, the kernel's own attributes are asked.
    static func serial(_ property: Lookup, _ attribute: Lookup) -> String? {
        property("ID_SCSI_SERIAL") ?? property("ID_SERIAL_SHORT") ?? property("ID_SERIAL") ?? attribute("serial")
            ?? attribute("device/serial")
    }

    /// The World Wide Name; virtio disks have none.
    static func wwn(_ property: Lookup, _ attribute: Lookup) -> String? {
        property("ID_WWN_WITH_EXTENSION") ?? property("ID_WWN") ?? attribute("wwid") ?? attribute("device/wwid")
    }

    /// How it is attached; udev names no bus for virtio and NVMe, whose device names say it.
    static func bus(_ name: String, _ property: Lookup) -> String? {
        if name.hasPrefix("vd") { return "virtio" }
        if name.hasPrefix("nvme") { return "nvme" }
        if name.hasPrefix("mmcblk") { return "mmc" }
        return property("ID_BUS")
    }
}
