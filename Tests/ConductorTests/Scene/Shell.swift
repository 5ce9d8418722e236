import Foundation
import ProgramRuns

/// A command line, as somebody types it in the package's folder after a build.
enum Shell {
    /// The folder of the package.
    static let package = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        .deletingLastPathComponent().deletingLastPathComponent().path

    /// The folder of the programs that are tested; a bench tests those of a release build.
    static let programs = ProcessInfo.processInfo.environment["MUSTER_TEST_PROGRAMS"] ?? "\(package)/.build/debug"

    struct Answer {
        var status: Int32
        /// What it wrote, and then what it wrote of errors.
        var output: String
    }

    /// A run of `line` by bash, in a namespace if one is named.
    static func program(
        _ line: String, _ variables: [String: String] = [:], in namespace: String? = nil, patience: Duration
    ) -> ProgramRun {
        let words = (namespace.map { ["ip", "netns", "exec", $0] } ?? []) + ["bash", "-c", "cd \(package) && \(line)"]
        let path = "\(programs):/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
        return ProgramRun(
            words[0], Array(words.dropFirst()), variables: ["PATH": path].merging(variables) { $1 }, patience: patience)
    }

    /// Runs `line` and waits, a minute and a half at most.
    static func run(
        _ line: String, _ variables: [String: String] = [:], in namespace: String? = nil,
        patience: Duration = .seconds(90)
    ) async throws -> Answer {
        let outcome = try await program(line, variables, in: namespace, patience: patience).finish()
        return Answer(status: outcome.status, output: String(decoding: outcome.output + outcome.errors, as: UTF8.self))
    }
}
