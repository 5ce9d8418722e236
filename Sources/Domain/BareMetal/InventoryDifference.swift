import AgentProtocol
import Primitives

/// Tells in what a machine's hardware differs from what it was; pure.
///
/// What comes and goes by itself is left out: links, speeds, addresses, what is on disks, names that the kernel gives,
/// the order of anything, and less than a sixty-fourth of the memory where it is not told by modules.
public enum InventoryDifference {
    /// The most differences that one text holds.
    public static let countMax = 10
    private static let lengthMax = 560

    /// The differences, for example `disk D-1 (100 GiB) is gone`; empty when it is the same hardware.
    public static func between(_ old: InventoryReport, _ new: InventoryReport) -> [String] {
        var differences: [String] = []
        func text(_ what: String, _ before: String?, _ after: String?) {
            guard before != after else { return }
            differences.append("\(what) \(before ?? "none") → \(after ?? "none")")
        }
        let (was, now) = (old.system, new.system)
        text("system vendor", was.vendor, now.vendor)
        text("system product", was.product, now.product)
        text("system serial", was.serial, now.serial)
        text("system UUID", was.uuid?.lowercased(), now.uuid?.lowercased())
        text("board serial", was.boardSerial, now.boardSerial)
        text("chassis serial", was.chassisSerial, now.chassisSerial)
        text("firmware mode", was.firmwareMode.rawValue, now.firmwareMode.rawValue)
        text("firmware vendor", was.biosVendor, now.biosVendor)
        text("firmware version", was.biosVersion, now.biosVersion)
        text("Secure Boot", was.secureBoot.map { $0 ? "on" : "off" }, now.secureBoot.map { $0 ? "on" : "off" })
        text("TPM", old.tpmVersion, new.tpmVersion)
        text("processor", old.cpu.model, new.cpu.model)
        text("sockets", "\(old.cpu.sockets)", "\(new.cpu.sockets)")
        text("cores", "\(old.cpu.cores)", "\(new.cpu.cores)")
        text("threads", "\(old.cpu.threads)", "\(new.cpu.threads)")
        differences += memory(old.memory, new.memory)
        differences += parts(
            "disk", old.disks.filter { !$0.isRemovable }.map(part), new.disks.filter { !$0.isRemovable }.map(part))
        differences += parts("network interface", old.nics.map(part), new.nics.map(part))
        differences += devices(old.pciDevices, new.pciDevices)
        return differences
    }

    /// One text of `differences` that fits into an event.
    public static func text(_ differences: [String]) -> String {
        var text = ""
        for (index, difference) in differences.enumerated() {
            let next = (index == 0 ? "" : "; ") + difference.printable(limit: 200)
            guard index < countMax, text.count + next.count <= lengthMax else {
                return text + "; and \(differences.count - index) more"
            }
            text += next
        }
        return text
    }

    private static func memory(_ old: InventoryReport.Memory, _ new: InventoryReport.Memory) -> [String] {
        guard !old.modules.isEmpty, !new.modules.isEmpty else {
            let (before, after) = (old.total.bytes, new.total.bytes)
            let change = before > after ? before - after : after - before
            return change > before / 64 ? ["memory \(old.total) → \(new.total)"] : []
        }
        func part(_ module: InventoryReport.Memory.Module) -> Part {
            Part(
                key: module.serial.map { "\(module.slot) \($0)" } ?? module.slot, place: module.slot,
                text: "\(module.slot) (\(module.size)\(module.serial.map { ", serial \($0)" } ?? ""))",
                traits: "\(module.size)")
        }
        return parts("memory module", old.modules.map(part), new.modules.map(part))
    }

    // MARK: Parts

    /// Something that is known again by its key, and that may be replaced in its place.
    private struct Part {
        var key: String
        var place: String?
        var text: String
        /// What must not change in the same part.
        var traits: String
    }

    private static func part(_ disk: InventoryReport.Disk) -> Part {
        let key = disk.serial ?? disk.wwn ?? disk.idPath ?? disk.name
        return Part(
            key: key, place: disk.idPath, text: "\(key) (\(disk.size))",
            traits: [disk.model, "\(disk.size)"].compactMap(\.self).joined(separator: " "))
    }

    private static func part(_ nic: InventoryReport.NIC) -> Part {
        let mac = "\(nic.permanentMAC ?? nic.mac)"
        return Part(key: mac, place: nic.pciAddress, text: mac, traits: "")
    }

    private static func parts(_ what: String, _ old: [Part], _ new: [Part]) -> [String] {
        var differences: [String] = []
        var gone = unmatched(old, in: new)
        for part in unmatched(new, in: old) {
            // Ports of one card share a place: the first that is gone is taken for the one replaced.
            if let place = part.place, let index = gone.firstIndex(where: { $0.place == place }) {
                differences.append("\(what) \(gone[index].text) was replaced by \(part.text)")
                gone.remove(at: index)
            } else {
                differences.append("\(what) \(part.text) is new")
            }
        }
        differences = gone.map { "\(what) \($0.text) is gone" } + differences
        let before = Dictionary(old.map { ($0.key, $0.traits) }, uniquingKeysWith: { first, _ in first })
        for part in new {
            guard let traits = before[part.key], traits != part.traits else { continue }
            differences.append("\(what) \(part.key): \(traits) → \(part.traits)")
        }
        return differences
    }

    /// The parts of `list` that `other` has not, or has fewer of.
    private static func unmatched(_ list: [Part], in other: [Part]) -> [Part] {
        var left = Dictionary(other.map { ($0.key, 1) }, uniquingKeysWith: +)
        return list.filter { part in
            guard let count = left[part.key], count > 0 else { return true }
            left[part.key] = count - 1
            return false
        }
    }

    /// PCI devices by kind; network interfaces and disks are told by themselves.
    private static func devices(_ old: [InventoryReport.PCIDevice], _ new: [InventoryReport.PCIDevice]) -> [String] {
        func counts(_ devices: [InventoryReport.PCIDevice]) -> [String: Int] {
            let others = devices.filter { $0.classCode >> 16 != 0x02 && $0.classCode >> 8 != 0x0108 }
            return Dictionary(others.map { (name($0), 1) }, uniquingKeysWith: +)
        }
        // A report without any comes from an agent that does not tell.
        guard !old.isEmpty, !new.isEmpty else { return [] }
        let (before, after) = (counts(old), counts(new))
        return Set(before.keys).union(after.keys).sorted().compactMap { name in
            let (was, now) = (before[name] ?? 0, after[name] ?? 0)
            return was == now ? nil : "PCI device \(name): \(was) → \(now)"
        }
    }

    private static func name(_ device: InventoryReport.PCIDevice) -> String {
        func hex(_ number: UInt16) -> String { Hex.encode([UInt8(number >> 8), UInt8(number & 0xFF)]) }
        return "\(hex(device.vendor)):\(hex(device.device))"
    }
}
