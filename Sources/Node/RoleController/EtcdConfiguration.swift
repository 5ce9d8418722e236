import AgentProtocol
import Primitives

/// The text of etcd's configuration file for a member (etcd 3.4, `--config-file`); pure.
enum EtcdMemberConfiguration {
    /// The whole configuration. Its mark leaves out what etcd reads at its first start only, so that a cluster that
    /// grows restarts nobody. The item has to be valid.
    static func text(
        for item: EtcdMemberItem, data: String, files: ServicePlaces.CertificateFiles?
    ) -> ServiceConfiguration {
        let scheme = files == nil ? "http" : "https"
        let peer = item.peerAddress.map { "\(scheme)://\($0)" } ?? ""
        let client = "\(scheme)://\(item.address):\(item.clientPort)"
        var lines = [
            "name: \(quoted(item.name))",
            "data-dir: \(quoted(data))",
            "listen-peer-urls: \(quoted(peer))",
            "listen-client-urls: \(quoted(client))",
            "listen-metrics-urls: \(quoted("http://127.0.0.1:\(item.metricsPort)"))",
            "initial-advertise-peer-urls: \(quoted(peer))",
            "advertise-client-urls: \(quoted(client))",
            "snapshot-count: \(item.snapshotCount)",
            "heartbeat-interval: \(item.heartbeatMilliseconds)",
            "election-timeout: \(item.electionMilliseconds)",
            "quota-backend-bytes: \(item.quota.bytes)",
            "# One that was away asks before it disturbs the others with an election.",
            "pre-vote: true",
            "strict-reconfig-check: true",
            "enable-v2: false",
            "logger: zap",
            "log-outputs: [stderr]",
        ]
        if let files { lines.append("# The store's authority: \(files.authorityDigest)") }
        for name in ["client", "peer"] {
            guard let files else { break }
            lines += [
                "\(name)-transport-security:",
                "  trusted-ca-file: \(quoted(files.authority))",
                "  cert-file: \(quoted(files.certificate))",
                "  key-file: \(quoted(files.key))",
                "  client-cert-auth: true",
            ]
        }
        let mark = ServiceConfiguration.mark(of: lines.joined(separator: "\n"))
        let cluster = item.cluster.map { "\($0.name)=\(scheme)://\($0.address)" }.joined(separator: ",")
        let first = [
            "# Read when the data is empty, and never again.",
            "initial-cluster: \(quoted(cluster))",
            "initial-cluster-state: \(item.founding.rawValue)",
            "initial-cluster-token: \(quoted(item.token))",
        ]
        let head = ["# Made by Muster's controller role; changes are overwritten.", "# \(mark)"]
        return ServiceConfiguration(text: (head + lines + first).joined(separator: "\n") + "\n", mark: mark)
    }

    /// In YAML's double quotes; names, addresses and paths have nothing in them that these would change.
    private static func quoted(_ text: String) -> String { "\"\(text)\"" }
}

/// Figures in the text form of Prometheus, as etcd gives them; read whatever they are.
struct EtcdFigures: Hashable, Sendable {
    private var values: [String: Double] = [:]
    /// The member's identifier, in hexadecimal.
    var member: String?

    /// The most lines that are read.
    private static let lineCountMax = 20_000

    init(text: [UInt8]) {
        for line in text.split(separator: UInt8(ascii: "\n")).prefix(Self.lineCountMax) {
            guard line.starts(with: Array("etcd_".utf8)), line.count < 500 else { continue }
            let line = String(decoding: line, as: UTF8.self)
            guard let blank = line.lastIndex(of: " "), let value = Double(line[line.index(after: blank)...]) else {
                continue
            }
            let name = String(line[..<blank])
            let prefix = "etcd_server_id{server_id=\""
            if name.hasPrefix(prefix) {
                let digits = name.dropFirst(prefix.count).prefix { $0.isHexDigit }
                if !digits.isEmpty, digits.count <= 16, value == 1 { member = String(digits) }
            } else if !name.contains("{") {
                values[name] = value
            }
        }
    }

    /// The value of a figure without labels.
    subscript(name: String) -> Double? { values[name] }

    /// What the member is in its cluster.
    var part: ControllerFacts.Etcd.Part {
        if values["etcd_server_is_learner"] == 1 { return .learner }
        guard values["etcd_server_has_leader"] == 1 else { return .unknown }
        return values["etcd_server_is_leader"] == 1 ? .leader : .follower
    }

    /// A count of bytes; 0 for what is none.
    func bytes(_ name: String) -> ByteCount {
        ByteCount(bytes: values[name].flatMap { UInt64(exactly: $0.rounded(.down)) } ?? 0)
    }
}
