import AgentProtocol
import CatalogBareMetal
import FleetContract
import Primitives

extension SiteFile {
    /// A bill of materials.
    static func readSKU(_ fields: FieldReader) -> SiteDocument.SKUEntry {
        let name = fields.requiredText("name")
        var spec = SKU.Spec()
        spec.vendor = fields.text("vendor")
        spec.product = fields.text("product")
        if let cpu = fields.fields("cpu") {
            spec.cpu = SKU.CPU(
                model: cpu.text("model"), architecture: cpu.text("architecture"), sockets: cpu.integer("sockets"),
                cores: cpu.integer("cores"), coresMin: cpu.integer("coresMin"))
            cpu.finish()
        }
        if let memory = fields.fields("memory") {
            spec.memory = SKU.Memory(
                min: memory.value("min", SiteUnits.size), exact: memory.value("exact", SiteUnits.size))
            memory.finish()
        }
        spec.disks = groups("disks", fields) { disk in
            SKU.DiskGroup(
                count: disk.integer("count") ?? 1, sizeMin: disk.value("sizeMin", SiteUnits.size),
                sizeMax: disk.value("sizeMax", SiteUnits.size), bus: disk.text("bus"), model: disk.text("model"),
                isRotational: disk.has("rotational") ? disk.flag("rotational") : nil)
        }
        spec.nics = groups("nics", fields) { nic in
            SKU.NICGroup(
                count: nic.integer("count") ?? 1, driver: nic.text("driver"), speedMin: nic.integer("speedMin"))
        }
        spec.pciDevices = groups("pciDevices", fields) { device in
            SKU.PCIGroup(count: device.integer("count") ?? 1, device: device.requiredText("device"))
        }
        if let firmware = fields.fields("firmware") {
            spec.firmware = SKU.Firmware(
                mode: firmware.value("mode", mode), vendor: firmware.text("vendor"),
                version: firmware.text("version"),
                secureBoot: firmware.has("secureBoot") ? firmware.flag("secureBoot") : nil)
            firmware.finish()
        }
        spec.tpm = fields.text("tpm")
        spec.allowsMore = fields.flag("allowsMore")
        fields.finish()
        return SiteDocument.SKUEntry(name: name, spec: spec)
    }

    /// The entries of a list; nil when there is none, so that nothing is asked for.
    private static func groups<Group>(
        _ key: String, _ fields: FieldReader, _ read: (FieldReader) -> Group
    ) -> [Group]? {
        guard fields.has(key) else { return nil }
        return fields.list(key, countMax: SiteLimit.skuGroupCount).compactMap { entry in
            guard let group = FieldReader(entry.node, path: entry.path, reading: fields.reading) else { return nil }
            let result = read(group)
            group.finish()
            return result
        }
    }

    private static func mode(_ text: String) throws(InvalidValue) -> InventoryReport.FirmwareMode {
        guard let mode = InventoryReport.FirmwareMode(rawValue: text) else {
            throw InvalidValue("firmware mode", text, expected: "bios or uefi")
        }
        return mode
    }
}

extension SiteCheck {
    mutating func skus(_ document: SiteDocument) {
        let skus = document.skus ?? []
        count("skus", skus.count, SiteLimit.skuCount)
        names("skus", skus.map(\.name))
        for (index, entry) in skus.enumerated() { sku(entry.spec, at: "skus[\(index)]") }
        let known = Set(skus.map(\.name))
        for (index, rule) in document.rules.enumerated() {
            guard let name = rule.spec.sku, !known.contains(name) else { continue }
            let there =
                known.isEmpty ? "there are none" : "there are \(known.sorted().prefix(20).joined(separator: ", "))"
            report(
                "rules[\(index)].gives.sku", "'\(name.printable(limit: 80))' is not in 'skus' of this site; \(there)")
        }
    }

    private mutating func sku(_ spec: SKU.Spec, at path: String) {
        if spec == SKU.Spec() || spec == onlyMore { report(path, "the bill asks for nothing") }
        pattern("\(path).vendor", spec.vendor)
        pattern("\(path).product", spec.product)
        pattern("\(path).cpu.model", spec.cpu?.model)
        pattern("\(path).cpu.architecture", spec.cpu?.architecture)
        positive("\(path).cpu.sockets", spec.cpu?.sockets)
        positive("\(path).cpu.cores", spec.cpu?.cores)
        positive("\(path).cpu.coresMin", spec.cpu?.coresMin)
        if let cpu = spec.cpu, cpu.cores != nil, cpu.coresMin != nil {
            report("\(path).cpu", "give either 'cores' or 'coresMin', not both")
        }
        if let memory = spec.memory, (memory.min == nil) == (memory.exact == nil) {
            report("\(path).memory", "give either 'min' or 'exact'")
        }
        for (index, disk) in (spec.disks ?? []).enumerated() {
            let path = "\(path).disks[\(index)]"
            positive("\(path).count", disk.count)
            pattern("\(path).bus", disk.bus)
            pattern("\(path).model", disk.model)
            if let least = disk.sizeMin, let most = disk.sizeMax, least > most {
                report("\(path).sizeMax", "\(most) is less than sizeMin, \(least)")
            }
        }
        for (index, nic) in (spec.nics ?? []).enumerated() {
            positive("\(path).nics[\(index)].count", nic.count)
            pattern("\(path).nics[\(index)].driver", nic.driver)
            if let speed = nic.speedMin, !(1...10_000_000).contains(speed) {
                report("\(path).nics[\(index)].speedMin", "\(speed) is not between 1 and 10000000 Mbit/s")
            }
        }
        for (index, device) in (spec.pciDevices ?? []).enumerated() {
            if !(0...256).contains(device.count) {
                report("\(path).pciDevices[\(index)].count", "\(device.count) is not between 0 and 256")
            }
            pattern("\(path).pciDevices[\(index)].device", device.device)
        }
        pattern("\(path).firmware.vendor", spec.firmware?.vendor)
        pattern("\(path).firmware.version", spec.firmware?.version)
        pattern("\(path).tpm", spec.tpm)
    }

    private var onlyMore: SKU.Spec {
        var spec = SKU.Spec()
        spec.allowsMore = true
        return spec
    }

    private mutating func pattern(_ path: String, _ text: String?) {
        guard let text else { return }
        check(path) { () throws(InvalidValue) in _ = try GlobPattern(text) }
    }

    private mutating func positive(_ path: String, _ number: Int?) {
        guard let number, !(1...4096).contains(number) else { return }
        report(path, "\(number) is not between 1 and 4096")
    }
}
