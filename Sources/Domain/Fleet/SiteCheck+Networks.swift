import AgentProtocol
import CatalogBareMetal
import FleetContract
import Primitives

extension SiteCheck {
    mutating func networks(_ document: SiteDocument) {
        let networks = document.networks ?? []
        let templates = document.nodeNetworks ?? []
        count("networks", networks.count, SiteLimit.networkCount)
        count("nodeNetworks", templates.count, SiteLimit.networkCount)
        names("networks", networks.map(\.name))
        names("nodeNetworks", templates.map(\.name))
        for (index, entry) in networks.enumerated() {
            let path = "networks[\(index)]"
            network(entry.spec, at: path)
            for (other, earlier) in networks.prefix(index).enumerated()
            where Self.overlap(entry.spec.network, earlier.spec.network) {
                report(
                    "\(path).network",
                    "\(entry.spec.network) overlaps with \(earlier.spec.network) of networks[\(other)]")
            }
            for segment in document.segments { shared(entry.spec, with: segment, at: path) }
        }
        let byName = Dictionary(networks.map { ($0.name, $0.spec) }, uniquingKeysWith: { first, _ in first })
        for (index, entry) in templates.enumerated() {
            var check = NodeNetworkCheck(
                spec: entry.spec, networks: byName, path: "nodeNetworks[\(index)]", overlay: document.site.overlay)
            check.run()
            for problem in check.problems { report(problem.path, problem.message) }
        }
        if let seconds = document.site.networkConfirmSeconds, !NodeNetworkItem.confirmRange.contains(seconds) {
            report("site.networkConfirmSeconds", "\(seconds) is not between 10 and 600")
        }
        timeServers(document.site.ntpServers ?? [], at: "site.ntp")
        for (index, entry) in templates.enumerated() {
            timeServers(entry.spec.ntpServers, at: "nodeNetworks[\(index)].ntp")
        }
    }

    private mutating func timeServers(_ servers: [String], at path: String) {
        count(path, servers.count, SiteLimit.serverCount)
        for (index, server) in servers.enumerated() where !Self.isHost(server) {
            report(
                "\(path)[\(index)]",
                "'\(server.printable(limit: 80))' is not a time server: expected an IPv4 address or a host name")
        }
    }

    /// Whether `text` is an IPv4 address or a host name of DNS labels.
    static func isHost(_ text: String) -> Bool {
        if (try? IPv4Address(text)) != nil { return true }
        let labels = text.split(separator: ".", omittingEmptySubsequences: false)
        let isNumber = labels.last?.allSatisfy(\.isNumber) ?? true
        return text.utf8.count <= SiteLimit.textLength && !isNumber
            && labels.allSatisfy { (try? DNSLabel($0.lowercased())) != nil }
    }

    private static func overlap(_ one: IPv4Network, _ two: IPv4Network) -> Bool {
        one.contains(two.address) || two.contains(one.address)
    }

    private mutating func network(_ spec: PlaneNetwork.Spec, at path: String) {
        if !(8...30).contains(spec.network.prefixLength) {
            report("\(path).network", "\(spec.network) must have a prefix length between 8 and 30")
        }
        if let start = spec.poolStart, let end = spec.poolEnd {
            host(start, of: spec.network, "\(path).pool")
            host(end, of: spec.network, "\(path).pool")
            if start > end {
                report("\(path).pool", "\(start) comes after \(end)")
            } else if end.value - start.value >= UInt32(SiteLimit.poolSize) {
                report("\(path).pool", "has more than \(SiteLimit.poolSize) addresses")
            }
            if let gateway = spec.gateway, start <= gateway, gateway <= end {
                report("\(path).pool", "holds the gateway's address \(gateway)")
            }
        }
        if let gateway = spec.gateway { host(gateway, of: spec.network, "\(path).gateway") }
        count("\(path).hosts", spec.hosts.count, SiteLimit.hostCount)
        var owners: [IPv4Address: String] = [:]
        for (name, address) in spec.hosts.sorted(by: { $0.key < $1.key }) {
            let place = "\(path).hosts.\(name.printable(limit: 80))"
            check(place) { () throws(InvalidValue) in _ = try DNSLabel(name, as: "node name") }
            host(address, of: spec.network, place)
            if address == spec.gateway { report(place, "\(address) is the gateway's address") }
            if let other = owners[address] { report(place, "\(address) is the address of '\(other)' already") }
            owners[address] = name
        }
    }

    /// A network may be a segment's own, so that nodes have addresses of their own on it: but not the same ones.
    private mutating func shared(
        _ spec: PlaneNetwork.Spec, with segment: SiteDocument.SegmentEntry, at path: String
    ) {
        guard Self.overlap(spec.network, segment.spec.network) else { return }
        guard spec.network == segment.spec.network else {
            report(
                "\(path).network",
                "\(spec.network) overlaps with \(segment.spec.network) of the segment '\(segment.name)'; make them the "
                    + "same or apart")
            return
        }
        let pools = segment.spec.pools
        if let start = spec.poolStart, let end = spec.poolEnd {
            for pool in pools where start <= pool.end && pool.start <= end {
                report(
                    "\(path).pool",
                    "overlaps with the pool of the segment '\(segment.name)', \(pool.start)-\(pool.end)")
            }
            if start <= segment.spec.server, segment.spec.server <= end {
                report("\(path).pool", "holds the conductor's own address \(segment.spec.server)")
            }
        }
        for (name, address) in spec.hosts.sorted(by: { $0.key < $1.key }) {
            if pools.contains(where: { $0.contains(address) }) {
                report("\(path).hosts.\(name)", "\(address) is in the pool of the segment '\(segment.name)'")
            } else if address == segment.spec.server {
                report("\(path).hosts.\(name)", "\(address) is the conductor's own address")
            }
        }
    }
}

/// Holds one node network against itself and the site's networks.
struct NodeNetworkCheck {
    let spec: NodeNetwork.Spec
    let networks: [String: PlaneNetwork.Spec]
    let path: String
    let overlay: Site.Spec.Overlay?
    private(set) var problems: [SiteProblem] = []

    /// The MTU of what has none of its own.
    private static let mtuDefault: UInt32 = 1500
    private static let mtuRange: ClosedRange<UInt32> = 576...9216
    /// What names of ours must not begin with: the kernel, udev and the roles give such names.
    private static let reserved = ["eth", "en", "wl", "ww", "lo", "mbr", "mvx", "veth", "tap", "docker", "virbr"]

    init(spec: NodeNetwork.Spec, networks: [String: PlaneNetwork.Spec], path: String, overlay: Site.Spec.Overlay?) {
        self.spec = spec
        self.networks = networks
        self.path = path
        self.overlay = overlay
    }

    private mutating func report(_ place: String, _ message: String) {
        problems.append(SiteProblem(path: "\(path).\(place)", message: message))
    }

    mutating func run() {
        names()
        cards()
        bonds()
        vlans()
        addresses()
        routes()
        if spec.dnsServers.count > SiteLimit.serverCount {
            report("dns", "at most \(SiteLimit.serverCount) servers are possible")
        }
        for (index, domain) in spec.searchDomains.enumerated() where !SiteCheck.isHost(domain) {
            report("search[\(index)]", "'\(domain.printable(limit: 80))' is not a domain")
        }
    }

    // MARK: Interfaces

    private mutating func names() {
        var seen: [String: String] = [:]
        let all =
            spec.interfaces.enumerated().map { ($1.name, "interfaces[\($0)].name", false) }
            + spec.bonds.enumerated().map { ($1.name, "bonds[\($0)].name", true) }
            + spec.vlans.enumerated().map { ($1.name, "vlans[\($0)].name", true) }
        if all.count > SiteLimit.linkCount { report("interfaces", "more than \(SiteLimit.linkCount) interfaces") }
        for (name, place, isMade) in all {
            let isPlain = name.utf8.allSatisfy { byte in
                switch byte {
                case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"),
                    UInt8(ascii: "."), UInt8(ascii: "_"):
                    true
                default: false
                }
            }
            if !(1...15).contains(name.utf8.count) || !isPlain || name.hasPrefix(".") || name.hasPrefix("-") {
                report(
                    place,
                    "'\(name.printable(limit: 80))' is not an interface name: expected 1 to 15 of a-z, 0-9, '.', '_' "
                        + "and '-', beginning with a letter or a digit")
            } else if isMade, let taken = Self.reserved.first(where: name.hasPrefix) {
                report(place, "'\(name)' begins like names that are given by others (\(taken)…); choose another")
            }
            if let first = seen[name] { report(place, "'\(name.printable(limit: 80))' is \(first) already") }
            seen[name] = place
        }
    }

    private mutating func cards() {
        var seen: [NodeNetworkItem.CardMatch: Int] = [:]
        for (index, card) in spec.interfaces.enumerated() {
            let place = "interfaces[\(index)]"
            if let first = seen[card.match] { report(place, "is the same card as interfaces[\(first)]") }
            seen[card.match] = index
            mtu(card.mtu, at: place)
            switch card.match {
            case .mac(let mac):
                if mac.isGroup { report("\(place).mac", "\(mac) is a group address, which no card has") }
            case .path(let text), .name(let text):
                let isSafe = text.utf8.allSatisfy { (0x21...0x7E).contains($0) && !"\"'`\\=#!;".utf8.contains($0) }
                if !isSafe || !(1...100).contains(text.utf8.count) {
                    report(place, "'\(text.printable(limit: 80))' is not a path or pattern of an interface")
                }
            }
        }
    }

    private mutating func mtu(_ mtu: UInt32?, at place: String) {
        if let mtu, !Self.mtuRange.contains(mtu) {
            report("\(place).mtu", "\(mtu) is not between \(Self.mtuRange.lowerBound) and \(Self.mtuRange.upperBound)")
        }
    }

    private mutating func bonds() {
        var owners: [String: String] = [:]
        for (index, bond) in spec.bonds.enumerated() {
            let place = "bonds[\(index)]"
            mtu(bond.mtu, at: place)
            let settings = bond.settings
            if settings.members.isEmpty { report("\(place).members", "a bond needs at least one member") }
            for (number, member) in settings.members.enumerated() {
                let where_ = "\(place).members[\(number)]"
                guard let card = spec.interfaces.first(where: { $0.name == member }) else {
                    report(where_, "'\(member.printable(limit: 80))' is not one of 'interfaces'")
                    continue
                }
                if let other = owners[member] { report(where_, "'\(member)' is a member of '\(other)' already") }
                owners[member] = bond.name
                if let own = card.mtu, own != bond.mtu ?? Self.mtuDefault {
                    report(
                        where_,
                        "'\(member)' has the MTU \(own) and its bond \(bond.mtu ?? Self.mtuDefault); leave that of the "
                            + "member out, it follows its bond")
                }
            }
            if let primary = settings.primary {
                if settings.mode != .activeBackup { report("\(place).primary", "is of active-backup only") }
                if !settings.members.contains(primary) {
                    report("\(place).primary", "'\(primary.printable(limit: 80))' is not a member")
                }
            }
            // A pattern may stand for any number of cards.
            let isCounted = spec.interfaces.allSatisfy { card in
                if case .name = card.match { !settings.members.contains(card.name) } else { true }
            }
            if settings.minLinks < 1 || isCounted && settings.minLinks > max(1, settings.members.count) {
                report("\(place).minLinks", "\(settings.minLinks) is not between 1 and the number of members")
            }
        }
    }

    private func bond(of member: String) -> String? {
        spec.bonds.first { $0.settings.members.contains(member) }?.name
    }

    private mutating func vlans() {
        var seen: [String: Int] = [:]
        for (index, vlan) in spec.vlans.enumerated() {
            let place = "vlans[\(index)]"
            mtu(vlan.mtu, at: place)
            if !(1...4094).contains(vlan.id) { report("\(place).id", "\(vlan.id) is not between 1 and 4094") }
            let over = vlan.over.printable(limit: 80)
            if vlan.over == vlan.name {
                report("\(place).over", "'\(over)' would stand on itself")
            } else if spec.vlans.contains(where: { $0.name == vlan.over }) {
                report("\(place).over", "'\(over)' is a VLAN itself; a VLAN stands on an interface or a bond")
            } else if let bond = bond(of: vlan.over) {
                report("\(place).over", "'\(over)' is a member of '\(bond)'; let the VLAN stand on the bond")
            } else if let base = base(vlan.over) {
                let own = vlan.mtu ?? base ?? Self.mtuDefault
                if own > base ?? Self.mtuDefault {
                    report("\(place).mtu", "\(own) is more than the MTU of '\(over)', \(base ?? Self.mtuDefault)")
                }
                if case .name? = spec.interfaces.first(where: { $0.name == vlan.over })?.match {
                    report("\(place).over", "'\(over)' may fit several cards; name one by 'mac' or 'path'")
                }
            } else {
                report("\(place).over", "'\(over)' is neither one of 'interfaces' nor of 'bonds'")
            }
            let key = "\(vlan.id) of \(vlan.over)"
            if let first = seen[key] { report(place, "is the same VLAN as vlans[\(first)]") }
            seen[key] = index
        }
    }

    /// The MTU of the interface or bond `name`, which may have none of its own; nil: there is no such.
    private func base(_ name: String) -> UInt32?? {
        if let card = spec.interfaces.first(where: { $0.name == name }) { return .some(card.mtu) }
        if let bond = spec.bonds.first(where: { $0.name == name }) { return .some(bond.mtu) }
        return nil
    }

    /// The MTU of any interface here.
    private func effectiveMTU(_ name: String) -> UInt32 {
        if let vlan = spec.vlans.first(where: { $0.name == name }) {
            return vlan.mtu ?? (base(vlan.over) ?? nil) ?? Self.mtuDefault
        }
        return (base(name) ?? nil) ?? Self.mtuDefault
    }

    // MARK: Addresses

    private mutating func addresses() {
        if spec.addresses.isEmpty { report("addresses", "without any address no node could be reached") }
        var seen: [String: Int] = [:]
        var gateways: [String] = []
        for (index, entry) in spec.addresses.enumerated() {
            let place = "addresses[\(index)]"
            let on = entry.on.printable(limit: 80)
            if let bond = bond(of: entry.on) {
                report("\(place).on", "'\(on)' is a member of '\(bond)' and has no address of its own")
            } else if base(entry.on) == nil, !spec.vlans.contains(where: { $0.name == entry.on }) {
                report("\(place).on", "'\(on)' is not one of the interfaces, bonds and VLANs here")
            }
            if let first = seen[entry.network] {
                report("\(place).network", "the network is that of addresses[\(first)] already")
            }
            seen[entry.network] = index
            guard let network = networks[entry.network] else {
                let known = networks.keys.sorted().prefix(20).joined(separator: ", ")
                report(
                    "\(place).network",
                    "'\(entry.network.printable(limit: 80))' is not one of 'networks'; "
                        + (known.isEmpty ? "there are none" : "there are \(known)"))
                continue
            }
            if network.plane == .underlay, let overlay, overlay.mtu + 50 > effectiveMTU(entry.on) {
                report(
                    "\(place).on",
                    "'\(on)' carries tunnels with the MTU \(effectiveMTU(entry.on)); the overlay's, \(overlay.mtu), "
                        + "needs 50 bytes more than itself")
            }
            guard entry.source == .pool else { continue }
            if network.poolStart == nil, network.hosts.isEmpty {
                report("\(place).from", "'\(entry.network)' has neither a pool nor hosts")
            }
            if case .name? = spec.interfaces.first(where: { $0.name == entry.on })?.match {
                report("\(place).on", "'\(on)' may fit several cards, which cannot all have one address")
            }
            if network.gateway != nil { gateways.append(entry.network) }
        }
        if gateways.count > 1 {
            report("addresses", "\(gateways.joined(separator: " and ")) both have a gateway; keep one, add 'routes'")
        }
    }

    private mutating func routes() {
        let used = spec.addresses.compactMap { networks[$0.network] }
        for (index, route) in spec.routes.enumerated() {
            let place = "routes[\(index)]"
            if !used.contains(where: { $0.network.contains(route.via) }) {
                report("\(place).via", "\(route.via) is in none of the networks that this has an address in")
            }
            if route.to.contains(route.via) && route.to.prefixLength > 0 {
                report("\(place).to", "\(route.to) holds its own router \(route.via)")
            }
            if route.to.prefixLength == 0, used.contains(where: { $0.gateway != nil }) {
                report("\(place).to", "there is a gateway already")
            }
            if let first = spec.routes.prefix(index).firstIndex(where: { $0.to == route.to }) {
                report("\(place).to", "\(route.to) is the aim of routes[\(first)] already")
            }
        }
    }
}
