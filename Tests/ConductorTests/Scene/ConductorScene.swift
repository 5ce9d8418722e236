import Foundation
import ProgramRuns
import TestSupport
import Testing

/// The real programs in a network namespace of their own: a conductor on its usual ports, and a shell beside it.
final class ConductorScene {
    let namespace: String
    private let directory: TemporaryDirectory
    private var programs: [Task<ProgramRun.Outcome, any Error>] = []
    private var conductor: Task<ProgramRun.Outcome, any Error>?
    private var mounts: [String] = []

    /// A public key that sites may name.
    static let key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIG9uZSBvZiB0aGUga2V5cyBvZiBhIHRlc3QgIQ== test\n"

    private init(_ label: String) throws {
        namespace = "muster-\(label)-\(getpid())"
        directory = try TemporaryDirectory(label)
        for folder in ["bin", "state"] {
            try FileManager.default.createDirectory(atPath: path(folder), withIntermediateDirectories: true)
        }
        chmod(state, 0o700)
        try write("key.pub", Self.key)
    }

    /// Runs `body` with the namespace; it, all that was started in it and all files are gone afterwards.
    static func with(_ label: String, _ body: (ConductorScene) async throws -> Void) async throws {
        let scene = try ConductorScene(label)
        do {
            try await scene.host("ip netns add \(scene.namespace)")
            try await scene.ip("link set lo up")
            try await body(scene)
        } catch {
            Issue.record("\(error)")
        }
        await scene.end()
    }

    private func end() async {
        for program in programs {
            program.cancel()
            _ = try? await program.value
        }
        for mount in mounts { _ = try? await Shell.run("umount \(mount)") }
        for name in [namespace, far] { _ = try? await Shell.run("ip netns delete \(name)") }
    }

    // MARK: Files

    /// The conductor's state directory.
    var state: String { path("state") }

    func path(_ name: String) -> String { directory.appending(name) }

    func write(_ name: String, _ text: String) throws { try directory.write(name, Array(text.utf8)) }

    /// Puts a program before those of the host.
    func program(_ name: String, _ text: String) throws {
        try write("bin/\(name)", text)
        chmod(path("bin/\(name)"), 0o755)
    }

    /// Lets the state be on a file system of this size.
    func mountState(mebibytes: Int) async throws {
        try await host("mount -t tmpfs -o size=\(mebibytes)m,mode=700 tmpfs \(state)")
        mounts.append(state)
    }

    // MARK: Network

    /// The namespace at the other end of cables.
    var far: String { namespace + "-far" }

    /// Runs ip(8) in the conductor's namespace.
    func ip(_ arguments: String) async throws { try await host("ip -n \(namespace) \(arguments)") }

    /// The value of one of the conductor's figures that has no labels; nil: there is none.
    func metric(_ name: String) async throws -> String? {
        let answer = try await type(
            "curl -s --cacert \(state)/ca.pem -H \"Authorization: Bearer $(cat \(state)/operator.token)\" "
                + "https://127.0.0.1:9443/metrics")
        return answer.output.split(separator: "\n").first { $0.hasPrefix("\(name) ") }
            .map { String($0.dropFirst(name.count + 1)) }
    }

    /// Runs a line on the host.
    func host(_ line: String) async throws {
        let answer = try await Shell.run(line)
        try #require(answer.status == 0, "\(line): \(answer.output)")
    }

    // MARK: Programs

    /// Types `line` in the conductor's namespace.
    func type(_ line: String, patience: Duration = .seconds(90)) async throws -> Shell.Answer {
        try await Shell.run(line, variables, in: namespace, patience: patience)
    }

    /// Starts a program that stays until the end, in a namespace.
    @discardableResult
    func run(_ line: String, in namespace: String? = nil) -> Task<ProgramRun.Outcome, any Error> {
        let log = path("log-\(programs.count)")
        let program = Shell.program(
            "exec \(line) >\(log) 2>&1", variables, in: namespace ?? self.namespace, patience: .seconds(600))
        let task = Task<ProgramRun.Outcome, any Error> { try await program.finish() }
        programs.append(task)
        return task
    }

    /// Ends the conductor that was started last, as kill -9 does.
    func kill() async throws {
        conductor?.cancel()
        _ = try? await conductor?.value
        conductor = nil
    }

    /// Starts the conductor.
    func begin(_ line: String) { conductor = run(line) }

    /// Starts the conductor and waits until it answers.
    func start(_ line: String) async throws {
        begin(line)
        for _ in 0..<150 {
            if try await type("muster version").status == 0 { return }
            try await Task.sleep(for: .milliseconds(100))
        }
        Issue.record("the conductor does not answer: \(lastLog)")
    }

    /// What the program that was started last has written.
    var lastLog: String {
        (try? String(contentsOfFile: lastLogFile, encoding: .utf8)) ?? ""
    }

    /// Where it writes.
    var lastLogFile: String { path("log-\(programs.count - 1)") }

    private var variables: [String: String] {
        [
            "MUSTER_API": "https://127.0.0.1:9443", "MUSTER_CA": "\(state)/ca.pem",
            "MUSTER_TOKEN_FILE": "\(state)/operator.token", "MUSTER_SSH_KEY_FILE": path("key.pub"),
            "MUSTER_BMC_PASSWORD": "geheim", "HOME": directory.path,
            "PATH": "\(path("bin")):\(Shell.programs):/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin",
        ]
    }
}
