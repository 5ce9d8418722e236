import AgentProtocol
import ArgumentParser
import ClientSDK
import Primitives

struct NodeInventory: FleetCommand {
    static let configuration = CommandConfiguration(
        commandName: "inventory", abstract: "Show what a machine is made of, and what is on its disks.")

    @OptionGroup var node: NodeArgument
    @OptionGroup(title: "Connection") var connection: ConnectionOptions

    func run(_ client: FleetClient, _ terminal: Terminal) async throws {
        let inventory = try await client.inventory(of: node.name)
        if terminal.isJSON { return terminal.json(inventory) }
        for line in Self.lines(inventory, terminal) { terminal.print(line) }
    }

    static func lines(_ inventory: InventoryReport, _ terminal: Terminal) -> [String] {
        var facts = Facts()
        let system = inventory.system
        facts.add("system", [system.vendor, system.product].compactMap(\.self).joined(separator: " "), .bold)
        facts.add("serial", system.serial)
        facts.add("uuid", system.uuid)
        facts.add("board", system.boardSerial.map { "serial \($0)" })
        facts.add("chassis", system.chassisSerial.map { "serial \($0)" })
        let secure = system.secureBoot.map { $0 ? ", Secure Boot on" : ", Secure Boot off" } ?? ""
        let bios = [system.biosVendor, system.biosVersion, system.biosDate].compactMap(\.self).joined(separator: " ")
        facts.add("firmware", "\(system.firmwareMode.rawValue.uppercased())\(secure)\(bios.isEmpty ? "" : ", \(bios)")")
        let cpu = inventory.cpu
        let counts = "\(cpu.sockets) × \(cpu.cores / max(1, cpu.sockets)) cores, \(cpu.threads) threads"
        facts.add("processors", "\(counts), \(cpu.architecture)\(cpu.model.map { ", \($0)" } ?? "")")
        facts.add("memory", inventory.memory.total.description)
        facts.add("TPM", inventory.tpmVersion ?? "none")
        facts.add("BMC", inventory.bmc.map(Self.bmc))
        facts.add("virtual", inventory.virtualization)
        facts.add("kernel", inventory.kernelVersion)
        facts.add("collected", "\(inventory.collectedAt) by discovery-agent \(inventory.agentVersion)")
        facts.add("clock", inventory.clockSkewMilliseconds.flatMap(Self.skew), .yellow)
        var lines = facts.lines(for: terminal)
        lines += [""] + disks(inventory.disks).lines(for: terminal)
        lines += [""] + nics(inventory.nics).lines(for: terminal)
        if !inventory.omissions.isEmpty { lines += [""] + inventory.omissions.map { "left out: \($0)" } }
        return lines
    }

    private static func bmc(_ bmc: InventoryReport.BMC) -> String {
        [
            bmc.address.map { "at \($0)" } ?? "without an address", bmc.mac.map { "MAC \($0)" },
            bmc.firmwareVersion.map { "firmware \($0)" }, bmc.guid.map { "GUID \($0)" },
        ].compactMap(\.self).joined(separator: ", ")
    }

    /// Nil below 5 s: it is measured against a clock that tells whole seconds, and the boot takes its time.
    private static func skew(_ milliseconds: Int64) -> String? {
        guard milliseconds.magnitude >= 5000 else { return nil }
        let text = Ages.text(.milliseconds(Int64(clamping: milliseconds.magnitude)))
        return "was \(text) \(milliseconds > 0 ? "fast" : "slow") when it booted; look at its battery"
    }

    private static func disks(_ disks: [InventoryReport.Disk]) -> Table {
        var table = Table([
            .init("DISK", priority: 1), .init("SERIAL", priority: 1), .init("SIZE", priority: 1, isRightAligned: true),
            .init("BUS", priority: 4), .init("KIND", priority: 6), .init("MODEL", priority: 5, least: 8),
            .init("WWN", priority: 7), .init("PATH", priority: 8), .init("ON IT", priority: 2, least: 12),
        ])
        for disk in disks {
            let kind = disk.isRotational.map { $0 ? "HDD" : "SSD" } ?? "-"
            table.rows.append([
                .init(disk.name, .bold), .init(disk.serial ?? "-"), .init(disk.size.description),
                .init(disk.bus ?? "-"), .init(kind), .init(disk.model ?? "-"), .init(disk.wwn ?? "-"),
                .init(disk.idPath ?? "-"), .init(contents(disk.contents)),
            ])
            for partition in disk.contents.partitions {
                table.rows.append([
                    .init("  \(partition.number)"), .init(""), .init(partition.size.description), .init(""), .init(""),
                    .init(""), .init(""), .init(""),
                    .init(
                        [partition.name, partition.signature.map(signature)].compactMap(\.self)
                            .joined(separator: ": ")),
                ])
            }
        }
        if disks.isEmpty { table.rows = [["none", "", "", "", "", "", "", "", ""]] }
        return table
    }

    private static func contents(_ contents: InventoryReport.DiskContents) -> String {
        if contents.isAmbiguous { return "signatures that contradict each other" }
        if let whole = contents.signature { return signature(whole) }
        guard let kind = contents.partitionTable else { return "nothing" }
        let count = contents.partitions.count
        return "\(kind.uppercased()), \(count) partition\(count == 1 ? "" : "s")"
    }

    private static func signature(_ signature: InventoryReport.Signature) -> String {
        signature.type + (signature.label.map { " '\($0)'" } ?? "")
    }

    private static func nics(_ nics: [InventoryReport.NIC]) -> Table {
        var columns: [Table.Column] = [
            .init("NIC", priority: 1), .init("MAC", priority: 1), .init("LINK", priority: 2),
            .init("ADDRESSES", priority: 3, least: 12), .init("DRIVER", priority: 4), .init("PCI", priority: 5),
            .init("MTU", priority: 6, isRightAligned: true),
        ]
        let hasNeighbours = nics.contains { $0.lldp != nil }
        if hasNeighbours {
            columns.insert(contentsOf: [.init("SWITCH", priority: 2, least: 8), .init("PORT", priority: 2)], at: 3)
        }
        var table = Table(columns)
        table.rows = nics.map { nic in
            let link = nic.hasLink ? nic.speed.map { "\($0) Mb/s" } ?? "up" : "down"
            let neighbour: [Table.Cell] =
                hasNeighbours ? [.init(nic.lldp?.switchName ?? "-"), .init(nic.lldp?.port ?? "-")] : []
            return [
                .init(nic.name, .bold), .init((nic.permanentMAC ?? nic.mac).description),
                .init(link, nic.hasLink ? .green : .yellow),
            ] + neighbour + [
                .init(nic.addresses.joined(separator: ", ")), .init(nic.driver ?? "-"), .init(nic.pciAddress ?? "-"),
                .init(String(nic.mtu)),
            ]
        }
        if nics.isEmpty { table.rows = [["none", "", "", "", "", "", ""]] }
        return table
    }
}
