import AgentProtocol
import CLinux
import CUdev
import Glibc
import LinuxSystem
import Primitives

/// Finds the network interfaces of hardware by udev.
struct NICCollector {
    private static let ethernet = "1"

    let udev: Udev
    /// What was heard at the other ends of cables, by the names of the cards.
    var neighbours: [String: InventoryReport.Neighbour] = [:]

    func collect() -> [InventoryReport.NIC] {
        let addresses = InterfaceAddresses.current()
        return udev.devices(subsystem: "net", limit: 4096)
            .compactMap { nic($0, addresses[$0.name] ?? []) }
            .sorted { $0.name < $1.name }
    }

    private func nic(_ device: UdevDevice, _ addresses: [String]) -> InventoryReport.NIC? {
        // Bridges, tunnels and the like have no device behind them.
        guard let driver = SystemFile.linkName(device.path + "/device/driver"),
            device.attribute("type") == Self.ethernet,
            let mac = device.attribute("address").flatMap({ try? MACAddress($0) })
        else { return nil }
        let hasLink = device.attribute("carrier") == "1"
        let speed = hasLink ? device.attribute("speed").flatMap { Int($0) } : nil
        return InventoryReport.NIC(
            name: device.name, mac: mac, permanentMAC: permanentMAC(device.name), driver: driver,
            speed: speed.flatMap { $0 > 0 ? $0 : nil }, hasLink: hasLink,
            pciAddress: device.parent(subsystem: "pci")?.name, idPath: device.property("ID_PATH"),
            mtu: device.attribute("mtu").flatMap { Int($0) } ?? 0, addresses: addresses,
            lldp: neighbours[device.name])
    }

    private func permanentMAC(_ name: String) -> MACAddress? {
        var bytes = [UInt8](repeating: 0, count: 32)
        var length: UInt32 = 0
        guard clinux_permanent_address(name, &bytes, &length) == 0, length == 6 else { return nil }
        let mac = MACAddress(bytes: bytes[0..<6])
        return mac.value == 0 ? nil : mac
    }
}

/// The IPv4 and IPv6 addresses of interfaces.
enum InterfaceAddresses {
    /// By interface name, each with its prefix length, for example `10.77.0.20/24`.
    static func current() -> [String: [String]] {
        var first: UnsafeMutablePointer<ifaddrs>?
        guard getifaddrs(&first) == 0 else { return [:] }
        defer { freeifaddrs(first) }
        var result: [String: [String]] = [:]
        var next = first
        while let entry = next {
            next = entry.pointee.ifa_next
            guard let address = entry.pointee.ifa_addr, let mask = entry.pointee.ifa_netmask else { continue }
            guard let text = text(address), let name = entry.pointee.ifa_name else { continue }
            result[String(cString: name), default: []].append("\(text)/\(prefixLength(mask, address))")
        }
        return result
    }

    private static func text(_ address: UnsafeMutablePointer<sockaddr>) -> String? {
        guard let (offset, length) = place(address.pointee.sa_family) else { return nil }
        _ = length
        var buffer = [CChar](repeating: 0, count: 64)
        let family = Int32(address.pointee.sa_family)
        // SAFETY: `place` gives the offset of the address bytes within the sockaddr of that family.
        guard inet_ntop(family, UnsafeRawPointer(address) + offset, &buffer, socklen_t(buffer.count)) != nil else {
            return nil
        }
        return String(decoding: buffer.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    private static func prefixLength(
        _ mask: UnsafeMutablePointer<sockaddr>, _ address: UnsafeMutablePointer<sockaddr>
    ) -> Int {
        guard let (offset, length) = place(address.pointee.sa_family) else { return 0 }
        // SAFETY: a netmask has the form of its address.
        let bytes = UnsafeRawBufferPointer(start: UnsafeRawPointer(mask) + offset, count: length)
        return bytes.reduce(0) { $0 + $1.nonzeroBitCount }
    }

    private static func place(_ family: sa_family_t) -> (offset: Int, length: Int)? {
        switch Int32(family) {
        case AF_INET: (4, 4)
        case AF_INET6: (8, 16)
        default: nil
        }
    }
}
