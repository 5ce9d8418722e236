import ArgumentParser
import ClientSDK
import Fleet
import FleetContract

struct SiteCheck: FleetCommand {
    static let configuration = CommandConfiguration(
        commandName: "check", abstract: "Check from the conductor's host whether everything around it is fit.",
        discussion: """
            With a file: whether that site could be served, before it is applied; without: the site that was applied. The \
            conductor looks at its interfaces, MTU, ports, clock, disk, images and certificate authority, and asks the DHCP, \
            DNS and time servers, relays and BMCs. Each failure says what to change. Ends with 1 when something failed.
            """)

    @Argument(help: ArgumentHelp("The site file.", valueName: "file"))
    var file: String?

    @OptionGroup(title: "Connection") var connection: ConnectionOptions

    func run(_ client: FleetClient, _ terminal: Terminal) async throws {
        var site: SiteDocument?
        if let file {
            do { site = try SiteReader.resolve(try SiteReader.read(file), at: file, lenient: false) } catch {
                throw SiteValidate.named(error, file)
            }
        }
        let reply = try await client.checkSite(site)
        if terminal.isJSON {
            terminal.json(reply)
        } else {
            for line in Self.lines(reply, terminal) { terminal.print(line) }
        }
        if reply.hasFailed {
            let count = reply.rows.count { $0.outcome == .failed }
            throw Failure(message: count == 1 ? "One check failed." : "\(count) checks failed.", exitCode: 1)
        }
    }

    static func lines(_ reply: SiteCheckReply, _ terminal: Terminal) -> [String] {
        var table = Table([
            .init("CHECK", priority: 1), .init("OF", priority: 1, least: 10), .init("RESULT", priority: 1),
            .init("FOUND", priority: 2, least: 20),
        ])
        table.rows = reply.rows.map { row in
            [
                .init(row.check), .init(row.subject, .bold), .init(row.outcome.rawValue, style(row.outcome)),
                .init(row.found),
            ]
        }
        var lines = table.lines(for: terminal)
        let changes = reply.rows.filter { $0.outcome == .failed || $0.outcome == .warning }
        guard !changes.isEmpty else { return lines + ["", "Everything is as it should be."] }
        lines += ["", terminal.styled("what to change", .dim)]
        for row in changes {
            let mark = terminal.styled(row.outcome == .failed ? "!" : "·", style(row.outcome))
            lines += hanging("  \(mark) ", 4, "\(row.check), \(row.subject): \(row.found)", terminal)
            if let change = row.change { lines += hanging("    → ", 6, change, terminal) }
        }
        return lines
    }

    private static func style(_ outcome: SiteCheckReply.Outcome) -> Style {
        switch outcome {
        case .ok: .green
        case .warning: .yellow
        case .failed: .red
        case .skipped: .dim
        }
    }

    /// `head`, `width` characters wide, then `text` wrapped beside it.
    private static func hanging(_ head: String, _ width: Int, _ text: String, _ terminal: Terminal) -> [String] {
        text.wrapped(to: terminal.width.map { max(20, $0 - width) }).enumerated().map { index, line in
            index == 0 ? head + line : String(repeating: " ", count: width) + line
        }
    }
}
