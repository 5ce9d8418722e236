import AgentProtocol
import Foundation
import LinuxSystem
import Primitives
import Testing

/// The real agent in two namespaces, without a conductor: it goes on with the view on its disk.
@Suite("Restart of an agent", .timeLimit(.minutes(3)))
struct AgentRestartTests {
    private static let agent = URL(
        fileURLWithPath: (try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe")) ?? "/"
    ).deletingLastPathComponent().appendingPathComponent("network-agent").path

    private static func prepare(_ directory: String, _ index: Int) throws {
        let identity = AgentIdentityFile(
            node: try NodeID("00000000-0000-4000-8000-00000000000\(index)"), name: "net-\(index)",
            provisioning: ["127.0.0.1:1"], conductors: ["127.0.0.1:1"], token: nil)
        let view = NodeView(revision: Revision(1), generation: Generation(1), items: try TunnelTests.view(index))
        try SystemFile.replace("\(directory)/agent.json", content: AgentStream.encode(identity), mode: 0o600)
        try SystemFile.replace("\(directory)/view.json", content: AgentStream.encode(view), mode: 0o600)
        try SystemFile.replace("\(directory)/ca.pem", content: Array("none".utf8), mode: 0o600)
    }

    /// Starts a program in a namespace; its output goes to `file`.
    private static func start(
        _ nodes: TwoNodes, _ index: Int, _ command: [String], output file: String
    ) throws -> Process {
        try Data().write(to: URL(fileURLWithPath: file))
        let process = Process()
        process.executableURL = URL(fileURLWithPath: "/usr/sbin/ip")
        process.arguments = ["netns", "exec", nodes.names[index]] + command
        let handle = try #require(FileHandle(forWritingAtPath: file))
        process.standardOutput = handle
        process.standardError = handle
        try process.run()
        return process
    }

    private static func text(_ file: String) -> String {
        String(decoding: FileManager.default.contents(atPath: file) ?? Data(), as: UTF8.self)
    }

    private static func wait(for what: String, _ condition: () -> Bool) async throws {
        for _ in 0..<1200 {
            if condition() { return }
            try await Task.sleep(for: .milliseconds(50))
        }
        Issue.record("\(what): not within a minute")
        throw CancellationError()
    }

    /// The agent opens its socket for echoes when the network is as its view says.
    private static func hasApplied(_ process: Process) -> Bool {
        let home = "/proc/\(process.processIdentifier)"
        let sockets = text("\(home)/net/raw").split(separator: "\n").dropFirst().compactMap { line in
            let fields = line.split(separator: " ")
            return fields.count > 9 ? "socket:[\(fields[9])]" : nil
        }
        let open = (try? FileManager.default.contentsOfDirectory(atPath: "\(home)/fd")) ?? []
        return open.contains { descriptor in
            (try? FileManager.default.destinationOfSymbolicLink(atPath: "\(home)/fd/\(descriptor)"))
                .map(sockets.contains) ?? false
        }
    }

    @Test("Killed, and upgraded, in the middle of traffic: nothing is removed or made again, no packet is lost")
    func killed() async throws {
        let nodes = TwoNodes("restart")
        let directory = TemporaryDirectory()
        var running: [Process] = []
        defer {
            for process in running where process.isRunning { kill(process.processIdentifier, SIGKILL) }
            for process in running { process.waitUntilExit() }
            nodes.close()
        }
        func start(_ index: Int, _ command: [String], _ name: String) throws -> Process {
            let process = try Self.start(nodes, index, command, output: directory(name))
            running.append(process)
            return process
        }
        var agents: [Process] = []
        for index in 0...1 {
            let home = directory("node-\(index)")
            try FileManager.default.createDirectory(atPath: home, withIntermediateDirectories: false)
            try Self.prepare(home, index)
            agents.append(try start(index, [Self.agent, home], "agent-\(index)"))
        }
        for index in 0...1 {
            try await Self.wait(for: "the overlay of node \(index)") { Self.hasApplied(agents[index]) }
            nodes.run(index, "ip addr add 192.168.77.\(index + 1)/24 dev mbr7")
        }
        // Addresses are resolved and learned before anybody watches.
        nodes.run(0, "ping -q -c 3 -i 0.2 -W 5 192.168.77.2")
        let monitors = [
            try start(0, ["ip", "monitor", "link", "route"], "links"),
            try start(0, ["bridge", "monitor", "fdb"], "entries"), try start(0, ["nft", "monitor"], "rules"),
        ]
        /// Makes one change of each kind that is watched, and waits until each monitor has told of it.
        func provoke(_ name: String) async throws {
            nodes.run(0, "ip link add \(name) type bridge")
            nodes.run(0, "bridge fdb add 02:00:00:00:00:0\(name.count) dev mvx7 dst 10.9.0.2")
            nodes.run(0, "nft add table inet \(name)")
            try await Self.wait(for: "the monitors") {
                Self.text(directory("links")).contains(": \(name): ")
                    && Self.text(directory("entries")).contains("02:00:00:00:00:0\(name.count)")
                    && Self.text(directory("rules")).contains("add table inet \(name)")
            }
        }
        var ready = 0
        while Self.text(directory("rules")).isEmpty || Self.text(directory("entries")).isEmpty {
            // A monitor that has not begun yet hears nothing of a change.
            ready += 1
            try #require(ready < 200)
            nodes.run(0, "nft add table inet early; ip netns exec \(nodes.names[0]) nft delete table inet early")
            nodes.run(0, "bridge fdb replace 02:00:00:00:00:99 dev mvx7 dst 10.9.0.2")
            nodes.run(0, "bridge fdb del 02:00:00:00:00:99 dev mvx7")
            try await Task.sleep(for: .milliseconds(50))
        }
        try await provoke("begin")
        let before = ["links", "entries", "rules"].map { Self.text(directory($0)) }

        let flood = try start(0, ["ping", "-n", "-i", "0.005", "192.168.77.2"], "flood")
        kill(agents[0].processIdentifier, SIGKILL)
        agents[0].waitUntilExit()
        let again = try start(0, [Self.agent, directory("node-0")], "agent-again")
        try await Self.wait(for: "the agent's return") { Self.hasApplied(again) }
        // An upgrade is what a service manager makes of it: it is told to end, and another executable is started.
        let next = directory("network-agent")
        try FileManager.default.copyItem(atPath: Self.agent, toPath: next)
        let file = try #require(FileHandle(forWritingAtPath: next))
        try file.seekToEnd()
        try file.write(contentsOf: Data("of another build".utf8))
        try file.close()
        kill(again.processIdentifier, SIGTERM)
        again.waitUntilExit()
        #expect(again.terminationStatus == 0)
        let upgraded = try start(0, [next, directory("node-0")], "agent-upgraded")
        try await Self.wait(for: "the next agent") { Self.hasApplied(upgraded) }
        func answers() -> [Int] {
            Self.text(directory("flood")).matches(of: /icmp_seq=(\d+) ttl/).compactMap { Int($0.output.1) }
        }
        // However quick all that was: the traffic goes on for a while after it.
        let upTo = answers().count + 50
        try await Self.wait(for: "traffic after the upgrade") { answers().count > max(100, upTo) }
        kill(flood.processIdentifier, SIGINT)
        flood.waitUntilExit()
        let result = Self.text(directory("flood"))
        let numbers = answers()
        #expect(numbers.count > 100 && numbers == Array(1...max(numbers.count, 1)), "\(result)")
        // Only what was sent in the moment of the end may lack its answer.
        let sent = result.firstMatch(of: /(\d+) packets transmitted/).flatMap { Int($0.output.1) } ?? 0
        #expect((0...2).contains(sent - numbers.count), "sent \(sent), received \(numbers.count)")

        // What the agent did would come before what is provoked now.
        try await provoke("finish")
        let after = ["links", "entries", "rules"].map { Self.text(directory($0)) }
        for (old, new) in zip(before, after) {
            let told = new.dropFirst(old.count).split(separator: "\n")
            #expect(told.allSatisfy { Self.isProvoked($0) }, "\(told)")
        }
        for monitor in monitors { #expect(monitor.isRunning) }
    }

    /// Whether a monitor's line is of what the test itself has done last.
    private static func isProvoked(_ line: Substring) -> Bool {
        line.contains("finish") || line.contains("02:00:00:00:00:06") || line.contains("link/ether")
            || line.hasPrefix("# new generation")
    }
}
