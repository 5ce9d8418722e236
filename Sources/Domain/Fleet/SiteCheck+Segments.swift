import CatalogBareMetal
import FleetContract
import Primitives

extension SiteCheck {
    mutating func segment(_ entry: SiteDocument.SegmentEntry, at path: String) {
        let spec = entry.spec
        reach(spec, at: path)
        if !(8...30).contains(spec.network.prefixLength) {
            report("\(path).network", "\(spec.network) must have a prefix length between 8 and 30")
        }
        pools(spec, at: path)
        reservations(spec, at: path)
        if let router = spec.router { host(router, of: spec.network, "\(path).router") }
        if spec.dnsServers.count > 3 { report("\(path).dns", "at most 3 servers are possible") }
        if spec.ntpServers.count > 3 { report("\(path).ntp", "at most 3 servers are possible") }
        if let domain = spec.domain {
            let labels = domain.split(separator: ".", omittingEmptySubsequences: false)
            if domain.utf8.count > 200 { report("\(path).domain", "has more than 200 characters") }
            for label in labels {
                check("\(path).domain") { () throws(InvalidValue) in _ = try DNSLabel(label, as: "part of a domain") }
            }
        }
        if let mtu = spec.mtu, !(576...9216).contains(mtu) {
            report("\(path).mtu", "\(mtu) is not between 576 and 9216")
        }
        count("\(path).routes", spec.routes.count, SiteLimit.routeCount)
        for (index, route) in spec.routes.enumerated() {
            host(route.via, of: spec.network, "\(path).routes[\(index)].via")
            if route.to.contains(spec.network.address) || spec.network.contains(route.to.address) {
                report("\(path).routes[\(index)].to", "\(route.to) overlaps with the segment's own network")
            }
        }
        if !(60...604_800).contains(spec.leaseTimeSeconds) {
            report("\(path).leaseTime", "\(spec.leaseTimeSeconds) is not between 60 and 604800 seconds")
        }
    }

    /// Interface, relays and the conductor's address.
    private mutating func reach(_ spec: Segment.Spec, at path: String) {
        if let interface = spec.interface {
            let isRight = interface.utf8.allSatisfy { byte in
                (0x21...0x7E).contains(byte) && !"/:\"'`\\%".utf8.contains(byte)
            }
            if !isRight || !(1...15).contains(interface.utf8.count) || [".", ".."].contains(interface) {
                report(
                    "\(path).interface",
                    "'\(interface.printable(limit: 80))' is not a valid interface name: expected "
                        + "1 to 15 printable characters without '/', ':', '%', quotes and blanks.")
            }
            host(spec.server, of: spec.network, "\(path).server")
        } else if spec.relays.isEmpty {
            report(path, "needs an 'interface' of the conductor, or 'relays'")
        } else if spec.network.contains(spec.server) {
            report(
                "\(path).server",
                "\(spec.server) is on the segment's own network; a segment that only relays reach needs the address "
                    + "of the conductor that these relays send to, or an 'interface'")
        }
        count("\(path).relays", spec.relays.count, SiteLimit.relayCount)
        for (index, relay) in spec.relays.enumerated() {
            if relay == spec.server || spec.relays.prefix(index).contains(relay) || relay == .any
                || relay == .broadcast
            {
                report(
                    "\(path).relays[\(index)]", "\(relay) is no relay's own address, or stands here twice")
            }
        }
    }

    private mutating func pools(_ spec: Segment.Spec, at path: String) {
        if spec.mode == .proxy {
            if !spec.pools.isEmpty || !spec.reservations.isEmpty {
                report(
                    "\(path).mode",
                    "in mode 'proxy' another server gives the addresses; take out pools and "
                        + "reservations, or the mode")
            }
            return
        }
        // The key that the file has; of a document that came another way it is close enough.
        let name = spec.pools.count > 1 ? "pools" : "pool"
        if spec.pools.isEmpty { report("\(path).pool", "is missing") }
        count("\(path).pools", spec.pools.count, SiteLimit.poolCount)
        var total: UInt64 = 0
        for (index, pool) in spec.pools.enumerated() {
            let place = spec.pools.count > 1 ? "\(path).pools[\(index)]" : "\(path).\(name)"
            host(pool.start, of: spec.network, place)
            host(pool.end, of: spec.network, place)
            guard pool.start <= pool.end else {
                report(place, "\(pool.start) comes after \(pool.end)")
                continue
            }
            if spec.network.contains(pool.start), spec.network.contains(pool.end) {
                total += UInt64(pool.end.value - pool.start.value) + 1
            }
            if pool.contains(spec.server) { report(place, "holds the server's own address \(spec.server)") }
            if let router = spec.router, pool.contains(router) { report(place, "holds the router's address \(router)") }
            for relay in spec.relays where pool.contains(relay) { report(place, "holds the relay's address \(relay)") }
            for other in spec.pools.prefix(index) where other.start <= pool.end && pool.start <= other.end {
                report(place, "overlaps with \(other.start)-\(other.end)")
            }
        }
        if total > 65_536 { report("\(path).\(name)", "holds \(total) addresses; at most 65536 are possible") }
    }

    private mutating func reservations(_ spec: Segment.Spec, at path: String) {
        count("\(path).reservations", spec.reservations.count, SiteLimit.reservationCount)
        var (macs, addresses, names) = ([MACAddress: Int](), [IPv4Address: Int](), [String: Int]())
        for (index, reservation) in spec.reservations.enumerated() {
            let place = "\(path).reservations[\(index)]"
            let address = reservation.address
            host(address, of: spec.network, "\(place).address")
            if address == spec.server || address == spec.router || spec.relays.contains(address) {
                report("\(place).address", "\(address) is the address of the server, the router or a relay")
            }
            if reservation.mac.isGroup || reservation.mac.value == 0 {
                report("\(place).mac", "\(reservation.mac) is no machine's own address")
            }
            if let first = macs.updateValue(index, forKey: reservation.mac) {
                report("\(place).mac", "\(reservation.mac) has the address of reservations[\(first)] already")
            }
            if let first = addresses.updateValue(index, forKey: address) {
                report("\(place).address", "\(address) is kept by reservations[\(first)] already")
            }
            guard let name = reservation.hostname else { continue }
            check("\(place).hostname") { () throws(InvalidValue) in _ = try DNSLabel(name, as: "host name") }
            if let first = names.updateValue(index, forKey: name) {
                report(
                    "\(place).hostname", "'\(name.printable(limit: 80))' is the name of reservations[\(first)] already")
            }
        }
    }

    mutating func overlaps(_ segments: [SiteDocument.SegmentEntry]) {
        for (index, entry) in segments.enumerated() {
            for (other, earlier) in segments.prefix(index).enumerated() {
                if let interface = entry.spec.interface, interface == earlier.spec.interface {
                    report("segments[\(index)].interface", "is the interface of segments[\(other)] already")
                }
                let (one, two) = (entry.spec.network, earlier.spec.network)
                if one.contains(two.address) || two.contains(one.address) {
                    report("segments[\(index)].network", "\(one) overlaps with \(two) of segments[\(other)]")
                }
            }
        }
    }
}
