import Foundation

/// README.md: the commands that it shows, and the files that it points to.
struct ReadmePage {
    /// How a code span or a line of a code block begins that somebody is to type.
    private static let beginnings = ["muster ", "make ", "eval ", "muster-conductor ", "muster-rack ", "Images/"]

    /// Each command once, in the order of the page.
    let commands: [String]
    /// The files that are linked, by their paths in the package.
    let links: [String]

    init() throws {
        let text = try String(contentsOfFile: "\(Shell.package)/README.md", encoding: .utf8)
        var found: [String] = []
        var isFenced = false
        var prose = ""
        for line in text.split(separator: "\n", omittingEmptySubsequences: false) {
            if line.hasPrefix("```") {
                isFenced.toggle()
            } else if isFenced || line.hasPrefix("    ") {
                found.append(line.trimmingCharacters(in: .whitespaces))
            } else {
                prose += line + "\n"
            }
        }
        // A span may go over the end of a line.
        for span in prose.matches(of: /`([^`]+)`/) { found.append(String(span.output.1).replacing("\n", with: " ")) }
        var seen: Set<String> = []
        commands = found.filter { command in
            Self.beginnings.contains { command.hasPrefix($0) } && seen.insert(command).inserted
        }
        links = text.matches(of: /\]\(([^)]+)\)/).map { String($0.output.1) }.filter { !$0.contains("://") }
    }
}
