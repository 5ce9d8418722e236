import Glibc
import Primitives
import Subprocess
import SystemPackage

/// What a program that has ended left behind.
public struct CommandOutcome: Sendable, Hashable {
    /// The exit status; 128 + N when signal N ended it.
    public var status: Int32
    /// Standard output, at most 4 MiB.
    public var output: String
    /// Standard error, at most 4 MiB.
    public var errorOutput: String
}

/// Runs other programs to their end.
package enum Commands {
    package static let outputLimit = 4 << 20

    /// Runs `command` (program and arguments), feeding `input`; throws `RackError` when it cannot be started or takes
    /// longer than `timeout`, in which case it is killed.
    package static func outcome(
        _ command: [String], input: String = "", timeout: Duration = .seconds(60)
    ) async throws -> CommandOutcome {
        try await withTimeout(timeout, what: line(command)) {
            let pipe = try filledPipe(input)
            let result: ExecutionResult<Void, StringOutput<UTF8>, StringOutput<UTF8>>
            do {
                result = try await Subprocess.run(
                    executable(command[0]), arguments: Arguments(Array(command.dropFirst())),
                    input: .fileDescriptor(pipe, closeAfterSpawningProcess: true),
                    output: .string(limit: outputLimit), error: .string(limit: outputLimit))
            } catch let error as SubprocessError {
                throw RackError.failed("`\(line(command))` cannot be run: \(error)")
            }
            let status: Int32 =
                switch result.terminationStatus {
                case .exited(let code): code
                case .signaled(let signal): 128 + signal
                }
            return CommandOutcome(
                status: status, output: result.standardOutput, errorOutput: result.standardError)
        }
    }

    /// Like `outcome`, and throws `RackError.commandFailed` when the exit status is not 0.
    @discardableResult
    package static func run(
        _ command: [String], input: String = "", timeout: Duration = .seconds(60)
    ) async throws -> String {
        let outcome = try await outcome(command, input: input, timeout: timeout)
        guard outcome.status == 0 else {
            let text = outcome.errorOutput.isEmpty ? outcome.output : outcome.errorOutput
            throw RackError.commandFailed(
                command: line(command), status: "exit status \(outcome.status)", output: tail(text, limit: 1000))
        }
        return outcome.output
    }

    /// Runs `body`, and throws `RackError.timedOut` after cancelling it when it takes longer than `limit`.
    package static func withTimeout<Value: Sendable>(
        _ limit: Duration, what: String, _ body: @escaping @Sendable () async throws -> Value
    ) async throws -> Value {
        try await withThrowingTaskGroup(of: Value?.self) { group in
            group.addTask { try await body() }
            group.addTask {
                try await Task.sleep(for: limit)
                return nil
            }
            defer { group.cancelAll() }
            guard let first = try await group.next(), let value = first else {
                throw RackError.timedOut(what: "The end of `\(what)`", after: limit, hint: "It was stopped.")
            }
            return value
        }
    }

    /// The reading end of a pipe that already holds all of `text`, so that no program that ends without reading it
    /// can make this process write into a closed pipe.
    private static func filledPipe(_ text: String) throws -> FileDescriptor {
        let bytes = Array(text.utf8)
        guard bytes.count <= 32 << 10 else { throw RackError.failed("The input of a program is at most 32 KiB.") }
        let ends = try FileDescriptor.pipe(options: .closeOnExec)
        try ends.writeEnd.closeAfter { _ = try ends.writeEnd.writeAll(bytes) }
        return ends.readEnd
    }

    package static func executable(_ program: String) -> Executable {
        program.hasPrefix("/") ? .path(FilePath(program)) : find(program).map { .path(FilePath($0)) } ?? .name(program)
    }

    /// The absolute path of a program in PATH or where Debian keeps system programs.
    package static func find(_ program: String) -> String? {
        if program.hasPrefix("/") { return access(program, X_OK) == 0 ? program : nil }
        let path = getenv("PATH").map { String(cString: $0) } ?? ""
        let folders = path.split(separator: ":").map(String.init) + ["/usr/sbin", "/usr/bin", "/sbin", "/bin"]
        return folders.map { "\($0)/\(program)" }.first { access($0, X_OK) == 0 }
    }

    package static func line(_ command: [String]) -> String {
        command.joined(separator: " ").printable(limit: 300)
    }

    /// The last `limit` characters without surrounding white space.
    package static func tail(_ text: String, limit: Int) -> String {
        let characters = text.drop { $0.isWhitespace }
        let end = characters.lastIndex { !$0.isWhitespace }.map(characters.index(after:)) ?? characters.startIndex
        return String(characters[..<end].suffix(limit))
    }
}
