import FoundationEssentials
import Glibc
import Primitives

/// The Python environment that sushy-tools runs in, made once per content of the requirements file.
struct SushyEnvironment: Sendable {
    let directory: String
    let requirements: String

    var python: String { "\(directory)/bin/python3" }
    var emulator: String { "\(directory)/bin/sushy-emulator" }
    private var marker: String { "\(directory)/requirements.installed" }

    /// Makes the environment anew when it is absent, half-made or made of other requirements.
    func ensure(_ progress: (String) -> Void) async throws {
        guard let wanted = FileManager.default.contents(atPath: requirements) else {
            throw RackError.failed(
                "\(requirements) cannot be read: run this in the source tree, or name a ready environment with --venv.")
        }
        if FileManager.default.contents(atPath: marker) == wanted { return }
        let parent = URL(filePath: directory).deletingLastPathComponent().path
        try FileManager.default.createDirectory(atPath: parent, withIntermediateDirectories: true)
        let lock = open("\(directory).lock", O_RDWR | O_CREAT | O_CLOEXEC, 0o600)
        guard lock >= 0 else { throw RackError.failed("\(directory).lock cannot be written.") }
        defer { close(lock) }
        // Someone else may be making it; that takes a minute.
        try await waitUntil("The lock of \(directory)", within: .seconds(600), hint: "Is another setup hanging?") {
            flock(lock, LOCK_EX | LOCK_NB) == 0
        }
        if FileManager.default.contents(atPath: marker) == wanted { return }
        progress("making the Python environment \(directory)")
        try? FileManager.default.removeItem(atPath: directory)
        for (program, package) in [("gcc", "gcc"), ("pkg-config", "pkg-config")] where Commands.find(program) == nil {
            throw RackError.missing(program, package: package)
        }
        try await Commands.run(["/usr/bin/python3", "-m", "venv", directory], timeout: .seconds(120))
        let pip = ["\(directory)/bin/pip", "install", "--quiet", "--disable-pip-version-check", "-r", requirements]
        try await Commands.run(pip, timeout: .seconds(600))
        try wanted.write(to: URL(filePath: marker))
    }

    /// A line of an htpasswd file. The cost is low: every request is checked against it, and the password stands in
    /// the rack file anyway.
    func passwordLine(user: String, password: String) async throws -> String {
        let script = "import bcrypt,sys; print(bcrypt.hashpw(sys.stdin.buffer.read(), bcrypt.gensalt(4)).decode())"
        let hash = try await Commands.run([python, "-c", script], input: password)
        return "\(user):\(Commands.tail(hash, limit: 100))\n"
    }
}
