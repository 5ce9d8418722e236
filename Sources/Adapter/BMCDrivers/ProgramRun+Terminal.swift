import Glibc
import Primitives
import Subprocess
import SystemPackage

extension ProgramRun {
    /// Runs the program with a pseudo terminal as its input, output and error output until it ends or the task is
    /// cancelled; then its whole process group is killed and waited for. Returns its exit code.
    ///
    /// `terminal` are three descriptors of its side, which are closed here.
    func run(
        _ arguments: [String], secrets: [String: SecretText] = [:], on terminal: [FileDescriptor]
    ) async throws(Failure) -> Int32 {
        guard let path, terminal.count == 3 else {
            for descriptor in terminal { try? descriptor.close() }
            throw .notInstalled
        }
        do {
            let result = try await Subprocess.run(
                .path(FilePath(path)), arguments: Arguments(arguments), environment: environment(secrets),
                platformOptions: Self.ownSession,
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
