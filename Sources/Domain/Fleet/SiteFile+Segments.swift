import CatalogBareMetal
import FleetContract
import Primitives
import Yams

extension SiteFile {
    /// A segment; nil when a value that it cannot be without is missing or wrong, which has been reported then.
    static func readSegment(_ fields: FieldReader) -> SiteDocument.SegmentEntry? {
        let name = fields.requiredText("name")
        let interface = fields.text("interface")
        let relays = readAddresses(fields, "relays", countMax: SiteLimit.relayCount)
        let mode = fields.value("mode", segmentMode)
        let network = fields.required("network") { (text) throws(InvalidValue) in try IPv4Network(text) }
        let server = fields.required("server", address)
        let pools = mode == .proxy && !fields.has("pool") && !fields.has("pools") ? [] : readPools(fields)
        let reservations = fields.list("reservations", countMax: SiteLimit.reservationCount).compactMap { entry in
            FieldReader(entry.node, path: entry.path, reading: fields.reading).flatMap(readReservation)
        }
        let router = fields.value("router", address)
        let dns = readAddresses(fields, "dns", countMax: 3)
        let ntp = readAddresses(fields, "ntp", countMax: 3)
        let domain = fields.text("domain")
        let mtu = fields.value("mtu") { (text) throws(InvalidValue) in
            guard let number = UInt16(text) else { throw InvalidValue("MTU", text, expected: "576 to 9216") }
            return number
        }
        let routes = fields.list("routes", countMax: SiteLimit.routeCount).compactMap { entry in
            FieldReader(entry.node, path: entry.path, reading: fields.reading).flatMap(readRoute)
        }
        let leaseTime = fields.value("leaseTime", SiteUnits.leaseTime)
        let secureBoot = fields.has("secureBoot") ? fields.flag("secureBoot") : nil
        fields.finish()
        if interface == nil, relays.isEmpty, !fields.has("interface"), !fields.has("relays") {
            fields.reading.report(
                fields.path, nil,
                "'interface' is missing; name the conductor's interface on the segment, or with 'relays' the DHCP "
                    + "relays that speak for it")
        }
        guard let network, let server, let pools else { return nil }
        var spec = Segment.Spec(
            interface: interface, relays: relays, mode: mode ?? .server, network: network, server: server,
            pools: pools, reservations: reservations, router: router, dnsServers: dns, ntpServers: ntp,
            domain: domain, mtu: mtu, routes: routes, leaseTimeSeconds: leaseTime ?? 3600)
        spec.secureBoot = secureBoot
        return SiteDocument.SegmentEntry(name: name, spec: spec)
    }

    private static func segmentMode(_ text: String) throws(InvalidValue) -> Segment.Mode {
        guard let mode = Segment.Mode(rawValue: text) else {
            throw InvalidValue("mode", text, expected: "server or proxy")
        }
        return mode
    }

    private static func readAddresses(_ fields: FieldReader, _ key: String, countMax: Int) -> [IPv4Address] {
        fields.list(key, countMax: countMax).compactMap { entry in
            guard case .scalar(let scalar) = entry.node, let parsed = try? address(scalar.string) else {
                fields.reading.report(entry.path, entry.node, "expected an IPv4 address such as 10.77.0.1")
                return nil
            }
            return parsed
        }
    }

    /// `pool: {start: A, end: B}`, `pool: A-B`, or several of these in a list `pools`.
    private static func readPools(_ fields: FieldReader) -> [Segment.AddressRange]? {
        if fields.has("pools") {
            if fields.has("pool") {
                _ = fields.node("pool")
                fields.reading.report(fields.path(of: "pools"), nil, "give either 'pool' or 'pools', not both")
            }
            let entries = fields.list("pools", countMax: SiteLimit.poolCount)
            if entries.isEmpty { fields.reading.report(fields.path(of: "pools"), nil, "at least one is needed") }
            let pools = entries.map { entry -> Segment.AddressRange? in
                guard case .scalar(let scalar) = entry.node else {
                    return FieldReader(entry.node, path: entry.path, reading: fields.reading).flatMap(readRange)
                }
                guard let pool = try? range(scalar.string) else {
                    fields.reading.report(
                        entry.path, entry.node, "expected two addresses, as in 10.77.0.50-10.77.0.99")
                    return nil
                }
                return pool
            }
            let right = pools.compactMap { $0 }
            return right.isEmpty || right.count < pools.count ? nil : right
        }
        if !fields.has("pool") { _ = fields.node("pools") }
        return readPool(fields).map { [$0] }
    }

    /// `pool: {start: A, end: B}` or `pool: A-B`.
    static func readPool(_ fields: FieldReader) -> Segment.AddressRange? {
        guard fields.has("pool") else {
            _ = fields.requiredText("pool")
            return nil
        }
        if case .scalar? = fields.node("pool") { return fields.value("pool", range) }
        return fields.fields("pool").flatMap(readRange)
    }

    private static func range(_ text: String) throws(InvalidValue) -> Segment.AddressRange {
        let ends = text.split(separator: "-", omittingEmptySubsequences: false)
            .map { $0.drop { $0 == " " }.split(separator: " ").first ?? "" }
        guard ends.count == 2, let start = try? address(String(ends[0])), let end = try? address(String(ends[1])) else {
            throw InvalidValue("pool", text, expected: "two addresses, as in 10.77.0.50-10.77.0.99")
        }
        return Segment.AddressRange(start: start, end: end)
    }

    private static func readRange(_ pool: FieldReader) -> Segment.AddressRange? {
        let start = pool.required("start", address)
        let end = pool.required("end", address)
        pool.finish()
        guard let start, let end else { return nil }
        return Segment.AddressRange(start: start, end: end)
    }

    private static func readReservation(_ fields: FieldReader) -> Segment.Reservation? {
        let mac = fields.required("mac") { (text) throws(InvalidValue) in try MACAddress(text) }
        let own = fields.required("address", address)
        let hostname = fields.text("hostname")
        fields.finish()
        guard let mac, let own else { return nil }
        return Segment.Reservation(mac: mac, address: own, hostname: hostname)
    }

    private static func readRoute(_ fields: FieldReader) -> Segment.Route? {
        let to = fields.required("to") { (text) throws(InvalidValue) in try IPv4Network(text) }
        let via = fields.required("via", address)
        fields.finish()
        guard let to, let via else { return nil }
        return Segment.Route(to: to, via: via)
    }
}
