import ArgumentParser
import CatalogBareMetal
import Fleet
import FleetContract

struct SiteValidate: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "validate", abstract: "Check a site file; no conductor is needed.",
        discussion: "Also the files it names must be there. Environment variables with passwords need not be set yet.")

    @Argument(help: ArgumentHelp("The site file.", valueName: "file"))
    var file: String

    @Flag(help: "Answer in JSON.")
    var json = false

    func run() throws {
        let terminal = Terminal.standardOutput(asJSON: json)
        let site: SiteDocument
        do {
            site = try SiteReader.resolveForCheck(file)
        } catch {
            throw CheckFailure(code: Failure.report(Self.named(error, file), asJSON: json))
        }
        if json { return terminal.json(SitePlanReply(changes: [], isDryRun: true)) }
        let parts = [
            Self.count(site.segments.count, "segment"), Self.count(site.bmcs.count, "BMC"),
            Self.count(site.rules.count, "rule"), Self.count(site.site.sshKeys.count, "SSH key"),
        ]
        terminal.print("\(file): \(parts.joined(separator: ", ")); all right.")
    }

    private static func count(_ count: Int, _ noun: String) -> String { "\(count) \(noun)\(count == 1 ? "" : "s")" }

    /// The error with the file's name before each problem, as compilers write it.
    static func named(_ error: any Error, _ file: String) -> any Error {
        guard let error = error as? SiteError else { return error }
        let lines = error.problems.map { problem in
            let place = problem.line.map { "\(file):\($0)" } ?? file
            return [place, problem.path, problem.message].filter { !$0.isEmpty }.joined(separator: ": ")
        }
        return Failure(message: lines.joined(separator: "\n"), exitCode: 2)
    }
}

/// A command that has told its failure already.
struct CheckFailure: Error {
    var code: Int32
}

extension SiteReader {
    static func resolveForCheck(_ path: String) throws -> SiteDocument {
        let file = try read(path)
        var checked = file
        // What stands in variables is the business of whoever applies the site.
        checked.sshKeyFilesVariable = nil
        return try resolve(checked, at: path, lenient: true)
    }
}
