import AgentProtocol
import ArgumentParser
import CatalogBareMetal
import ClientSDK
import Fleet
import FleetContract
import FoundationEssentials
import Primitives

struct SiteExplain: FleetCommand {
    static let configuration = CommandConfiguration(
        commandName: "explain", abstract: "Tell how the rules were held against a machine, and what came of it.",
        discussion: """
            Every rule is shown in its order, each fact with what was wanted and what was found, then where each field of \
            the node came from. --inventory asks what would become of a machine that is not there: a file as \
            'muster node inventory NAME --json' prints it; with --site, by the rules of a site file that is not applied.
            """)

    @Argument(help: "The machine's name or identifier.")
    var node: String?

    @Option(help: ArgumentHelp("Explain this inventory instead of a machine.", valueName: "file"))
    var inventory: String?

    @Option(help: ArgumentHelp("With --inventory: take the rules of this site file.", valueName: "file"))
    var site: String?

    @OptionGroup(title: "Connection") var connection: ConnectionOptions

    private static let inventorySizeMax = 2 << 20

    func validate() throws {
        guard (node == nil) != (inventory == nil) else {
            throw ValidationError("Name a machine, or an inventory with --inventory.")
        }
        guard site == nil || inventory != nil else { throw ValidationError("--site goes with --inventory only.") }
    }

    func run(_ client: FleetClient, _ terminal: Terminal) async throws {
        let reply: ExplainReply
        if let inventory {
            let bytes = try TextFile.bytes(inventory, sizeMax: Self.inventorySizeMax)
            let report: InventoryReport
            do { report = try JSONDecoder().decode(InventoryReport.self, from: Data(bytes)) } catch {
                throw Failure(
                    message: "\(inventory) is not an inventory; 'muster node inventory NAME --json' prints one.",
                    exitCode: 2)
            }
            var rules: [SiteDocument.RuleEntry]?
            var skus: [SiteDocument.SKUEntry]?
            if let site {
                do {
                    let document = try SiteReader.read(site).document
                    (rules, skus) = (document.rules, document.skus ?? [])
                } catch { throw SiteValidate.named(error, site) }
            }
            reply = try await client.explain(ExplainRequest(inventory: report, rules: rules, skus: skus))
        } else {
            reply = try await client.explain(node ?? "")
        }
        if terminal.isJSON { return terminal.json(reply) }
        for line in Self.lines(reply, terminal) { terminal.print(line) }
    }

    static func lines(_ reply: ExplainReply, _ terminal: Terminal) -> [String] {
        var lines = reply.headline.wrapped(to: terminal.width).map { terminal.styled($0, .bold) }
        lines += ["", terminal.styled("rules, in their order", .dim)]
        if reply.rules.rules.isEmpty { lines.append("  there are none") }
        for trial in reply.rules.rules { lines += Self.lines(trial, terminal) }
        lines += ["", terminal.styled(reply.node == nil ? "what it would get" : "what it has", .dim)]
        var facts = Facts()
        for field in reply.fields { facts.add(field.field, "\(field.value ?? "-") (\(field.source))") }
        lines += facts.lines(for: terminal, indent: 2)
        if !reply.blocks.isEmpty {
            lines += ["", terminal.styled("what keeps it out", .dim)]
            for block in reply.blocks {
                lines += terminal.hanging("  \(terminal.styled("!", .red)) ", 4, block.message)
            }
        }
        if !reply.rules.nearMisses.isEmpty {
            lines += ["", terminal.styled("near misses", .dim)]
            for miss in reply.rules.nearMisses { lines += terminal.hanging("  · ", 4, miss) }
        }
        return lines
    }

    private static func lines(_ trial: RuleExplanation.Trial, _ terminal: Terminal) -> [String] {
        let style: Style = trial.matches ? .green : .plain
        let verdict = terminal.styled(trial.matches ? "matches" : "does not match", style)
        let empty = trial.facts.isEmpty ? " every machine" : ""
        var lines = ["  \(terminal.styled(trial.rule, .bold)) (order \(trial.order)) \(verdict)\(empty)"]
        for fact in trial.facts {
            let mark = fact.holds ? terminal.styled("yes", .green) : terminal.styled("no ", .red)
            lines += terminal.hanging("    \(mark) ", 8, fact.description)
        }
        for gift in trial.gives {
            lines += terminal.hanging("    → ", 6, "\(gift.field) \(gift.value)\(fate(gift))")
        }
        return lines
    }

    private static func fate(_ gift: RuleExplanation.Gift) -> String {
        let other = gift.other ?? "another rule"
        switch gift.outcome {
        case .decides: return ""
        case .repeats: return ", as \(other) does already"
        case .overruled: return ": does not count, \(other) comes before it"
        case .conflicts:
            return gift.other == nil
                ? ": does not count, the rules contradict each other"
                : ": contradicts \(other), neither counts"
        }
    }
}
