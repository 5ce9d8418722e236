import ArgumentParser
import ClientSDK
import Fleet
import FleetContract

struct SiteApply: FleetCommand {
    static let configuration = CommandConfiguration(
        commandName: "apply", abstract: "Make the conductor's site what a file says.",
        discussion: """
            What the file does not name is taken away. --dry-run shows the changes without making them. Passwords are read \
            here, from the files or variables that the site file names, and kept sealed by the conductor.
            """)

    @Argument(help: ArgumentHelp("The site file.", valueName: "file"))
    var file: String

    @Flag(help: "Only show what would change.")
    var dryRun = false

    @OptionGroup(title: "Connection") var connection: ConnectionOptions

    func run(_ client: FleetClient, _ terminal: Terminal) async throws {
        let site: SiteDocument
        do {
            site = try SiteReader.resolve(try SiteReader.read(file), at: file, lenient: false)
        } catch {
            throw SiteValidate.named(error, file)
        }
        let reply = try await client.applySite(site, dryRun: dryRun)
        if terminal.isJSON { return terminal.json(reply) }
        for line in Self.lines(reply, terminal) { terminal.print(line) }
    }

    static func lines(_ reply: SitePlanReply, _ terminal: Terminal) -> [String] {
        guard !reply.changes.isEmpty else { return ["The site is as the file says; nothing to change."] }
        var lines: [String] = []
        for change in reply.changes {
            let (sign, style): (String, Style) =
                switch change.action {
                case .create: ("+", .green)
                case .update: ("~", .yellow)
                case .delete: ("-", .red)
                }
            lines.append(terminal.styled("\(sign) \(change.kind) \(change.name)", style))
            for field in change.fields {
                let value =
                    change.action == .create
                    ? field.after ?? "" : "\(field.before ?? "(none)") → \(field.after ?? "(none)")"
                let line = "    \(field.path): \(value)"
                lines.append(terminal.width.map { line.cut(to: $0) } ?? line)
            }
        }
        let count = reply.changes.count
        let noun = count == 1 ? "change" : "changes"
        lines.append(reply.isDryRun ? "\(count) \(noun) would be made." : "\(count) \(noun) made.")
        return lines
    }
}
