import Glibc
import Primitives
import Subprocess
import SystemPackage

/// Runs a program to its end, bounded in time and output, with nothing of the conductor's environment.
struct ProgramRun: Sendable {
    /// The program's name, looked for where Debian keeps programs, or its absolute path.
    let program: String
    /// The most bytes of output, and of error output, that are read.
    var outputSizeMax = 256 << 10

    /// What a program that has ended left behind.
    struct Outcome: Sendable {
        var status: Int32
        var output: String
        var errorOutput: String
    }

    /// Why there is no outcome.
    enum Failure: Error, Hashable {
        case notInstalled
        case timeout
        case tooMuchOutput
        case cancelled
        case notRun(String)
    }

    static let folders = ["/usr/bin", "/usr/sbin", "/bin", "/sbin", "/usr/local/bin", "/usr/local/sbin"]

    /// The program's path; nil: it is not installed.
    var path: String? {
        if program.hasPrefix("/") { return access(program, X_OK) == 0 ? program : nil }
        return Self.folders.map { "\($0)/\(program)" }.first { access($0, X_OK) == 0 }
    }

    /// The program's variables: `secrets`, PATH and the C locale.
    func environment(_ secrets: [String: SecretText]) -> Environment {
        var variables: [Environment.Key: String] = ["PATH": Self.folders.joined(separator: ":"), "LC_ALL": "C"]
        for (name, secret) in secrets { variables[Environment.Key(stringLiteral: name)] = secret.revealed }
        return .custom(variables)
    }

    /// A session of its own, whose process group is killed at the end.
    static var ownSession: PlatformOptions {
        var options = PlatformOptions()
        options.createSession = true
        options.teardownSequence = [
            .send(signal: .kill, toProcessGroup: true, allowedDurationToNextStep: .milliseconds(100))
        ]
        return options
    }

    /// Runs the program with `secrets` as its only variables besides PATH and the C locale.
    ///
    /// The program is the first of a session of its own; after `time`, or when the task is cancelled, the whole session's
    /// process group is killed and waited for.
    func run(
        _ arguments: [String], secrets: [String: SecretText] = [:], time: Duration
    ) async throws(Failure) -> Outcome {
        guard let path else { throw .notInstalled }
        let variables = environment(secrets)
        let options = Self.ownSession
        let limit = outputSizeMax
        do {
            return try await withThrowingTaskGroup(of: Outcome?.self) { [variables, options] group in
                group.addTask {
                    let result = try await Subprocess.run(
                        .path(FilePath(path)), arguments: Arguments(arguments), environment: variables,
                        platformOptions: options, input: .none, output: .string(limit: limit),
                        error: .string(limit: limit))
                    let status: Int32 =
                        switch result.terminationStatus {
                        case .exited(let code): code
                        case .signaled(let signal): 128 + signal
                        }
                    return Outcome(status: status, output: result.standardOutput, errorOutput: result.standardError)
                }
                group.addTask {
                    try await Task.sleep(for: time)
                    return nil
                }
                defer { group.cancelAll() }
                guard let first = try await group.next(), let outcome = first else { throw Failure.timeout }
                try Task.checkCancellation()
                return outcome
            }
        } catch {
            switch error {
            case let failure as Failure: throw failure
            case is CancellationError: throw .cancelled
            case let error as SubprocessError where error.code == .outputLimitExceeded: throw .tooMuchOutput
            case let error as SubprocessError where error.code == .executableNotFound: throw .notInstalled
            default: throw Task.isCancelled ? .cancelled : .notRun("\(error)".printable(limit: 200))
            }
        }
    }
}
