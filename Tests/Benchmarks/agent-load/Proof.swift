import AgentPort
import FoundationEssentials
import Glibc
import Primitives

/// The whole measurement: this process serves, a child is the agents.
struct Proof {
    let agents: Int
    let ping: Duration
    let idle: Duration

    func run() async throws -> Figures {
        var template = Array("/tmp/agent-load.XXXXXX".utf8CString)
        guard let path = template.withUnsafeMutableBufferPointer({ mkdtemp($0.baseAddress!) }) else {
            throw LoadError("no temporary directory")
        }
        let directory = String(cString: path)
        defer {
            unlink("\(directory)/ca.pem")
            unlink("\(directory)/ca.key")
            rmdir(directory)
        }
        let server = try LoadServer(port: 0, agents: agents, ping: ping)
        try server.writeAuthority(to: directory)
        var figures = Figures(agents: agents)
        try await server.serve {
            let number = try await server.port.listen()
            figures.rssStart = ProcessFigures.read().residentBytes
            figures.socketsStart = ProcessFigures.read().sockets
            let first = try await connect(number, directory, server, &figures.connect)
            defer { first.end() }
            figures.rssConnected = ProcessFigures.read().residentBytes
            try await measureIdle(&figures)
            try await measureChange(server, first, &figures)
            first.end()
            figures.killedGoneSeconds = try await waitUntilGone(server, figures.socketsStart, within: deadAfter)
            figures.rssKilled = ProcessFigures.read().residentBytes
            let second = try await connect(number, directory, server, &figures.reconnect)
            defer { second.end() }
            figures.rssAgain = ProcessFigures.read().residentBytes
            second.freeze()
            figures.frozenGoneSeconds = try await waitUntilGone(server, figures.socketsStart, within: deadAfter)
            var storm = Figures.Storm()
            let third = try await connect(number, directory, server, &storm)
            figures.rssThird = ProcessFigures.read().residentBytes
            third.end()
        }
        figures.judge(deadAfter: deadAfter)
        return figures
    }

    /// Silence of a peer that is noticed: an interval, then two unanswered pings; with some seconds to close.
    private var deadAfter: Duration { ping * 3 + .seconds(5) }

    private func connect(
        _ number: Int, _ directory: String, _ server: LoadServer, _ storm: inout Figures.Storm
    ) async throws -> ChildProcess {
        let child = try ChildProcess(arguments: [
            "run", "--agents", "\(agents)", "--endpoint", "127.0.0.1:\(number)", "--directory", directory,
        ])
        _ = try await child.report(.ready, within: .seconds(300))
        let before = ProcessFigures.read()
        child.go()
        storm.seconds = try await child.report(.connected, within: .seconds(300)).seconds
        while server.port.statistics.sessions < agents { try await Task.sleep(for: .milliseconds(20)) }
        try await Task.sleep(for: .milliseconds(500))
        storm.cpu = (ProcessFigures.read().cpu - before.cpu).seconds
        return child
    }

    private func measureIdle(_ figures: inout Figures) async throws {
        let before = ProcessFigures.read()
        try await Task.sleep(for: idle)
        figures.idleCPU = (ProcessFigures.read().cpu - before.cpu).seconds
        figures.idleSeconds = idle.seconds
    }

    private func measureChange(_ server: LoadServer, _ child: ChildProcess, _ figures: inout Figures) async throws {
        for round in 0..<5 {
            let before = ProcessFigures.read()
            try server.publish()
            let report = try await child.report(.changed, within: .seconds(60))
            try await Task.sleep(for: .milliseconds(200))
            // The first rounds warm up.
            guard round >= 2 else { continue }
            figures.change.append(
                Figures.Change(
                    p50: report.p50, p99: report.p99, last: report.seconds * 1000,
                    cpu: (ProcessFigures.read().cpu - before.cpu).seconds))
        }
    }

    private func waitUntilGone(_ server: LoadServer, _ sockets: Int, within limit: Duration) async throws -> Double? {
        let began = ContinuousClock.now
        while ContinuousClock.now - began < limit {
            if server.port.statistics.connections == 0, ProcessFigures.read().sockets <= sockets {
                return (ContinuousClock.now - began).seconds
            }
            try await Task.sleep(for: .milliseconds(50))
        }
        return nil
    }
}

/// What was measured.
struct Figures: Codable, Sendable {
    struct Storm: Codable, Sendable {
        var seconds = 0.0
        var cpu = 0.0
    }

    struct Change: Codable, Sendable {
        var p50: Double
        var p99: Double
        var last: Double
        var cpu: Double
    }

    var agents: Int
    var rssStart = 0
    var rssConnected = 0
    var rssKilled = 0
    var rssAgain = 0
    var rssThird = 0
    var socketsStart = 0
    var connect = Storm()
    var reconnect = Storm()
    var idleSeconds = 0.0
    var idleCPU = 0.0
    var change: [Change] = []
    var killedGoneSeconds: Double?
    var frozenGoneSeconds: Double?
    var failures: [String] = []

    init(agents: Int) { self.agents = agents }

    mutating func judge(deadAfter: Duration) {
        if killedGoneSeconds == nil { failures.append("sockets of killed agents were left after \(deadAfter)") }
        if frozenGoneSeconds == nil { failures.append("sockets of frozen agents were left after \(deadAfter)") }
    }

    func json() throws -> String {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.prettyPrinted, .sortedKeys]
        return String(decoding: try encoder.encode(self), as: UTF8.self)
    }

    var table: String {
        let middle = change.sorted { $0.p50 < $1.p50 }[change.count / 2]
        let rows: [(String, String)] = [
            ("agents", "\(agents)"),
            ("RSS at start", kilobytes(rssStart)),
            ("RSS with all streams", "\(kilobytes(rssConnected)), \(perStream(rssConnected - rssStart)) a stream"),
            ("RSS after the kill", kilobytes(rssKilled)),
            ("RSS with as many again", "\(kilobytes(rssAgain)), \(perStream(rssAgain - rssConnected)) a stream more"),
            ("RSS the third time", "\(kilobytes(rssThird)), \(perStream(rssThird - rssAgain)) a stream more"),
            (
                "connect storm",
                "\(decimal(connect.seconds)) s, \(decimal(connect.cpu)) CPU-s, "
                    + "\(Int(Double(agents) / max(connect.cpu, 0.001))) streams a CPU-second"
            ),
            (
                "connect storm, again",
                "\(decimal(reconnect.seconds)) s, \(decimal(reconnect.cpu)) CPU-s, "
                    + "\(Int(Double(agents) / max(reconnect.cpu, 0.001))) streams a CPU-second"
            ),
            ("idle", "\(decimal(idleCPU * 1000)) CPU-ms in \(Int(idleSeconds)) s"),
            (
                "one change to all",
                "p50 \(decimal(middle.p50)) ms, p99 \(decimal(middle.p99)) ms, \(decimal(middle.cpu * 1000)) CPU-ms"
            ),
            ("killed: sockets gone", killedGoneSeconds.map { "after \(decimal($0)) s" } ?? "NO"),
            ("frozen: sockets gone", frozenGoneSeconds.map { "after \(decimal($0)) s" } ?? "NO"),
        ]
        let lines = rows.map { "\($0.0)\(String(repeating: " ", count: 26 - $0.0.count))\($0.1)" }
        return (lines + failures.map { "FAILED: \($0)" }).joined(separator: "\n")
    }

    private func kilobytes(_ bytes: Int) -> String { "\(bytes >> 10) KiB" }

    private func perStream(_ bytes: Int) -> String { "\(decimal(Double(bytes) / 1024 / Double(agents))) KiB" }

    private func decimal(_ value: Double) -> String {
        let hundredths = Int((value * 100).rounded())
        let rest = abs(hundredths % 100)
        return "\(hundredths < 0 ? "-" : "")\(abs(hundredths) / 100).\(rest < 10 ? "0" : "")\(rest)"
    }
}
