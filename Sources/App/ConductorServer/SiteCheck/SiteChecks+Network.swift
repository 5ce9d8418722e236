import CatalogBareMetal
import FleetContract
import Primitives

/// Whether each segment's interface is there, up, and has the server's address.
struct InterfaceCheck: SiteCheck {
    static let name = "interface"

    func findings(_ site: SiteUnderCheck, _ around: CheckSurroundings) async -> [SiteCheckReply.Row] {
        let interfaces = around.interfaces()
        return site.segments.compactMap { segment in
            guard let interface = segment.interface else { return nil }
            guard let facts = interfaces[interface] else {
                let names = interfaces.keys.filter { $0 != "lo" }.sorted().prefix(12).joined(separator: ", ")
                return row(
                    segment.name, .failed(.interfaceMissing), "there is no interface '\(interface)'",
                    change: "correct 'interface' in the site file; there are \(names.isEmpty ? "none" : names)")
            }
            guard facts.isUp else {
                return row(
                    segment.name, .failed(.interfaceDown), "\(interface) is down",
                    change: "ip link set \(interface) up, and have the host's network configuration do so at boot")
            }
            guard facts.hasCarrier else {
                return row(
                    segment.name, .failed(.interfaceWithoutCarrier), "\(interface) has no carrier",
                    change: "look at the cable and at the switch's port")
            }
            guard let prefix = facts.addresses[segment.server] else {
                let have = facts.addresses.keys.sorted().map(\.description).joined(separator: ", ")
                return row(
                    segment.name, .failed(.serverAddressMissing),
                    "\(interface) does not have \(segment.server) but \(have.isEmpty ? "no address" : have)",
                    change:
                        "ip address add \(segment.server)/\(segment.network.prefixLength) dev \(interface), or correct "
                        + "'server' in the site file")
            }
            guard prefix == segment.network.prefixLength else {
                return row(
                    segment.name, .failed(.prefixLengthDiffers),
                    "\(interface) has \(segment.server)/\(prefix), the segment is "
                        + "\(segment.network)", change: "make the prefix length the same in both places")
            }
            return row(segment.name, .ok, "\(interface) is up with \(segment.server)/\(prefix)")
        }
    }
}

/// Whether packets of the size that machines and overlays use pass each segment's interface.
struct MTUCheck: SiteCheck {
    static let name = "MTU"
    /// What every machine that boots takes for granted (RFC 894).
    static let least = 1500
    /// What VXLAN puts around an Ethernet frame over IPv4 (RFC 7348 section 5): 14 + 20 + 8 + 8 bytes.
    static let overlayOverhead = 50

    func findings(_ site: SiteUnderCheck, _ around: CheckSurroundings) async -> [SiteCheckReply.Row] {
        let interfaces = around.interfaces()
        return site.segments.compactMap { segment in
            guard let interface = segment.interface, let mtu = interfaces[interface]?.mtu else { return nil }
            var wanted = (Self.least, "machines that boot")
            if let told = segment.mtu, told > wanted.0 { wanted = (told, "what machines are told") }
            if let overlay = site.site.overlay, Int(overlay.mtu) + Self.overlayOverhead > wanted.0 {
                wanted = (Int(overlay.mtu) + Self.overlayOverhead, "the overlay with its headers")
            }
            guard mtu >= wanted.0 else {
                return row(
                    segment.name, .failed(.mtuTooSmall),
                    "\(interface) has \(mtu), \(wanted.0) are needed for \(wanted.1)",
                    change: "ip link set \(interface) mtu \(wanted.0), and the same on the switch's port"
                        + (wanted.0 > Self.least ? "; or a smaller mtu in the site file" : ""))
            }
            return row(segment.name, .ok, "\(interface) has \(mtu)")
        }
    }
}

/// Whether the relays that speak for a segment can be reached.
struct RelayCheck: SiteCheck {
    static let name = "relay"

    func findings(_ site: SiteUnderCheck, _ around: CheckSurroundings) async -> [SiteCheckReply.Row] {
        var rows: [SiteCheckReply.Row] = []
        for segment in site.segments {
            for relay in segment.relays where !Task.isCancelled {
                switch await around.reach(relay) {
                case .answers: rows.append(row(segment.name, .ok, "\(relay) answers"))
                case .silent:
                    rows.append(
                        row(
                            segment.name, .failed(.relayDoesNotAnswer), "\(relay) does not answer a ping",
                            change: "look at the relay and at what filters between; answers to machines go to this "
                                + "address (giaddr), UDP port 67"))
                case .noRoute:
                    rows.append(
                        row(
                            segment.name, .failed(.relayWithoutRoute), "there is no route to \(relay)",
                            change: "add a route to it on the conductor's host, or correct 'relays' in the site file"))
                }
            }
        }
        return rows
    }
}

/// Whether the ports that the conductor needs are free or its own.
struct PortCheck: SiteCheck {
    static let name = "port"

    func findings(_ site: SiteUnderCheck, _ around: CheckSurroundings) async -> [SiteCheckReply.Row] {
        site.ports.map { port in
            let subject = "\(port.number)/\(port.transport.rawValue)"
            switch around.holder(port) {
            case .nobody: return row(subject, .ok, "\(port.what): free")
            case .ourselves: return row(subject, .ok, "\(port.what): the conductor's own")
            case .others(let program):
                let option = port.transport == .udp ? "-ulnp" : "-tlnp"
                return row(
                    subject, .failed(.portHeld), "\(port.what): \(program ?? "another program") has it",
                    change: "stop it, or have it leave the port; 'ss \(option) sport = :\(port.number)' shows it")
            }
        }
    }
}

/// Whether the clock is right: by the time servers that are named, and by the hardware's clock.
struct ClockCheck: SiteCheck {
    static let name = "clock"
    /// Above this, certificates and leases begin to go wrong.
    static let offsetMax: Duration = .seconds(1)
    /// A hardware clock drifts; above this it is wrong, and the host starts with it.
    static let hardwareOffsetMax: Duration = .seconds(60)
    /// No clock that is right shows an earlier time (2026-01-01).
    static let epoch = Timestamp(millisecondsSinceEpoch: 1_767_225_600_000)

    func findings(_ site: SiteUnderCheck, _ around: CheckSurroundings) async -> [SiteCheckReply.Row] {
        var rows = [hardware(around)]
        let own = unique((site.site.ntpServers ?? []) + site.segments.flatMap(\.ntpServers))
        let others = unique(site.nodeTimeServers).filter { !own.contains($0) }
        if own.isEmpty, others.isEmpty {
            rows.append(
                row(
                    "time servers", .warning(.timeServerNotNamed),
                    "none is named, so nobody vouches for the conductor's time",
                    change: "name some with 'ntp' in the site file, and let the host follow them"))
        }
        rows += await withTaskGroup(of: (Int, SiteCheckReply.Row).self) { group in
            for (index, server) in (own + others).prefix(16).enumerated() {
                group.addTask { (index, await finding(server, isOwn: index < own.count, around)) }
            }
            return await group.reduce(into: []) { $0.append($1) }.sorted { $0.0 < $1.0 }.map(\.1)
        }
        return rows
    }

    private func unique(_ names: [String]) -> [String] {
        var seen: Set<String> = []
        return names.filter { seen.insert($0).inserted }
    }

    private func hardware(_ around: CheckSurroundings) -> SiteCheckReply.Row {
        let now = around.clock.now
        guard now >= Self.epoch else {
            return row(
                "host", .failed(.hostClockWrong), "the host's clock shows \(now)",
                change: "set it: 'timedatectl set-ntp true', or by hand with 'date -s'")
        }
        guard let hardware = around.hardwareClock() else {
            return row("hardware clock", .skipped, "the host has none that can be read")
        }
        let off = hardware.since(now)
        guard magnitude(off) <= Self.hardwareOffsetMax else {
            return row(
                "hardware clock", .warning(.hardwareClockOff), "it shows \(hardware), the host's clock \(now)",
                change: "'hwclock --systohc --utc' sets it; change its battery if it comes back")
        }
        return row("hardware clock", .ok, "it agrees with the host's clock")
    }

    private func finding(_ server: String, isOwn: Bool, _ around: CheckSurroundings) async -> SiteCheckReply.Row {
        // A server that only nodes use need not be reachable from here.
        let bad = isOwn ? Finding.failed : Finding.warning
        let address: IPv4Address
        if let plain = try? IPv4Address(server) {
            address = plain
        } else if let found = await around.addresses(server).first {
            address = found
        } else {
            return row(
                server, bad(.timeServerUnknown), "the name has no IPv4 address",
                change: "correct it in the site file, or mend DNS")
        }
        let sent = around.clock.now
        do {
            let answer = try await around.ask(address, SNTP.port, SNTP.question(sent))
            let offset = try SNTP.offset(of: answer, sent: sent, received: around.clock.now)
            let text = "the host's clock is \(milliseconds(offset)) ms \(offset < .zero ? "ahead" : "behind")"
            guard magnitude(offset) <= Self.offsetMax else {
                return row(
                    server, .failed(.clockOff), text,
                    change: "let the host follow a time server ('timedatectl set-ntp true'), then 'hwclock --systohc'")
            }
            return row(server, .ok, text)
        } catch {
            return row(
                server, bad(.timeServerDoesNotAnswer), "no time from it: \(text(error))",
                change: "name a time server that answers on UDP port 123 from here")
        }
    }

    private func magnitude(_ duration: Duration) -> Duration { duration < .zero ? .zero - duration : duration }
    private func milliseconds(_ duration: Duration) -> Int64 { magnitude(duration).milliseconds }
}

/// Whether the name servers that machines are told answer.
struct DNSCheck: SiteCheck {
    static let name = "DNS"

    func findings(_ site: SiteUnderCheck, _ around: CheckSurroundings) async -> [SiteCheckReply.Row] {
        var asked: [(server: IPv4Address, name: String, isOwn: Bool)] = []
        for segment in site.segments {
            for server in segment.dnsServers where !asked.contains(where: { $0.server == server }) {
                asked.append((server, segment.domain ?? "", true))
            }
        }
        for server in site.nodeNameServers where !asked.contains(where: { $0.server == server }) {
            asked.append((server, "", false))
        }
        if asked.isEmpty { return [row("name servers", .skipped, "none is named")] }
        return await withTaskGroup(of: (Int, SiteCheckReply.Row).self) { group in
            for (index, one) in asked.prefix(32).enumerated() {
                group.addTask { (index, await finding(one.server, one.name, isOwn: one.isOwn, around)) }
            }
            return await group.reduce(into: []) { $0.append($1) }.sorted { $0.0 < $1.0 }.map(\.1)
        }
    }

    private func finding(
        _ server: IPv4Address, _ name: String, isOwn: Bool, _ around: CheckSurroundings
    ) async -> SiteCheckReply.Row {
        let number = UInt16.random(in: .min ... .max)
        let what = name.isEmpty ? "the root zone" : name
        do {
            let answer = try await around.ask(server, DNSQuestion.port, DNSQuestion.bytes(name, number: number))
            let code = try DNSQuestion.code(of: answer, number: number)
            guard code == 0 || code == 3 else {
                return row(
                    "\(server)", .failed(.nameServerRefuses), "it answers for \(what) with \(DNSQuestion.words(code))",
                    change: "let it serve the segment's machines, or name another in 'dns' of the site file")
            }
            return row("\(server)", .ok, "it answers for \(what)")
        } catch {
            return row(
                "\(server)", isOwn ? .failed(.nameServerDoesNotAnswer) : .warning(.nameServerDoesNotAnswer),
                "no answer for \(what): \(text(error))",
                change: "start it, let UDP port 53 through, or name another in 'dns' of the site file")
        }
    }
}

/// An error as people read it.
func text(_ error: any Error) -> String {
    (error as? any UserFacingError)?.publicMessage ?? "\(error)".printable(limit: 200)
}
