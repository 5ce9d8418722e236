import AgentProtocol
import CatalogBareMetal
import Primitives
import ResourceModel

/// Holds a machine against its bill of materials; pure.
public enum BillOfMaterials {
    /// One thing in which a machine is not what its bill says.
    public struct Difference: Hashable, Sendable, CustomStringConvertible {
        /// What it is about, for example `memory`.
        public var field: String
        /// What the bill says.
        public var wanted: String
        /// What the machine has.
        public var found: String

        /// For example `memory: at least 256 GiB wanted, 128 GiB found`.
        public var description: String { "\(field): \(wanted) wanted, \(found) found" }
    }

    /// All in which the machine with `inventory` is not what `sku` says, in the order of the bill.
    public static func differences(_ sku: SKU.Spec, _ inventory: InventoryReport) -> [Difference] {
        var check = BillCheck()
        check.text("vendor", sku.vendor, inventory.system.vendor)
        check.text("product", sku.product, inventory.system.product)
        if let cpu = sku.cpu { check.cpu(cpu, inventory.cpu) }
        if let memory = sku.memory { check.memory(memory, inventory.memory) }
        if let disks = sku.disks {
            let fixed = inventory.disks.filter { !$0.isRemovable && $0.size.bytes > 0 }
            check.groups(
                "disks", disks.map { ($0.count, text($0)) }, fixed.map(text), allowsMore: sku.allowsMore
            ) { fits(fixed[$1], disks[$0]) }
        }
        if let nics = sku.nics {
            check.groups(
                "network interfaces", nics.map { ($0.count, text($0)) }, inventory.nics.map(text),
                allowsMore: sku.allowsMore
            ) { fits(inventory.nics[$1], nics[$0]) }
        }
        let devices = RuleFacts.values(of: .pciDevice, in: inventory)
        for group in sku.pciDevices ?? [] {
            let count = devices.count { matches(group.device.lowercased(), $0) }
            check.note("PCI device \(group.device)", "\(group.count)", "\(count)", count == group.count)
        }
        if let firmware = sku.firmware { check.firmware(firmware, inventory.system) }
        if let tpm = sku.tpm {
            check.note("TPM", tpm, inventory.tpmVersion ?? "none", matches(tpm, inventory.tpmVersion ?? "none"))
        }
        return check.differences
    }

    /// What keeps a machine out that the SKU `name` is named for; empty without a name.
    public static func blocks(sku name: String?, among skus: [SKU], _ inventory: InventoryReport) -> [Node.Block] {
        guard let name else { return [] }
        guard let sku = skus.first(where: { $0.metadata.name == name }) else {
            return [Node.Block(kind: .sku, message: "there is no SKU '\(name)'; add it to the site file")]
        }
        let all = differences(sku.spec, inventory)
        var blocks = all.prefix(Node.Block.countMax).map { Node.Block(kind: .sku, message: "\(name): \($0)") }
        if all.count > blocks.count, let last = blocks.indices.last {
            blocks[last] = Node.Block(
                kind: .sku, message: "\(name): \(all.count - last) more differences; 'muster site explain' is the way")
        }
        return blocks
    }

    static func matches(_ pattern: String, _ text: String) -> Bool {
        (try? GlobPattern(pattern))?.matches(text) ?? (pattern == text)
    }

    // MARK: Groups

    private static func fits(_ disk: InventoryReport.Disk, _ group: SKU.DiskGroup) -> Bool {
        (group.sizeMin.map { disk.size >= $0 } ?? true) && (group.sizeMax.map { disk.size <= $0 } ?? true)
            && (group.bus.map { matches($0, disk.bus ?? "") } ?? true)
            && (group.model.map { matches($0, disk.model ?? "") } ?? true)
            && (group.isRotational.map { disk.isRotational == $0 } ?? true)
    }

    private static func fits(_ nic: InventoryReport.NIC, _ group: SKU.NICGroup) -> Bool {
        (group.driver.map { matches($0, nic.driver ?? "") } ?? true)
            && (group.speedMin.map { nic.speed ?? 0 >= $0 } ?? true)
    }

    private static func text(_ group: SKU.DiskGroup) -> String {
        let kind = group.isRotational.map { $0 ? "turning" : "solid" }
        let facts = [
            group.bus, kind, group.model.map { "model \($0)" }, group.sizeMin.map { "at least \($0)" },
            group.sizeMax.map { "at most \($0)" },
        ].compactMap(\.self)
        return facts.isEmpty ? "any" : facts.joined(separator: " ")
    }

    private static func text(_ disk: InventoryReport.Disk) -> String {
        let name = disk.serial.map { "serial \($0)" } ?? disk.idPath ?? disk.name
        return [disk.bus, disk.model, "\(disk.size)", name].compactMap(\.self).joined(separator: " ")
    }

    private static func text(_ group: SKU.NICGroup) -> String {
        let facts = [group.driver, group.speedMin.map { "at least \($0) Mbit/s" }].compactMap(\.self)
        return facts.isEmpty ? "any" : facts.joined(separator: " ")
    }

    private static func text(_ nic: InventoryReport.NIC) -> String {
        let speed = nic.speed.map { "\($0) Mbit/s" } ?? (nic.hasLink ? "no speed" : "no link")
        return [nic.driver, speed, "\(nic.permanentMAC ?? nic.mac)"].compactMap(\.self).joined(separator: " ")
    }
}

/// Collects differences.
private struct BillCheck {
    private(set) var differences: [BillOfMaterials.Difference] = []

    mutating func note(_ field: String, _ wanted: String, _ found: String, _ isSame: Bool) {
        if !isSame { differences.append(.init(field: field, wanted: wanted, found: found)) }
    }

    mutating func text(_ field: String, _ pattern: String?, _ found: String?) {
        guard let pattern else { return }
        note(field, pattern, found ?? "nothing", found.map { BillOfMaterials.matches(pattern, $0) } ?? false)
    }

    mutating func cpu(_ wanted: SKU.CPU, _ found: InventoryReport.CPU) {
        text("processor", wanted.model, found.model)
        text("architecture", wanted.architecture, found.architecture)
        if let sockets = wanted.sockets { note("sockets", "\(sockets)", "\(found.sockets)", sockets == found.sockets) }
        if let cores = wanted.cores { note("cores", "\(cores)", "\(found.cores)", cores == found.cores) }
        if let cores = wanted.coresMin { note("cores", "at least \(cores)", "\(found.cores)", found.cores >= cores) }
    }

    mutating func memory(_ wanted: SKU.Memory, _ found: InventoryReport.Memory) {
        // A machine may claim modules of any size.
        let modules = found.modules.reduce(UInt64(0)) { sum, module in
            let (next, isBeyond) = sum.addingReportingOverflow(module.size.bytes)
            return isBeyond ? .max : next
        }
        let installed = ByteCount(bytes: modules > 0 ? modules : found.total.bytes)
        if let least = wanted.min { note("memory", "at least \(least)", "\(installed)", installed >= least) }
        if let exact = wanted.exact {
            let slack = modules > 0 ? 0 : exact.bytes / 8
            note(
                "memory", "\(exact)", "\(installed)",
                installed <= exact && installed.bytes >= exact.bytes - slack)
        }
    }

    mutating func firmware(_ wanted: SKU.Firmware, _ found: InventoryReport.System) {
        if let mode = wanted.mode {
            note("firmware", mode.rawValue, found.firmwareMode.rawValue, mode == found.firmwareMode)
        }
        text("firmware vendor", wanted.vendor, found.biosVendor)
        text("firmware version", wanted.version, found.biosVersion)
        if let secure = wanted.secureBoot {
            note(
                "Secure Boot", secure ? "on" : "off", found.secureBoot.map { $0 ? "on" : "off" } ?? "none",
                found.secureBoot ?? false == secure)
        }
    }

    /// Gives each place of a group a thing of its own that fits, as many as can be; what lacks and what is left over are
    /// differences.
    mutating func groups(
        _ field: String, _ groups: [(count: Int, text: String)], _ things: [String], allowsMore: Bool,
        fits: (_ group: Int, _ thing: Int) -> Bool
    ) {
        let places = groups.indices.flatMap { Array(repeating: $0, count: max(0, groups[$0].count)) }
        var holder = [Int?](repeating: nil, count: things.count)
        func assign(_ place: Int, _ seen: inout Set<Int>) -> Bool {
            for thing in things.indices where !seen.contains(thing) && fits(places[place], thing) {
                seen.insert(thing)
                let other = holder[thing]
                if other.map({ assign($0, &seen) }) ?? true {
                    holder[thing] = place
                    return true
                }
            }
            return false
        }
        for place in places.indices {
            var seen: Set<Int> = []
            _ = assign(place, &seen)
        }
        var filled = [Int](repeating: 0, count: groups.count)
        for place in holder.compactMap(\.self) { filled[places[place]] += 1 }
        for (index, group) in groups.enumerated() where filled[index] < group.count {
            note(field, "\(group.count) × \(group.text)", "\(filled[index])", false)
        }
        let others = things.indices.filter { holder[$0] == nil }.map { things[$0] }
        guard !others.isEmpty, !allowsMore else { return }
        let shown = others.prefix(4).joined(separator: ", ") + (others.count > 4 ? " and \(others.count - 4) more" : "")
        note(field, "nothing else", shown, false)
    }
}
