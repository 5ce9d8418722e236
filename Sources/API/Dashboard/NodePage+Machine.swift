import AgentProtocol
import CatalogBareMetal
import FleetContract
import Primitives

extension NodePage {
    // MARK: Machine

    var machine: Markup {
        guard let inventory = facts.inventory else {
            return group {
                tag("p", ["class": "soft"]) { "It has not been inventoried yet." }
                tag("dl", ["class": "facts"]) { identity }
            }
        }
        let system = inventory.system
        let cpu = inventory.cpu
        let firmware = [system.biosVendor, system.biosVersion, system.biosDate].compactMap(\.self)
        return group {
            tag("dl", ["class": "facts"]) {
                Self.fact("System", [system.vendor, system.product].compactMap(\.self).joined(separator: " "))
                Self.fact("Serial", system.serial, isCode: true)
                Self.fact("Board serial", system.boardSerial, isCode: true)
                Self.fact("UUID", system.uuid, isCode: true)
                Self.fact("Processors", Self.processors(cpu))
                Self.fact("Memory", Self.memory(inventory.memory))
                Self.fact(
                    "Firmware", ([system.firmwareMode == .uefi ? "UEFI" : "BIOS"] + firmware).joined(separator: " "))
                Self.fact("Secure Boot", system.secureBoot.map { $0 ? "enforced" : "off" })
                Self.fact("TPM", inventory.tpmVersion)
                Self.fact("Vouched for by", detail.attestation?.voucher)
                Self.fact("Endorsement key", detail.identity.endorsementKey?.hex, isCode: true)
                Self.fact("Virtual", inventory.virtualization)
                Self.fact("Node", node.id.raw, isCode: true)
                Self.fact("Seen first", detail.created.description)
                Self.fact("Inventoried", inventory.collectedAt.description)
            }
            if !inventory.omissions.isEmpty {
                tag("p", ["class": "soft"]) { "Left out: " + inventory.omissions.joined(separator: "; ") }
            }
            modules(inventory.memory.modules)
            devices(inventory.pciDevices)
        }
    }

    /// What a machine is known by before it has been inventoried.
    private var identity: Markup {
        group {
            Self.fact("Serial", detail.identity.serial, isCode: true)
            Self.fact("UUID", detail.identity.smbiosUUID, isCode: true)
            Self.fact("MAC", detail.identity.macs.sorted().map(\.description).joined(separator: " "), isCode: true)
            Self.fact("Node", node.id.raw, isCode: true)
            Self.fact("Seen first", detail.created.description)
        }
    }

    private static func processors(_ cpu: InventoryReport.CPU) -> String {
        let counts = "\(cpu.sockets) × \(max(1, cpu.cores / max(1, cpu.sockets))) cores, \(cpu.threads) threads"
        return [cpu.model, counts, cpu.architecture].compactMap(\.self).joined(separator: ", ")
    }

    private static func memory(_ memory: InventoryReport.Memory) -> String {
        memory.modules.isEmpty ? "\(memory.total)" : "\(memory.total) in \(memory.modules.count) modules"
    }

    private func modules(_ modules: [InventoryReport.Memory.Module]) -> Markup {
        guard !modules.isEmpty else { return .empty }
        return Self.more("\(modules.count) memory modules", ["Slot", "Size", "Speed", "Serial"]) {
            for module in modules {
                tag("tr") {
                    tag("th", ["scope": "row"]) { module.slot }
                    tag("td") { "\(module.size)" }
                    tag("td") { module.speed.map { "\($0) MT/s" } ?? "–" }
                    tag("td", ["class": "mono"]) { module.serial ?? "–" }
                }
            }
        }
    }

    private func devices(_ devices: [InventoryReport.PCIDevice]) -> Markup {
        guard !devices.isEmpty else { return .empty }
        func four(_ number: UInt16) -> String { Hex.encode([UInt8(number >> 8), UInt8(number & 0xFF)]) }
        return Self.more("\(devices.count) PCI devices", ["Address", "Class", "Vendor:device", "Driver"]) {
            for device in devices {
                tag("tr") {
                    tag("th", ["scope": "row", "class": "mono"]) { device.address }
                    tag("td", ["class": "mono"]) { four(UInt16(device.classCode >> 8 & 0xFFFF)) }
                    tag("td", ["class": "mono"]) { "\(four(device.vendor)):\(four(device.device))" }
                    tag("td") { device.driver ?? "–" }
                }
            }
        }
    }

    /// A table that opens on demand.
    private static func more(
        _ title: String, _ heads: [String], @MarkupBuilder _ rows: () -> Markup
    ) -> Markup {
        tag("details") {
            tag("summary") { title }
            table(title, heads, rows)
        }
    }

    /// A table that scrolls within its panel where it is too wide.
    private static func table(
        _ title: String, _ heads: [String], @MarkupBuilder _ rows: () -> Markup
    ) -> Markup {
        tag("div", ["class": "scroll", "tabindex": "0", "role": "region", "aria-label": title]) {
            tag("table", ["class": "plain"]) {
                tag("thead") {
                    tag("tr") {
                        for head in heads { tag("th", ["scope": "col"]) { head } }
                    }
                }
                tag("tbody") { rows() }
            }
        }
    }

    // MARK: Disks

    var disks: Markup {
        guard let disks = facts.inventory?.disks, !disks.isEmpty else { return .empty }
        return group {
            for disk in disks { self.disk(disk) }
        }
    }

    private func disk(_ disk: InventoryReport.Disk) -> Markup {
        let kind = [
            disk.bus, disk.isRotational.map { $0 ? "rotating" : "solid state" }, disk.isReadOnly ? "read-only" : nil,
            disk.isRemovable ? "removable" : nil,
        ].compactMap(\.self).joined(separator: ", ")
        return tag("article", ["class": "disk"]) {
            tag("h3") {
                tag("span", ["class": "mono"]) { disk.name }
                tag("span", ["class": "size"]) { "\(disk.size)" }
                tag("span", ["class": "soft"]) { kind }
            }
            tag("p", ["class": "soft"]) {
                if let model = disk.model { "\(model) " }
                if let serial = disk.serial { tag("span", ["class": "mono"]) { serial } }
            }
            contents(of: disk)
        }
    }

    private func contents(of disk: InventoryReport.Disk) -> Markup {
        let contents = disk.contents
        return group {
            if !contents.partitions.isEmpty, disk.size.bytes > 0 { Self.map(of: disk) }
            if contents.isAmbiguous {
                tag("p", ["class": "problem"]) { "Signatures contradict each other; none is believed." }
            }
            if let signature = contents.signature { tag("p") { "Whole disk: " + Self.words(signature) } }
            if contents.isEmpty { tag("p", ["class": "soft"]) { "Nothing is recognised on it." } }
            if !contents.partitions.isEmpty {
                Self.table("Partitions of \(disk.name)", ["#", "Name", "Size", "Holds", "Identifier"]) {
                    for partition in contents.partitions {
                        tag("tr") {
                            tag("th", ["scope": "row"]) { "\(partition.number)" }
                            tag("td") { partition.name ?? "–" }
                            tag("td", ["class": "number"]) { "\(partition.size)" }
                            tag("td") { partition.signature.map(Self.words) ?? "–" }
                            tag("td", ["class": "mono soft"]) { String((partition.uuid ?? "–").prefix(13)) }
                        }
                    }
                }
            }
        }
    }

    private static func words(_ signature: InventoryReport.Signature) -> String {
        [signature.type, signature.label.map { "“\($0)”" }].compactMap(\.self).joined(separator: " ")
    }

    /// The partitions drawn to scale, none thinner than can be seen.
    private static func map(of disk: InventoryReport.Disk) -> Markup {
        let total = Double(disk.size.bytes)
        return tag(
            "svg",
            [
                "class": "map", "viewBox": "0 0 1000 20", "preserveAspectRatio": "none", "role": "img",
                "aria-label": "\(disk.contents.partitions.count) partitions of \(disk.name), to scale",
            ]
        ) {
            tag("rect", ["class": "free", "x": "0", "y": "0", "width": "1000", "height": "20"])
            for (index, partition) in disk.contents.partitions.enumerated() {
                let start = min(1, Double(partition.start) / total) * 1000
                let width = max(4, min(1, Double(partition.size.bytes) / total) * 1000 - 2)
                tag(
                    "rect",
                    [
                        "class": "p\(index % 4)", "x": "\(Int(start))", "y": "0", "width": "\(Int(width))",
                        "height": "20",
                    ]
                ) {
                    tag("title") { "\(partition.number) \(partition.name ?? "") \(partition.size)" }
                }
            }
        }
    }

    // MARK: Network interfaces

    var nics: Markup {
        guard let nics = facts.inventory?.nics, !nics.isEmpty else { return .empty }
        return Self.table("Network interfaces", ["Name", "MAC", "Link", "Driver", "Addresses", "MTU"]) {
            for nic in nics {
                tag("tr") {
                    tag("th", ["scope": "row", "class": "mono"]) { nic.name }
                    tag("td", ["class": "mono"]) { nic.mac.description }
                    tag("td") { nic.hasLink ? nic.speed.map(Self.speed) ?? "up" : "no link" }
                    tag("td") { nic.driver ?? "–" }
                    tag("td", ["class": "mono"]) { nic.addresses.isEmpty ? "–" : nic.addresses.joined(separator: " ") }
                    tag("td", ["class": "number"]) { "\(nic.mtu)" }
                }
            }
        }
    }

    private static func speed(_ megabits: Int) -> String {
        megabits >= 1000 && megabits % 1000 == 0 ? "\(megabits / 1000) Gbit/s" : "\(megabits) Mbit/s"
    }
}
