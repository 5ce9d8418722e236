import AgentProtocol
import CatalogBareMetal
import FleetContract
import Primitives
import Yams

extension SiteFile {
    /// A network; nil when a value that it cannot be without is missing or wrong, which has been reported then.
    static func readNetwork(_ fields: FieldReader) -> SiteDocument.NetworkEntry? {
        let name = fields.requiredText("name")
        let plane = fields.required("plane") { (text) throws(InvalidValue) in try choice(text, "plane", Plane.self) }
        let network = fields.required("network") { (text) throws(InvalidValue) in try IPv4Network(text) }
        let pool = fields.has("pool") ? readPool(fields) : nil
        let gateway = fields.value("gateway", address)
        var hosts: [String: IPv4Address] = [:]
        if let entries = fields.fields("hosts") {
            for node in entries.allKeys() { hosts[node] = entries.value(node, address) }
        }
        fields.finish()
        guard let plane, let network else { return nil }
        return SiteDocument.NetworkEntry(
            name: name,
            spec: PlaneNetwork.Spec(
                plane: plane, network: network, poolStart: pool?.start, poolEnd: pool?.end, hosts: hosts,
                gateway: gateway))
    }

    static func readNodeNetwork(_ fields: FieldReader) -> SiteDocument.NodeNetworkEntry {
        func entries<Value>(_ key: String, _ read: (FieldReader) -> Value?) -> [Value] {
            fields.list(key, countMax: SiteLimit.linkCount).compactMap { entry in
                FieldReader(entry.node, path: entry.path, reading: fields.reading).flatMap(read)
            }
        }
        let name = fields.requiredText("name")
        let spec = NodeNetwork.Spec(
            interfaces: entries("interfaces", readInterface), bonds: entries("bonds", readBond),
            vlans: entries("vlans", readVLAN), addresses: entries("addresses", readAddress),
            routes: entries("routes", readRoute),
            dnsServers: fields.texts("dns", countMax: SiteLimit.serverCount).enumerated().compactMap { index, text in
                if let parsed = try? address(text) { return parsed }
                fields.reading.report(
                    "\(fields.path(of: "dns"))[\(index)]", nil, "expected an IPv4 address such as 10.77.0.1")
                return nil
            },
            searchDomains: fields.texts("search", countMax: SiteLimit.searchCount),
            ntpServers: fields.texts("ntp", countMax: SiteLimit.serverCount))
        fields.finish()
        return SiteDocument.NodeNetworkEntry(name: name, spec: spec)
    }

    private static func readInterface(_ fields: FieldReader) -> NodeNetwork.Interface? {
        let name = fields.requiredText("name")
        let mac = fields.value("mac") { (text) throws(InvalidValue) in try MACAddress(text) }
        let path = fields.text("path")
        let pattern = fields.text("match")
        let mtu = fields.value("mtu", number32)
        let matches: [NodeNetworkItem.CardMatch] = [
            mac.map { .mac($0) }, path.map { .path($0) }, pattern.map { .name($0) },
        ].compactMap(\.self)
        if matches.count != 1, fields.has("mac") == (mac != nil) {
            fields.reading.report(
                fields.path, nil,
                "give one of 'mac', 'path' (udev's ID_PATH, as in 'muster node inventory') and 'match' (the kernel's "
                    + "name with * and ?)")
        }
        fields.finish()
        return matches.count == 1 ? NodeNetwork.Interface(name: name, match: matches[0], mtu: mtu) : nil
    }

    private static func readBond(_ fields: FieldReader) -> NodeNetwork.Bond? {
        let name = fields.requiredText("name")
        let members = fields.texts("members", countMax: SiteLimit.memberCount)
        let mode = fields.required("mode") { (text) throws(InvalidValue) in
            try choice(text, "mode of a bond", NodeNetworkItem.Bond.Mode.self)
        }
        let primary = fields.text("primary")
        let minLinks = fields.integer("minLinks")
        let rate = fields.value("lacpRate") { (text) throws(InvalidValue) in
            guard text == "fast" || text == "slow" else {
                throw InvalidValue("LACP rate", text, expected: "fast (every second) or slow (every 30 seconds)")
            }
            return text
        }
        let mtu = fields.value("mtu", number32)
        if mode == .activeBackup {
            for (key, isGiven) in [("minLinks", minLinks != nil), ("lacpRate", rate != nil)] where isGiven {
                fields.reading.report(fields.path(of: key), nil, "is of 802.3ad only")
            }
        }
        fields.finish()
        return mode.map { mode in
            NodeNetwork.Bond(
                name: name,
                settings: NodeNetworkItem.Bond(
                    mode: mode, members: members, primary: primary, minLinks: minLinks ?? 1, isFast: rate != "slow"),
                mtu: mtu)
        }
    }

    private static func readVLAN(_ fields: FieldReader) -> NodeNetwork.VLAN? {
        let name = fields.requiredText("name")
        let id = fields.required("id") { (text) throws(InvalidValue) in
            guard let number = UInt16(text), (1...4094).contains(number) else {
                throw InvalidValue("VLAN number", text, expected: "1 to 4094")
            }
            return number
        }
        let over = fields.requiredText("over")
        let mtu = fields.value("mtu", number32)
        fields.finish()
        return id.map { NodeNetwork.VLAN(name: name, id: $0, over: over, mtu: mtu) }
    }

    private static func readAddress(_ fields: FieldReader) -> NodeNetwork.Address? {
        let on = fields.requiredText("on")
        let network = fields.requiredText("network")
        let source = fields.required("from") { (text) throws(InvalidValue) in
            try choice(text, "source of addresses", NodeNetwork.Address.Source.self)
        }
        fields.finish()
        return source.map { NodeNetwork.Address(on: on, network: network, source: $0) }
    }

    private static func readRoute(_ fields: FieldReader) -> NodeNetworkItem.Route? {
        let to = fields.required("to") { (text) throws(InvalidValue) in try IPv4Network(text) }
        let via = fields.required("via", address)
        fields.finish()
        guard let to, let via else { return nil }
        return NodeNetworkItem.Route(to: to, via: via)
    }

    private static func choice<Value: RawRepresentable & CaseIterable>(
        _ text: String, _ what: String, _ type: Value.Type
    ) throws(InvalidValue) -> Value where Value.RawValue == String {
        guard let value = Value(rawValue: text) else {
            let all = Value.allCases.map(\.rawValue).joined(separator: ", ")
            throw InvalidValue(what, text, expected: "one of \(all)")
        }
        return value
    }
}
