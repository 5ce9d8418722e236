import AgentProtocol
import LinuxSystem
import NodeAgent
import Primitives
import struct Crypto.SHA256

/// The controller role: HAProxy before the conductors' API, adopted and reloaded without losing a connection.
public actor ControllerRole: RoleModule {
    public nonisolated let role = Role.controller
    public nonisolated let itemKinds: Set<String> = [ProxyItem.kind]

    private let service: HAProxyService
    private let authority: String
    private let clock: any WallClock
    private var item: ProxyItem?
    private var unreadable: [String] = []
    /// Why the newest configuration is not in use.
    private var failure: String?

    /// A role whose proxy trusts the site's authority in the agent's directory.
    public init(directory: String = "/state/muster", clock: any WallClock = SystemWallClock()) {
        self.init(service: .ofNode(), authority: "\(directory)/ca.pem", clock: clock)
    }

    init(service: HAProxyService, authority: String, clock: any WallClock) {
        self.service = service
        self.authority = authority
        self.clock = clock
    }

    public func apply(_ items: [String: NodeView.Item]) -> NodeStatusReport.RoleStatus {
        (item, unreadable) = Self.read(items)
        failure = nil
        do throws(SystemError) {
            if let wanted = try wanted() {
                if service.runningMark != wanted.mark { try service.use(wanted.text, mark: wanted.mark) }
            } else if unreadable.isEmpty {
                try service.stop()
            }
        } catch {
            failure = error.publicMessage
        }
        return status()
    }

    public func check() -> NodeStatusReport.RoleStatus {
        do throws(SystemError) {
            if let wanted = try wanted() {
                let mark = service.runningMark
                if mark == wanted.mark {
                    failure = nil
                } else if failure == nil {
                    failure =
                        mark == nil
                        ? "HAProxy does not run; it is started within seconds."
                        : "HAProxy runs with another configuration; it is given its own within seconds."
                }
            }
        } catch {
            failure = error.publicMessage
        }
        return status()
    }

    public func metrics() -> [MetricsReport.Sample] {
        ProxyFigures.samples(item.flatMap { _ in readStatistics() })
    }

    /// The proxy that `items` hold, and what cannot be read.
    static func read(_ items: [String: NodeView.Item]) -> (ProxyItem?, [String]) {
        guard let (key, first) = items.min(by: { $0.key < $1.key }) else { return (nil, []) }
        guard items.count == 1 else { return (nil, ["The view holds \(items.count) proxies; one is possible."]) }
        guard let proxy = try? first.decode(ProxyItem.self) else {
            return (nil, ["'\(key.printable(limit: 80))' is not a proxy that this agent understands; upgrade it."])
        }
        return (proxy, [])
    }

    private func wanted() throws(SystemError) -> (text: String, mark: String)? {
        guard let item else { return nil }
        guard let pem = SystemFile.bytes(authority, limit: 1 << 20) else {
            throw SystemError("read \(authority)", errno: 0, detail: "the site's authority is missing")
        }
        let digest = Hex.encode(Array(SHA256.hash(data: pem)))
        do {
            return try HAProxyConfiguration.text(
                for: item, paths: .init(authority: authority, socket: service.socketPath), authorityDigest: digest)
        } catch {
            throw SystemError("configure HAProxy", errno: 0, detail: error.publicMessage)
        }
    }

    private func readStatistics() -> HAProxyStatistics? {
        guard service.master != nil else { return nil }
        return (try? HAProxySocket.ask("show stat", at: service.socketPath)).flatMap { HAProxyStatistics(csv: $0) }
    }

    // MARK: Status

    private func status() -> NodeStatusReport.RoleStatus {
        let now = clock.now
        func condition(_ type: String, _ problem: String?, _ fine: String) -> Condition {
            Condition(
                type: type, isTrue: problem == nil, message: (problem ?? fine).printable(limit: 1000), since: now)
        }
        let problem = unreadable.first ?? failure
        guard let item else {
            let condition = condition("ProxyReady", problem, "No proxy is asked for.")
            return NodeStatusReport.RoleStatus(role: role, isReady: condition.isTrue, conditions: [condition])
        }
        let servers = (readStatistics()?.rows ?? []).filter {
            $0.proxy == HAProxyConfiguration.backend && $0.service != "BACKEND"
        }
        let ready = condition("ProxyReady", problem, "HAProxy listens on port \(item.port).")
        let isAnyUp = servers.contains(where: \.isUp)
        let reachable = condition(
            "ConductorReachable",
            isAnyUp ? nil : "No conductor passes its check, so that nobody gets through: \(Self.list(servers)).",
            "At least one conductor passes its check.")
        let down = servers.filter { !$0.isUp }
        let all = condition(
            "ConductorsReachable",
            down.isEmpty && !servers.isEmpty
                ? nil : "\(down.count) of \(servers.count) conductors do not pass: \(Self.list(down)).",
            "Every conductor passes its check.")
        let facts = ProxyFacts(
            port: item.port,
            conductors: servers.map { row in
                ProxyFacts.Conductor(address: row.service, isUp: row.isUp, check: row.check)
            })
        return NodeStatusReport.RoleStatus(
            role: role, isReady: ready.isTrue && reachable.isTrue, conditions: [ready, reachable, all],
            facts: RoleFacts(proxy: facts))
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
            if row.service == "FRONTEND" {
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
