import Primitives
import ProgramRuns
import Subprocess
import SystemPackage

/// A program that is run with a pseudo terminal, in a session of its own, with no variables but PATH, the C locale and its
/// secrets. Programs without a terminal are run by `ProgramRun`.
enum TerminalRun {
    /// Why there is no exit code.
    enum Failure: Error, Hashable {
        case notInstalled
        case cancelled
        case notRun(String)
    }

    /// Runs the program with the terminal as its input, output and error output until it ends or the task is
    /// cancelled; then its whole process group is killed and waited for. Returns its exit code.
    ///
    /// `terminal` are three descriptors of its side, which are closed here.
    static func run(
        _ program: String, _ arguments: [String], secrets: [String: SecretText], on terminal: [FileDescriptor]
    ) async throws(Failure) -> Int32 {
        guard let path = ProgramRun.path(of: program), terminal.count == 3 else {
            for descriptor in terminal { try? descriptor.close() }
            throw .notInstalled
        }
        var variables: [Environment.Key: String] = ["PATH": ProgramRun.folders.joined(separator: ":"), "LC_ALL": "C"]
        for (name, secret) in secrets { variables[Environment.Key(stringLiteral: name)] = secret.revealed }
        var options = PlatformOptions()
        options.createSession = true
        options.teardownSequence = [
            .send(signal: .kill, toProcessGroup: true, allowedDurationToNextStep: .milliseconds(100))
        ]
        do {
            let result = try await Subprocess.run(
                .path(FilePath(path)), arguments: Arguments(arguments), environment: .custom(variables),
                platformOptions: options,
                input: .fileDescriptor(terminal[0], closeAfterSpawningProcess: true),
                output: .fileDescriptor(terminal[1], closeAfterSpawningProcess: true),
                error: .fileDescriptor(terminal[2], closeAfterSpawningProcess: true))
            return switch result.terminationStatus {
            case .exited(let code): code
            case .signaled(let signal): 128 + signal
            }
        } catch {
            throw error is CancellationError ? .cancelled : .notRun("\(error)".printable(limit: 200))
        }
    }
}
