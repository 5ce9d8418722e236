import AgentProtocol
import ArgumentParser
import CatalogBareMetal
import ClientSDK
import FleetContract
import Primitives

struct NodeWhy: FleetCommand {
    static let configuration = CommandConfiguration(
        commandName: "why", abstract: "Tell why a machine is where it is, who has to act, and what to do.")

    @OptionGroup var node: NodeArgument
    @OptionGroup(title: "Connection") var connection: ConnectionOptions

    func run(_ client: FleetClient, _ terminal: Terminal) async throws {
        let reply = try await client.why(node.name)
        if terminal.isJSON { return terminal.json(reply) }
        for line in Self.lines(reply, terminal) { terminal.print(line) }
    }

    static func lines(_ reply: WhyReply, _ terminal: Terminal) -> [String] {
        var lines = reply.headline.wrapped(to: terminal.width).map { terminal.styled($0, .bold) } + [""]
        for cause in reply.causes { lines += Self.lines(cause, reply.time, terminal) }
        if !reply.conditions.isEmpty {
            lines += ["", terminal.styled("checks", .dim)]
            for condition in reply.conditions {
                let mark = condition.isTrue ? terminal.styled("ok", .green) : terminal.styled("no", .red)
                let text = "\(condition.type): \(condition.message)"
                lines += Self.hanging("  \(mark)  ", 6, text, terminal)
            }
        }
        if !reply.events.isEmpty {
            lines += ["", terminal.styled("latest events", .dim)]
            for event in reply.events {
                lines += Self.hanging("  \(Ages.clock(event.time))  ", 12, event.message, terminal)
            }
        }
        return lines
    }

    private static func lines(_ cause: WhyReply.Cause, _ now: Timestamp, _ terminal: Terminal) -> [String] {
        let mark = cause.isProblem ? terminal.styled("!", .red) : terminal.styled("·", .dim)
        let subject = terminal.styled(cause.subject, .bold)
        var times: [String] = []
        if let since = cause.since { times.append("for \(Ages.since(since, now: now))") }
        if let owner = cause.owner { times.append("\(owner.rawValue) has to act") }
        if let deadline = cause.deadline { times.append("deadline \(Ages.until(deadline, now: now))") }
        let text = cause.what + (times.isEmpty ? "" : " (\(times.joined(separator: ", ")))")
        var lines = hanging("\(mark) \(subject)  ", cause.subject.count + 4, text, terminal)
        if let next = cause.next { lines += hanging("    → ", 6, next, terminal) }
        return lines
    }

    /// `head`, `width` characters wide, then `text` wrapped beside it.
    private static func hanging(_ head: String, _ width: Int, _ text: String, _ terminal: Terminal) -> [String] {
        text.wrapped(to: terminal.width.map { max(20, $0 - width) }).enumerated().map { index, line in
            index == 0 ? head + line : String(repeating: " ", count: width) + line
        }
    }
}
