import FoundationEssentials
import Glibc
import Primitives
import Yams

extension RackFile {
    /// The largest rack file in bytes.
    public static let sizeLimit = 256 << 10

    /// Reads the file at `path`; throws `RackError.invalidFile` with the path of the key that is wrong.
    public static func load(_ path: String) throws(RackError) -> RackFile {
        guard let data = FileManager.default.contents(atPath: path) else {
            throw .invalidFile(file: path, path: "", problem: "cannot be read; name a rack file with --rack FILE")
        }
        guard data.count <= sizeLimit, let text = String(validating: data, as: UTF8.self) else {
            throw .invalidFile(file: path, path: "", problem: "must be UTF-8 of at most \(sizeLimit >> 10) KiB")
        }
        return try parse(text, file: path)
    }

    /// Parses the text of a rack file; `file` is its name in errors.
    public static func parse(_ text: String, file: String) throws(RackError) -> RackFile {
        let root: Node?
        do { root = try compose(yaml: text) } catch {
            let problem = String(describing: error).split(separator: "\n").joined(separator: " ").printable(limit: 300)
            throw .invalidFile(file: file, path: "", problem: "is not YAML: \(problem)")
        }
        guard let root else { throw .invalidFile(file: file, path: "", problem: "is empty") }
        var fields = try YAMLFields(root, file: file, path: "")
        let name = try fields.word("name", limit: 32, .name)
        var network = try fields.fields("network")
        let segment = try Segment(&network)
        try network.finish()
        var service = try fields.fields("bmc")
        let bmc = try BMC(&service, in: segment)
        try service.finish()
        let machines = try fields.list("machines", count: 1...64) { fields throws(RackError) in try Machine(&fields) }
        try fields.finish()
        if machines.contains(where: { $0.bmc == .ipmi }) { try bmc.refuseForIPMI(file: file) }
        let rack = RackFile(name: name, network: segment, bmc: bmc, machines: machines)
        try rack.refuseDuplicates(file: file)
        return rack
    }

    private func refuseDuplicates(file: String) throws(RackError) {
        var seen: [String: String] = [:]
        func claim(_ kind: String, _ value: String, _ path: String) throws(RackError) {
            if let other = seen.updateValue(path, forKey: "\(kind) \(value)") {
                throw .invalidFile(file: file, path: path, problem: "\(kind) '\(value)' is also that of \(other)")
            }
        }
        for (index, machine) in machines.enumerated() {
            let path = "machines[\(index)]"
            try claim("name", machine.name, "\(path).name")
            try claim("uuid", machine.uuid, "\(path).uuid")
            try claim("serial", machine.serial, "\(path).serial")
            for (number, nic) in machine.nics.enumerated() {
                try claim("mac", nic.mac.description, "\(path).nics[\(number)].mac")
            }
            for (number, disk) in machine.disks.enumerated() {
                try claim("disk serial", disk.serial, "\(path).disks[\(number)].serial")
                if let wwn = disk.wwn { try claim("wwn", wwn, "\(path).disks[\(number)].wwn") }
            }
        }
    }
}

extension RackFile.Segment {
    init(_ fields: inout YAMLFields) throws(RackError) {
        bridge = try fields.word("bridge", limit: 15, .serial)
        guard bridge != ".", bridge != "..", bridge != "lo", !bridge.hasPrefix("-"), !bridge.hasPrefix("vnet"),
            !RelayPlan.names.contains(bridge)
        else {
            throw fields.error("bridge", "'\(bridge)' cannot be the name of a bridge; use for example br0")
        }
        subnet = try fields.value("subnet") { text throws(InvalidValue) in try IPv4Network(text) }
        guard (8...29).contains(subnet.prefixLength) else {
            throw fields.error("subnet", "must have a prefix length from 8 to 29, and has \(subnet.prefixLength)")
        }
        if fields.has("relay") {
            var inner = try fields.fields("relay")
            relay = try RackFile.Relay(&inner, below: subnet)
            try inner.finish()
        }
        conductor = try fields.value("conductor") { text throws(InvalidValue) in try IPv4Address(text) }
        let network = relay?.uplink ?? subnet
        guard network.hasHost(conductor), conductor != relay?.uplinkAddress else {
            throw fields.error("conductor", "\(conductor) is not the address of a host in \(network)")
        }
        conductorIPv6 = try fields.text("conductorIPv6")
        guard Self.isIPv6Interface(conductorIPv6) else {
            let text = conductorIPv6.printable(limit: 60)
            throw fields.error("conductorIPv6", "'\(text)' must be an IPv6 address and prefix such as fd77::1/64")
        }
    }

    private static func isIPv6Interface(_ text: String) -> Bool {
        let parts = text.split(separator: "/", omittingEmptySubsequences: false)
        guard parts.count == 2, let length = Int(parts[1]), (1...128).contains(length) else { return false }
        var address = in6_addr()
        return inet_pton(AF_INET6, String(parts[0]), &address) == 1
    }
}

extension RackFile.Relay {
    init(_ fields: inout YAMLFields, below subnet: IPv4Network) throws(RackError) {
        address = try fields.value("address") { text throws(InvalidValue) in try IPv4Address(text) }
        guard subnet.hasHost(address) else {
            throw fields.error("address", "\(address) is not the address of a host in \(subnet)")
        }
        uplink = try fields.value("uplink") { text throws(InvalidValue) in try IPv4Network(text) }
        guard (8...29).contains(uplink.prefixLength), !uplink.contains(subnet.address), !subnet.contains(uplink.address)
        else {
            throw fields.error("uplink", "must have a prefix length from 8 to 29 and lie outside \(subnet)")
        }
        uplinkAddress = try fields.value("uplinkAddress") { text throws(InvalidValue) in try IPv4Address(text) }
        guard uplink.hasHost(uplinkAddress) else {
            throw fields.error("uplinkAddress", "\(uplinkAddress) is not the address of a host in \(uplink)")
        }
    }
}

extension IPv4Network {
    fileprivate func hasHost(_ host: IPv4Address) -> Bool { contains(host) && host != address && host != broadcast }
}

extension RackFile.BMC {
    init(_ fields: inout YAMLFields, in segment: RackFile.Segment) throws(RackError) {
        address = try fields.value("address") { text throws(InvalidValue) in try IPv4Address(text) }
        guard segment.conductorNetwork.hasHost(address), address != segment.relay?.uplinkAddress else {
            throw fields.error("address", "\(address) is not the address of a host in \(segment.conductorNetwork)")
        }
        port = UInt16(try fields.integer("port", in: 1...65535))
        user = try fields.word("user", limit: 32, .serial)
        password = try fields.word("password", limit: 72, .password)
    }
}

extension RackFile.BMC {
    /// Throws when user or password are longer than IPMI allows.
    fileprivate func refuseForIPMI(file: String) throws(RackError) {
        let limit = IPMIBMC.passwordLengthMax
        guard password.utf8.count <= limit else {
            throw .invalidFile(
                file: file, path: "bmc.password", problem: "has over \(limit) bytes, which IPMI does not allow")
        }
        guard user.utf8.count <= 16 else {
            throw .invalidFile(file: file, path: "bmc.user", problem: "has over 16 bytes, which IPMI does not allow")
        }
    }
}

extension RackFile.Machine {
    init(_ fields: inout YAMLFields) throws(RackError) {
        name = try fields.word("name", limit: 63, .name)
        guard !name.hasPrefix("-"), !name.hasSuffix("-") else {
            throw fields.error("name", "'\(name)' must not begin or end with '-'")
        }
        uuid = try fields.text("uuid").lowercased()
        guard Self.isUUID(uuid) else {
            let text = uuid.printable(limit: 60)
            throw fields.error("uuid", "'\(text)' must be like 3f2a91c4-07d8-4be1-9c35-d1e6f0a7b842 and not all zeros")
        }
        serial = try fields.word("serial", limit: 64, .serial)
        manufacturer = try fields.word("manufacturer", limit: 64, .product)
        product = try fields.word("product", limit: 64, .product)
        memoryMiB = try fields.integer("memoryMiB", in: 64...65536)
        cpus = try fields.integer("cpus", in: 1...16, default: 1)
        firmware = try fields.choice("firmware", default: .bios)
        networkBoot = try fields.choice("networkBoot", default: .pxe)
        tpm = try fields.choice("tpm", default: .absent)
        bmc = try fields.choice("bmc", default: .redfish)
        nics = try fields.list("nics", count: 1...8) { fields throws(RackError) in try RackFile.NIC(&fields) }
        disks = try fields.list("disks", count: 0...16) { fields throws(RackError) in try RackFile.Disk(&fields) }
        guard firmware != .uefiSecure || nics[0].rom == .off && networkBoot == .pxe else {
            throw fields.error("firmware", "uefi-secure starts signed programs only: set 'rom: off', and boot by pxe")
        }
        guard firmware != .bios || nics[0].rom == .on else {
            throw fields.error("nics[0].rom", "a BIOS has no network stack of its own; leave the ROM on, or use uefi")
        }
        guard networkBoot == .pxe || nics[0].rom == .off else {
            throw fields.error("networkBoot", "http needs 'firmware: uefi' and 'rom: off' on the first NIC")
        }
        guard disks.first?.bus != .nvme else {
            throw fields.error("disks[0].bus", "the first disk, which the machine boots from, cannot be nvme here")
        }
    }

    private static func isUUID(_ text: String) -> Bool {
        let parts = text.split(separator: "-", omittingEmptySubsequences: false)
        let digits = Set("0123456789abcdef")
        return parts.map(\.count) == [8, 4, 4, 4, 12] && parts.joined().allSatisfy(digits.contains)
            && parts.joined().contains { $0 != "0" }
    }
}

extension RackFile.NIC {
    init(_ fields: inout YAMLFields) throws(RackError) {
        mac = try fields.value("mac") { text throws(InvalidValue) in try MACAddress(text) }
        guard !mac.isGroup, mac.value != 0 else {
            throw fields.error("mac", "\(mac) is not the address of a single card; begin with 52:54:00 for example")
        }
        model = try fields.choice("model", default: .virtio)
        rom = try fields.choice("rom", default: .on)
        guard rom == .on || model == .virtio else {
            throw fields.error("rom", "the firmware has a driver of its own for virtio only; leave the ROM on")
        }
    }
}

extension RackFile.Disk {
    init(_ fields: inout YAMLFields) throws(RackError) {
        serial = try fields.word("serial", limit: 20, .serial)
        sizeGiB = try fields.integer("sizeGiB", in: 1...2048)
        bus = try fields.choice("bus", default: .virtio)
        let wwn = try fields.text("wwn", default: "")
        if !wwn.isEmpty {
            guard wwn.utf8.count == 16, wwn.utf8.allSatisfy("0123456789abcdef".utf8.contains) else {
                let text = wwn.printable(limit: 40)
                throw fields.error("wwn", "'\(text)' must be 16 hexadecimal digits such as 5000c50015ea71bb")
            }
            guard bus == .scsi else { throw fields.error("wwn", "only a disk with 'bus: scsi' can have one") }
            self.wwn = wwn
        }
        guard let node = fields.optional("content") else { return }
        var inner = try YAMLFields(node, file: fields.file, path: fields.join("content"))
        content = try RackFile.DiskContent(&inner)
        try inner.finish()
    }
}

extension RackFile.DiskContent {
    init(_ fields: inout YAMLFields) throws(RackError) {
        kind = try fields.choice("kind")
        name = try fields.word("name", limit: kind.nameLimit, .serial)
        guard kind != .lvm || !(name.hasPrefix("-") || name == "." || name == "..") else {
            throw fields.error("name", "'\(name)' cannot be the name of a volume group; use for example vg-data")
        }
    }
}
