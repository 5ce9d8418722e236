import AgentProtocol
import Primitives

/// The files by which systemd-networkd makes a node's network (systemd.network(5), systemd.netdev(5), systemd.link(5)).
///
/// Equal networks give equal files, byte for byte.
public struct UnitSet: Codable, Sendable, Hashable {
    /// The files by name.
    public let files: [String: String]

    /// What every name of ours begins with; others' files may come before or after them.
    public static let namePrefix = "50-muster-"
    /// The same for cards that are found by a pattern: they come after those that are named exactly.
    public static let patternPrefix = "55-muster-"
    /// The size of all files together that is accepted from a disk.
    public static let sizeMax = 256 << 10

    /// Whether a file of this name is ours, so that we may change it and take it away.
    public static func isOurs(_ name: String) -> Bool {
        name.hasPrefix(namePrefix) || name.hasPrefix(patternPrefix)
    }

    /// These files; those that are not ours are left out.
    public init(files: [String: String]) { self.files = files.filter { Self.isOurs($0.key) } }

    /// The files of `item`.
    public init(_ item: NodeNetworkItem) {
        var files: [String: String] = [:]
        for link in item.links {
            let stem = "\(Self.prefix(of: link))\(link.name)"
            files["\(stem).network"] = Self.network(link, in: item)
            files["\(stem).netdev"] = Self.device(link)
            files["\(stem).link"] = Self.linkFile(link)
        }
        self.files = files
    }

    /// The interfaces that these files make, which go when their file changes: by name, the file's text.
    public var devices: [String: String] {
        var devices: [String: String] = [:]
        for (name, text) in files where name.hasSuffix(".netdev") {
            devices[String(name.dropFirst(Self.namePrefix.count).dropLast(".netdev".count))] = text
        }
        return devices
    }

    private static func prefix(of link: NodeNetworkItem.Link) -> String {
        if case .card(.name) = link.form { patternPrefix } else { namePrefix }
    }

    // MARK: Text

    private static let head = "# Made by Muster: changes are undone.\n"

    private static func section(_ name: String, _ lines: [String]) -> String {
        lines.isEmpty ? "" : "\n[\(name)]\n" + lines.map { $0 + "\n" }.joined()
    }

    private static func network(_ link: NodeNetworkItem.Link, in item: NodeNetworkItem) -> String {
        let bond = item.links.first { other in
            if case .bond(let bond) = other.form { bond.members.contains(link.name) } else { false }
        }
        var lines: [String] = []
        var mtu = link.mtu
        if let bond, case .bond(let settings) = bond.form {
            lines.append("Bond=\(bond.name)")
            if settings.primary == link.name { lines.append("PrimarySlave=yes") }
            mtu = bond.mtu ?? mtu
        } else {
            lines.append("DHCP=\(link.usesDHCP ? "ipv4" : "no")")
            if !link.usesDHCP, link.addresses.isEmpty { lines.append("LinkLocalAddressing=no") }
        }
        if case .card = link.form { lines.append("LLDP=yes") }
        for other in item.links {
            if case .vlan(_, over: link.name) = other.form { lines.append("VLAN=\(other.name)") }
        }
        lines += link.addresses.map { "Address=\($0.address)/\($0.prefixLength)" }
        lines += link.gateway.map { ["Gateway=\($0)"] } ?? []
        lines += link.dnsServers.map { "DNS=\($0)" }
        if !link.searchDomains.isEmpty { lines.append("Domains=\(link.searchDomains.joined(separator: " "))") }
        lines += link.ntpServers.map { "NTP=\($0)" }
        return head + section("Match", match(link)) + section("Link", mtu.map { ["MTUBytes=\($0)"] } ?? [])
            + section("Network", lines)
            // By the MAC address as client identifier, so that the lease is the one the firmware had.
            + section("DHCPv4", link.usesDHCP && bond == nil ? ["ClientIdentifier=mac", "UseHostname=no"] : [])
            + link.routes.map { section("Route", ["Destination=\($0.to)", "Gateway=\($0.via)"]) }.joined()
    }

    private static func match(_ link: NodeNetworkItem.Link) -> [String] {
        switch link.form {
        // Members of a bond bear the bond's address: only the permanent one tells them apart.
        case .card(.mac(let mac)): ["PermanentMACAddress=\(mac)"]
        case .card(.path(let path)): ["Path=\(path)", "Type=ether", "Kind=!*"]
        case .card(.name(let pattern)): ["Name=\(pattern)", "Type=ether", "Kind=!*"]
        case .bond: ["Name=\(link.name)", "Kind=bond"]
        case .vlan: ["Name=\(link.name)", "Kind=vlan"]
        }
    }

    private static func device(_ link: NodeNetworkItem.Link) -> String? {
        var lines = ["Name=\(link.name)"]
        let rest: String
        switch link.form {
        case .card: return nil
        case .bond(let bond):
            lines.append("Kind=bond")
            if let mac = bond.mac { lines.append("MACAddress=\(mac)") }
            var settings = ["Mode=\(bond.mode.rawValue)", "MIIMonitorSec=100ms"]
            if bond.mode == .lacp {
                settings += [
                    "LACPTransmitRate=\(bond.isFast ? "fast" : "slow")", "AdSelect=bandwidth",
                    "TransmitHashPolicy=layer3+4", "MinLinks=\(bond.minLinks)",
                ]
            }
            rest = section("Bond", settings)
        case .vlan(let id, _):
            lines.append("Kind=vlan")
            rest = section("VLAN", ["Id=\(id)"])
        }
        if let mtu = link.mtu { lines.append("MTUBytes=\(mtu)") }
        return head + section("NetDev", lines) + rest
    }

    /// A bond without an address of its own takes that of its first member, and not one that udev makes up.
    private static func linkFile(_ link: NodeNetworkItem.Link) -> String? {
        guard case .bond(let bond) = link.form, bond.mac == nil else { return nil }
        return head + section("Match", ["OriginalName=\(link.name)"]) + section("Link", ["MACAddressPolicy=none"])
    }
}
