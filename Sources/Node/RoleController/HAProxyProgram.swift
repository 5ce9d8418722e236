import AgentProtocol
import Glibc
import LinuxSystem
import Primitives
import ProgramRuns
import struct Crypto.SHA256

/// HAProxy in master-worker mode. It tells nobody when it has taken a configuration over, so its socket is asked until
/// it has; no connection is lost by that.
struct HAProxyProgram: ControllerProgram {
    let title = "HAProxy"
    let conditionType = "ProxyReady"
    var service: AdoptedService
    /// Where the configuration is kept.
    let directory: String
    /// The site's authority, which the conductors' certificates are checked against.
    let authority: String

    init(places: ServicePlaces) {
        directory = "\(places.directory)/haproxy"
        authority = places.authority
        let (configuration, runtime) = ("\(directory)/haproxy.cfg", "\(places.runtime)/haproxy")
        service = AdoptedService(
            title: title, program: "/usr/sbin/haproxy",
            arguments: ["-W", "-D", "-f", configuration, "-p", "\(runtime)/pid"], sign: configuration, runtime: runtime,
            unit: places.unit("haproxy"), detaches: true)
    }

    var configurationPath: String { "\(directory)/haproxy.cfg" }
    /// The socket for statistics.
    var socketPath: String { "\(service.runtime)/stats.sock" }

    var runningMark: String? {
        guard service.process != nil, let answer = try? HAProxySocket.ask("show info", at: socketPath) else {
            return nil
        }
        let lines = String(decoding: answer, as: UTF8.self).split(separator: "\n")
        return lines.first { $0.hasPrefix("description: ") }.map { String($0.dropFirst("description: ".count)) }
    }

    func configuration(for item: ProxyItem) throws(SystemError) -> ServiceConfiguration {
        guard let pem = SystemFile.bytes(authority, limit: 1 << 20) else {
            throw SystemError("read \(authority)", errno: 0, detail: "the site's authority is missing")
        }
        return HAProxyConfiguration.text(
            for: item, paths: .init(authority: authority, socket: socketPath),
            authorityDigest: Hex.encode(Array(SHA256.hash(data: pem))))
    }

    /// A text that HAProxy refuses is not used, and what ran goes on as it was.
    func use(_ configuration: ServiceConfiguration) throws(SystemError) {
        try service.makeFolders([directory])
        if SystemFile.bytes(configurationPath, limit: 1 << 20) != Array(configuration.text.utf8) {
            let candidate = "\(configurationPath).candidate"
            try SystemFile.replace(candidate, content: Array(configuration.text.utf8), mode: 0o600)
            defer { unlink(candidate) }
            let check = try ProgramRun(service.program, ["-c", "-f", candidate]).outcome()
            guard check.status == 0 else {
                throw SystemError(
                    "use the new configuration (what ran before goes on)", errno: 0,
                    detail: AdoptedService.alerts(check))
            }
            guard rename(candidate, configurationPath) == 0 else {
                throw SystemError("write \(configurationPath)", errno: errno)
            }
        }
        if service.process != nil { try service.signal(SIGUSR2, to: "reload") } else { try service.start() }
        let seconds = service.patience.components.seconds
        try service.wait(
            service.process == nil ? "start" : "reload",
            detail: "it has not taken its configuration over after \(seconds) s; another program may have its port. "
                + "See its messages: journalctl -u muster-haproxy"
        ) { runningMark == configuration.mark }
    }

    func stop() throws(SystemError) {
        try service.stop()
        // So that systemd does not start it at the next boot.
        unlink(configurationPath)
    }

    private func readStatistics() -> HAProxyStatistics? {
        guard service.process != nil else { return nil }
        return (try? HAProxySocket.ask("show stat", at: socketPath)).flatMap { HAProxyStatistics(csv: $0) }
    }

    func samples(of item: ProxyItem) -> [MetricsReport.Sample] { ProxyFigures.samples(readStatistics()) }

    func look(at item: ProxyItem) -> ServiceSight {
        let rows = readStatistics()?.rows ?? []
        func servers(of backend: String) -> [HAProxyStatistics.Row] {
            rows.filter { $0.proxy == backend && $0.service != "BACKEND" && $0.service != "FRONTEND" }
        }
        let conductors = servers(of: HAProxyConfiguration.backend)
        let down = conductors.filter { !$0.isUp }
        var sight = ServiceSight(fine: "HAProxy listens on port \(item.port).")
        sight.conditions = [
            (
                "ConductorReachable",
                conductors.contains(where: \.isUp)
                    ? nil
                    : "No conductor passes its check, so that nobody gets through: \(Self.list(conductors)).",
                "At least one conductor passes its check."
            ),
            (
                "ConductorsReachable",
                down.isEmpty && !conductors.isEmpty
                    ? nil : "\(down.count) of \(conductors.count) conductors do not pass: \(Self.list(down)).",
                "Every conductor passes its check."
            ),
        ]
        sight.needed = ["ConductorReachable"]
        if let passes = item.passes, !passes.isEmpty {
            let shut = passes.map(\.name).filter { name in !servers(of: "\(name)-servers").contains(where: \.isUp) }
            sight.conditions.append(
                (
                    "PassesReachable",
                    shut.isEmpty ? nil : "Nobody gets through to: \(shut.joined(separator: ", ")).",
                    "Every port that is passed on has a server that takes connections."
                ))
        }
        sight.facts.proxy = ProxyFacts(
            port: item.port,
            conductors: conductors.map { row in
                ProxyFacts.Conductor(address: row.service, isUp: row.isUp, check: row.check)
            })
        return sight
    }

    private static func list(_ rows: [HAProxyStatistics.Row]) -> String {
        rows.isEmpty ? "HAProxy tells of none" : rows.map { "\($0.service) (\($0.check))" }.joined(separator: ", ")
    }
}

/// The figures of the proxy.
enum ProxyFigures {
    /// Six figures a conductor and two of the front end; none without statistics.
    static func samples(_ statistics: HAProxyStatistics?) -> [MetricsReport.Sample] {
        var samples = [MetricsReport.Sample(name: "muster_controller_proxy_up", value: statistics == nil ? 0 : 1)]
        for row in statistics?.rows ?? [] {
            func add(_ name: String, _ labels: [String: String], _ value: UInt64, isCounter: Bool = true) {
                samples.append(
                    MetricsReport.Sample(
                        name: "muster_controller_\(name)", labels: labels, value: Double(value), isCounter: isCounter))
            }
            if row.service == "FRONTEND", row.proxy == HAProxyConfiguration.frontend {
                add("proxy_connections", [:], row.sessions, isCounter: false)
                add("proxy_connections_total", [:], row.sessionsTotal)
            } else if row.proxy == HAProxyConfiguration.backend, row.service != "BACKEND" {
                let labels = ["conductor": row.service]
                add("backend_up", labels, row.isUp ? 1 : 0, isCounter: false)
                add("backend_connections", labels, row.sessions, isCounter: false)
                add("backend_connections_total", labels, row.sessionsTotal)
                add("backend_received_bytes_total", labels, row.bytesOut)
                add("backend_sent_bytes_total", labels, row.bytesIn)
                add("backend_connect_errors_total", labels, row.connectErrors)
            }
        }
        return samples
    }
}
