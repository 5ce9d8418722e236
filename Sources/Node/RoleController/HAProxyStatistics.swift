import LinuxSystem
import Primitives

/// Rows of HAProxy's `show stat` (management guide, section 9.1, CSV format).
struct HAProxyStatistics: Hashable, Sendable {
    /// The most rows that are read.
    static let rowCountMax = 256

    var rows: [Row] = []

    /// A front end, a back end or a server.
    struct Row: Hashable, Sendable {
        /// The front end's or back end's name.
        var proxy: String
        /// `FRONTEND`, `BACKEND` or the server's name.
        var service: String
        /// For example `UP`, `DOWN`, `UP 1/3`, `no check`.
        var status: String
        /// What the last check came to: its code and what it means.
        var check: String
        var sessions: UInt64
        var sessionsTotal: UInt64
        var bytesIn: UInt64
        var bytesOut: UInt64
        var connectErrors: UInt64

        /// Whether connections are given to it: also while it goes down, not yet while it comes up.
        var isUp: Bool { status == "OPEN" || status.hasPrefix("UP") }
    }

    /// Reads the text, whatever it is; fields are found by the names in its first line, so that another version of
    /// HAProxy may have more. nil: there is no such line.
    init?(csv: [UInt8]) {
        var lines = csv.split(separator: UInt8(ascii: "\n"), maxSplits: Self.rowCountMax + 1).makeIterator()
        guard let first = lines.next(), first.starts(with: Array("# ".utf8)) else { return nil }
        let names = Self.fields(first.dropFirst(2))
        guard let proxy = names.firstIndex(of: "pxname"), let service = names.firstIndex(of: "svname") else {
            return nil
        }
        let columns = Dictionary(names.enumerated().map { ($1, $0) }, uniquingKeysWith: { first, _ in first })
        while let line = lines.next(), rows.count < Self.rowCountMax {
            let values = Self.fields(line)
            guard values.count > max(proxy, service), !values[proxy].isEmpty else { continue }
            func text(_ name: String) -> String {
                guard let column = columns[name], column < values.count else { return "" }
                return values[column].printable(limit: 120)
            }
            func number(_ name: String) -> UInt64 { UInt64(text(name)) ?? 0 }
            let check = [text("check_status"), text("check_desc"), text("last_chk")].filter { !$0.isEmpty }
            rows.append(
                Row(
                    proxy: text("pxname"), service: text("svname"), status: text("status"),
                    check: check.joined(separator: ", "), sessions: number("scur"), sessionsTotal: number("stot"),
                    bytesIn: number("bin"), bytesOut: number("bout"), connectErrors: number("econ")))
        }
    }

    /// The fields of a line: parted by commas, in double quotes when they hold commas, quotes doubled (RFC 4180).
    private static func fields(_ line: ArraySlice<UInt8>) -> [String] {
        let quote = UInt8(ascii: "\"")
        var fields: [String] = []
        var field: [UInt8] = []
        var isQuoted = false
        var bytes = line.makeIterator()
        var next = bytes.next()
        while let byte = next {
            next = bytes.next()
            switch byte {
            case quote where isQuoted && next == quote:
                field.append(quote)
                next = bytes.next()
            case quote: isQuoted.toggle()
            case UInt8(ascii: ",") where !isQuoted:
                fields.append(String(decoding: field, as: UTF8.self))
                field = []
                guard fields.count < 512 else { return fields }
            case UInt8(ascii: "\r"): break
            default: field.append(byte)
            }
        }
        fields.append(String(decoding: field, as: UTF8.self))
        return fields
    }
}

/// HAProxy's socket for questions: one question a connection.
enum HAProxySocket {
    /// The answer to `question`. Throws `SystemError` when nobody answers.
    static func ask(_ question: String, at path: String) throws(SystemError) -> [UInt8] {
        try LocalQuestion.ask(question, at: path, of: "HAProxy")
    }
}
