import APISupport
import CatalogBareMetal
import FleetContract
import Hummingbird
import Primitives

extension FleetCall {
    /// The node's log lines: `lines`, `source` or `boot`, `since` and `after` choose which.
    func logs() async throws -> Response {
        let node = try node()
        return .json(
            reads.logs(
                of: try node.id, sources: try logSources(), count: try lineCount(), since: try since(),
                after: try query("after").map { (text) throws(InvalidValue) in try LogCursor(text) }))
    }

    /// What the node's serial console has shown.
    func console() async throws -> Response {
        let node = try node()
        let after = try query("after").map { (text) throws(InvalidValue) in try LogCursor(text) }
        let question = LogQuestion(
            count: try lineCount(), since: try since(), after: after.map { $0.places["console"] ?? LogPosition() })
        guard let page = services.live.console(try node.id, question) else {
            throw APIError.notFound(
                "No serial console of '\(node.spec.name)' has been recorded here; "
                    + "'muster node logs \(node.spec.name)' shows what its agents say.")
        }
        let place = page.end == LogPosition() ? nil : LogCursor(["console": page.end]).text
        return .json(ConsoleReply(lines: page.lines, next: place))
    }

    private func lineCount() throws -> Int { try number("lines", in: 1...FleetLimit.logLineCount, otherwise: 200) }

    private func since() throws -> Timestamp? {
        guard let text = query("since") else { return nil }
        guard let number = Int64(text), number >= 0 else {
            throw InvalidValue("time", text, expected: "milliseconds since 1970")
        }
        return Timestamp(millisecondsSinceEpoch: number)
    }

    private func logSources() throws -> [String] {
        let known = services.live.logSources
        if let source = query("source") {
            guard known.contains(source) else {
                throw InvalidValue("source", source, expected: "one of " + known.joined(separator: ", "))
            }
            return [source]
        }
        switch query("boot") {
        case nil: return known
        case "discovery": return known.filter { $0 == "discovery-agent" }
        case "agent": return known.filter { $0 != "discovery-agent" }
        case .some(let text): throw InvalidValue("boot", text, expected: "discovery or agent")
        }
    }
}
