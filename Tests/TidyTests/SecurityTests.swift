import Foundation
import Testing

/// What SECURITY.md says is so of the tests and the sources.
@Suite struct SecurityTests {
    private static let root = URL(fileURLWithPath: #filePath)
        .deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()

    private static func texts(below folder: String) throws -> [String: String] {
        let base = root.appendingPathComponent(folder)
        let names = FileManager.default.enumerator(atPath: base.path)?.compactMap { $0 as? String } ?? []
        return Dictionary(
            uniqueKeysWithValues: try names.filter { $0.hasSuffix(".swift") }.map {
                ("\(folder)/\($0)", try String(contentsOf: base.appendingPathComponent($0), encoding: .utf8))
            })
    }

    @Test func `every box of the checklist has a test that there is, or says why it has none`() throws {
        let page = try String(contentsOf: Self.root.appendingPathComponent("SECURITY.md"), encoding: .utf8)
        let section = try #require(page.components(separatedBy: "## Checklist").dropFirst().first)
        let rows = (section.components(separatedBy: "\n## ").first ?? "").split(separator: "\n")
            .filter { $0.hasPrefix("| ") && !$0.hasPrefix("| box |") }
        #expect(rows.count >= 25, "the checklist is missing")
        let tests = try Self.texts(below: "Tests").values
        for row in rows {
            let cells = row.split(separator: "|", omittingEmptySubsequences: false).map {
                $0.trimmingCharacters(in: .whitespaces)
            }
            let last = cells.dropLast().last ?? ""
            let named = last.matches(of: /`(\w+): ([^`]+)`/)
            #expect(!named.isEmpty || (last.hasPrefix("none: ") && last.count > 20), "\(row)")
            for name in named {
                let (suite, test) = (name.output.1, name.output.2)
                let isThere = tests.contains { text in
                    text.contains("struct \(suite) {")
                        && (text.contains("func `\(test)`(") || text.contains("func \(test)("))
                }
                #expect(isThere, "there is no test \(suite): \(test)")
            }
        }
    }

    @Test func `no program is started by a shell`() throws {
        for (path, text) in try Self.texts(below: "Sources") where !path.hasPrefix("Sources/Testing/") {
            for word in ["\"/bin/sh\"", "\"sh\"", "\"bash\"", "\"/bin/bash\"", "Glibc.system(", "popen("] {
                #expect(!text.contains(word), "\(path) has \(word)")
            }
        }
    }
}
