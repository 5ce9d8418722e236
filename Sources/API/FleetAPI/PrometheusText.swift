import AgentProtocol

/// Prometheus' text format, version 0.0.4 (prometheus.io, "Exposition formats").
public enum PrometheusText {
    /// One line a sample, grouped by name under a TYPE line; samples with a name or label that is none are left out.
    public static func render(_ samples: [MetricsReport.Sample], labels common: [String: String] = [:]) -> String {
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
        guard let first = text.utf8.first, !(UInt8(ascii: "0")...UInt8(ascii: "9")).contains(first),
            text.utf8.count <= 200
        else { return false }
        return text.utf8.allSatisfy { byte in
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
            case "\n", "\r\n": result += "\\n"
            default: result.append(character)
            }
        }
        return result
    }

    private static func number(_ value: Double) -> String {
        if value.isNaN { return "NaN" }
        if value.isInfinite { return value > 0 ? "+Inf" : "-Inf" }
        return value == value.rounded() && abs(value) < 9e15 ? String(Int64(value)) : "\(value)"
    }
}
