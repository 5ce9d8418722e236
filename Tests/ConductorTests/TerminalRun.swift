import Foundation
import Glibc
import Synchronization
import Testing

/// A command on a pseudo terminal (script(1)), typed at when it has shown what is waited for.
final class TerminalRun: Sendable {
    private let process = Process()
    private let input = Pipe()
    private let output = Mutex(Data())
    private let isOver = Atomic<Bool>(false)

    init(_ command: String, columns: Int = 100) throws {
        let pipe = Pipe()
        process.executableURL = URL(fileURLWithPath: "/usr/bin/script")
        process.arguments = ["-qec", command, "/dev/null"]
        process.environment = ["TERM": "xterm", "PATH": "/usr/bin:/bin", "COLUMNS": "\(columns)"]
        process.standardInput = input
        process.standardOutput = pipe
        process.standardError = pipe
        try process.run()
        Thread { [self] in
            while true {
                let data = pipe.fileHandleForReading.availableData
                guard !data.isEmpty else { break }
                output.withLock { $0 += data }
            }
            isOver.store(true, ordering: .relaxed)
        }.start()
    }

    /// What was shown so far.
    var text: String { String(decoding: output.withLock { $0 }, as: UTF8.self) }

    /// Waits until `text` was shown, a minute at most.
    func wait(for text: String, sourceLocation: SourceLocation = #_sourceLocation) async throws {
        for _ in 0..<3000 {
            if self.text.contains(text) { return }
            guard !isOver.load(ordering: .relaxed) else { break }
            try await Task.sleep(for: .milliseconds(20))
        }
        if !self.text.contains(text) {
            Issue.record("'\(text)' was not shown: \(self.text.debugDescription)", sourceLocation: sourceLocation)
        }
    }

    func type(_ text: String) { input.fileHandleForWriting.write(Data(text.utf8)) }

    /// Waits for the end, a minute at most, and returns all that was shown.
    func end() async throws -> String {
        for _ in 0..<3000 where !isOver.load(ordering: .relaxed) { try await Task.sleep(for: .milliseconds(20)) }
        if process.isRunning { kill(process.processIdentifier, SIGKILL) }
        process.waitUntilExit()
        return text
    }
}
