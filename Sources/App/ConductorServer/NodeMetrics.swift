import AgentProtocol
import Primitives
import Synchronization

/// The newest figures of each node, in memory only.
final class NodeMetrics: Sendable {
    private let reports = Mutex<[NodeID: (report: MetricsReport, received: Timestamp)]>([:])

    /// Figures older than this are not shown: a node that is gone has none.
    static let ageMax: Duration = .seconds(300)

    func take(_ report: MetricsReport, from node: NodeID, at now: Timestamp) {
        var bounded = report
        bounded.samples = Array(report.samples.prefix(MetricsReport.sampleCountMax))
        reports.withLock { $0[node] = (bounded, now) }
    }

    /// The nodes that have figures.
    func nodes(at now: Timestamp) -> [NodeID] {
        reports.withLock { reports in
            reports.filter { now.since($0.value.received) <= Self.ageMax }.map(\.key).sorted()
        }
    }

    /// Prometheus' text format (version 0.0.4); nil when the node has sent nothing lately.
    func text(for node: NodeID, name: String, at now: Timestamp) -> String? {
        guard let (report, received) = reports.withLock({ $0[node] }), now.since(received) <= Self.ageMax else {
            return nil
        }
        return PrometheusText.render(report.samples, labels: ["node": name])
    }
}

/// Prometheus' text format.
enum PrometheusText {
    /// One line a sample, grouped by name with a TYPE line; samples with a bad name are left out.
    static func render(_ samples: [MetricsReport.Sample], labels common: [String: String] = [:]) -> String {
        var groups: [String: [MetricsReport.Sample]] = [:]
        var order: [String] = []
        for sample in samples where isName(sample.name) && sample.labels.keys.allSatisfy(isName) {
            if groups[sample.name] == nil { order.append(sample.name) }
            groups[sample.name, default: []].append(sample)
        }
        var text = ""
        for name in order {
            let group = groups[name] ?? []
            text += "# TYPE \(name) \(group.first?.isCounter == true ? "counter" : "gauge")\n"
            for sample in group {
                let labels = sample.labels.merging(common) { $1 }.sorted { $0.key < $1.key }
                let list = labels.map { "\($0.key)=\"\(escape($0.value))\"" }.joined(separator: ",")
                text += "\(name)\(list.isEmpty ? "" : "{\(list)}") \(number(sample.value))\n"
            }
        }
        return text
    }

    private static func isName(_ text: String) -> Bool {
        guard let first = text.utf8.first, !(UInt8(ascii: "0")...UInt8(ascii: "9")).contains(first) else {
            return false
        }
        return text.utf8.count <= 200
            && text.utf8.allSatisfy { byte in
                switch byte {
                case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                    UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "_"), UInt8(ascii: ":"):
                    true
                default: false
                }
            }
    }

    private static func escape(_ text: String) -> String {
        var result = ""
        for character in text {
            switch character {
            case "\\": result += "\\\\"
            case "\"": result += "\\\""
            case "\n": result += "\\n"
            default: result.append(character)
            }
        }
        return result
    }

    private static func number(_ value: Double) -> String {
        if value.isNaN { return "NaN" }
        if value.isInfinite { return value > 0 ? "+Inf" : "-Inf" }
        if value == value.rounded(), abs(value) < 9e15 { return String(Int64(value)) }
        return "\(value)"
    }
}
