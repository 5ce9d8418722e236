import ArgumentParser
import CatalogBareMetal
import ClientSDK
import FleetContract
import Primitives

struct BMCShow: FleetCommand {
    static let configuration = CommandConfiguration(
        commandName: "show", abstract: "Show all that is known of a BMC, and what its sensors tell.")

    @Argument(help: ArgumentHelp("The BMC's name in the site.", valueName: "bmc"))
    var name: String

    @OptionGroup(title: "Connection") var connection: ConnectionOptions

    func run(_ client: FleetClient, _ terminal: Terminal) async throws {
        let detail = try await client.bmc(name)
        if terminal.isJSON { return terminal.json(detail) }
        for line in Self.facts(detail).lines(for: terminal) { terminal.print(line) }
        guard let read = detail.sensorsRead, !detail.sensors.isEmpty else { return }
        terminal.print("")
        terminal.print("Sensors, read \(Ages.since(read, now: detail.time)) ago:")
        for line in Self.table(detail.sensors).lines(for: terminal) { terminal.print(line) }
    }

    static func facts(_ detail: BMCDetail) -> Facts {
        let bmc = detail.bmc
        let status = bmc.status
        var facts = Facts()
        facts.add("name", bmc.name, .bold)
        facts.add("address", bmc.address)
        facts.add("system", bmc.system)
        facts.add("user", bmc.username)
        let answers = status.isReachable ? "yes" : status.checked == nil ? "not asked yet" : "no"
        facts.add("answers", answers, status.isReachable ? .green : .red)
        facts.add("power", power(status, detail.time), status.power == .unknown ? .yellow : .plain)
        facts.add("what it says", status.lastError, .red)
        facts.add("certificate", certificate(bmc))
        facts.add(
            "it shows", status.refusedCertificate.map { "\($0.digest), since \($0.since); not trusted" }, .red)
        facts.add("password", password(bmc, detail.time))
        facts.add("its change", status.password?.failure, .red)
        facts.add("nodes", bmc.nodes.isEmpty ? "none yet" : bmc.nodes.joined(separator: ", "))
        facts.add("machine", status.model)
        facts.add("serial", status.serial)
        facts.add("UUID", status.systemUUID)
        facts.add("firmware", status.firmwareVersion)
        facts.add("ramdisk", ramdisk(bmc.boot))
        facts.add("discovers", bmc.powersOnForDiscovery ? "yes: a machine that is off and unknown is switched on" : nil)
        return facts
    }

    private static func certificate(_ bmc: BMCRecord) -> String? {
        guard bmc.address.hasPrefix("https://") else { return nil }
        if let digest = bmc.certificateDigest { return "\(digest), as the site file says" }
        if let approved = bmc.approvedCertificate {
            return "\(approved.digest), approved by \(approved.by), \(approved.at)"
        }
        return "one that the system's trust store vouches for"
    }

    private static func password(_ bmc: BMCRecord, _ now: Timestamp) -> String {
        let status = bmc.status.password
        let source =
            switch status?.source ?? .site {
            case .site: "the site file's"
            case .conductor: "the conductor's"
            }
        let last = status?.rotated.map { ", changed \(Ages.since($0, now: now)) ago" } ?? ""
        guard bmc.isPasswordChanging else { return source + last }
        if case .pending(let order, let since, _)? = status?.state {
            return
                "being changed for \(Ages.since(since, now: now)), as \(order.by) asked; until it is proved, the BMC takes "
                + "that one or \(source)"
        }
        let by = bmc.passwordOrder.map { ", as \($0.by) asked \(Ages.since($0.at, now: now)) ago" } ?? ""
        return "\(source)\(last); another one is waited for\(by)"
    }

    private static func ramdisk(_ way: BMC.BootWay?) -> String {
        switch way ?? .network {
        case .network: "from the network"
        case .http: "by a URL that UEFI firmware is given"
        case .media: "from virtual media"
        }
    }

    private static func power(_ status: BMC.Status, _ now: Timestamp) -> String {
        guard let since = status.powerSince else { return status.power.rawValue }
        return "\(status.power.rawValue) for \(Ages.since(since, now: now))"
    }

    static func table(_ sensors: [SensorReading]) -> Table {
        var table = Table([
            .init("SENSOR", priority: 1), .init("READING", priority: 1), .init("UNIT", priority: 2),
            .init("STATE", priority: 3),
        ])
        table.rows = sensors.map { sensor in
            [
                .init(sensor.name), .init(number(sensor.value)), .init(sensor.unit.rawValue),
                .init(sensor.isGood ? "good" : "not good", sensor.isGood ? .plain : .red),
            ]
        }
        return table
    }

    /// At most two digits after the point.
    private static func number(_ value: Double) -> String {
        guard abs(value) < 1e9 else { return "\(value)" }
        let hundredths = Int((value * 100).rounded())
        let (whole, rest) = (abs(hundredths) / 100, abs(hundredths) % 100)
        let sign = hundredths < 0 ? "-" : ""
        if rest == 0 { return "\(sign)\(whole)" }
        return "\(sign)\(whole)." + (rest % 10 == 0 ? "\(rest / 10)" : rest < 10 ? "0\(rest)" : "\(rest)")
    }
}
