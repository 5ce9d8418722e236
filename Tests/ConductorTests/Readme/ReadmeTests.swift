import ArgumentParser
import Foundation
import TestSupport
import Testing

@testable import CLICommands

/// What README.md tells people to type works: each command is known to the table and run by it.
@Suite(.serialized) struct ReadmeTests {
    @Test func everyCommandOfThePageIsInTheTableAndNoOther() throws {
        let page = try ReadmePage()
        let known = ReadmeCommand.all.map(\.text)
        #expect(page.commands.count > 30)
        for command in page.commands where !known.contains(command) {
            Issue.record("README.md has `\(command)`; add a line for it to ReadmeTable.swift")
        }
        for command in known where !page.commands.contains(command) {
            Issue.record("ReadmeTable.swift has `\(command)`, and README.md does not")
        }
        #expect(Set(known).count == known.count)
        for command in ReadmeCommand.all {
            switch command.way {
            case .typed(_, let adding):
                #expect(!command.shows.isEmpty, "\(command.text)")
                let isAsItStands = command.exit == 0 && (adding.isEmpty || adding.hasPrefix("&& "))
                #expect(isAsItStands || !command.because.isEmpty, "\(command.text): say why")
            case .named, .made: #expect(!command.because.isEmpty, "\(command.text): say why")
            }
        }
    }

    @Test func everyCommandIsOneOfTheProgram() throws {
        for command in ReadmeCommand.all where command.text.hasPrefix("muster ") {
            let words = command.line([:]).prefix { $0 != "&" }.split(separator: " ").dropFirst().map(String.init)
            switch command.way {
            case .typed: #expect(throws: Never.self, "\(command.text)") { try Muster.parseAsRoot(words) }
            case .named: try walk(words, command.text)
            case .made: Issue.record("\(command.text)")
            }
        }
        #expect(throws: (any Error).self) { try Muster.parseAsRoot(["node", "list", "--no-such-option"]) }
    }

    private func walk(_ words: [String], _ text: String) throws {
        var command: any ParsableCommand.Type = Muster.self
        for word in words {
            let next = command.configuration.subcommands.first { $0.configuration.commandName == word }
            command = try #require(next, "`\(text)`: there is no '\(word)'")
        }
    }

    @Test func everyTargetIsOneThatMakeHasAndShows() async throws {
        let help = try await Shell.run("make help")
        #expect(help.status == 0)
        let targets = Set(help.output.matches(of: #/  make ([a-z-]+) /#).map { String($0.output.1) })
        for command in ReadmeCommand.all {
            guard case .made = command.way else { continue }
            let words = command.text.split(separator: " ").map(String.init)
            #expect(targets.contains(words[1]), "`\(command.text)` is not in `make help`")
            let dry = try await Shell.run(command.text.replacing("make ", with: "make -n ", maxReplacements: 1))
            #expect(dry.status == 0 && !dry.output.isEmpty, "`\(command.text)`: \(dry.output)")
            for word in words where word.contains("=") {
                let file = word.drop { $0 != "=" }.dropFirst()
                #expect(dry.output.contains(file), "`\(command.text)`")
                #expect(FileManager.default.fileExists(atPath: "\(Shell.package)/\(file)"), "\(file)")
            }
        }
        let none = try await Shell.run("make -n no-such-target")
        #expect(none.status != 0)
    }

    @Test(.enabled(if: geteuid() == 0, "the conductor needs root"), .timeLimit(.minutes(5)))
    func everyCommandDoesWhatItSays() async throws {
        try await ReadmeScene.with { scene in
            for command in ReadmeCommand.all {
                guard case .typed = command.way else { continue }
                let answer = try await scene.type(command.line(scene.paths))
                #expect(answer.status == command.exit, "`\(command.text)`: \(answer.output)")
                #expect(answer.output.contains(command.shows), "`\(command.text)`: \(answer.output)")
            }
        }
    }

    @Test func everyFileThatIsLinkedIsThereAndRight() async throws {
        let links = try ReadmePage().links
        #expect(links.count > 5)
        let directory = try TemporaryDirectory("readme")
        let file = try directory.write("key.pub", Array(ConductorScene.key.utf8))
        for link in Set(links) {
            #expect(FileManager.default.fileExists(atPath: "\(Shell.package)/\(link)"), "README.md links \(link)")
            let name = link.split(separator: "/").last ?? ""
            guard name.hasPrefix("site") || name.hasPrefix("segments") else { continue }
            let answer = try await Shell.run(
                "muster site validate \(link)",
                ["MUSTER_SSH_KEY_FILE": file, "MUSTER_BMC_PASSWORD": "geheim"])
            #expect(answer.status == 0, "\(link): \(answer.output)")
        }
    }
}
