import FoundationEssentials
import Glibc
import Primitives
import VirtualRack

extension Bed {
    /// The tmpfs with the state partitions of all machines: a few pages for each.
    private static let machinesMiB = 1024

    /// Lets machines of the bed in, starts the simulated agents and the agent programs, and waits until all have a stream.
    func startAgents(_ program: String, _ progress: @Sendable (String) -> Void) async throws {
        progress("agents: \(plan.agents) simulated ones, and \(plan.agentPrograms.count) programs")
        try FileManager.default.createDirectory(
            atPath: plan.machines, withIntermediateDirectories: true, attributes: [.posixPermissions: 0o700])
        try await mountMemory(at: plan.machines, mebibytes: Self.machinesMiB)
        try await letMachinesIn()
        let crowd = try spawn([program, "agents", "--directory", plan.root], as: "agents", at: .agents)
        for serial in plan.agentPrograms {
            try await waitUntil("The files of \(serial)", within: .seconds(60), hint: crowd.logTail()) {
                try checkForFailures()
                let look = ["test", "-s", "\(plan.agentFolder(serial))/muster/agent.json"]
                return (try? await inside(look)) != nil
            }
            try startAgent(serial)
        }
        // Each machine is a dozen commits.
        let limit = Duration.seconds(90 + plan.agents / 10)
        _ = try await waitForAgents(within: limit)
    }

    /// Starts the program of a node's agent unless it runs.
    func startAgent(_ serial: String) throws {
        if let running = process(serial), running.isRunning { return }
        try spawn(plan.agent(serial), as: serial, at: .node(serial))
    }

    /// Applies the site and brings an image in.
    private func letMachinesIn() async throws {
        let (site, image) = ("\(plan.root)/run/site.yaml", "\(plan.root)/run/image.raw")
        try Data(plan.site.utf8).write(to: URL(filePath: site))
        try await Commands.run(["dd", "if=/dev/urandom", "of=\(image)", "bs=64k", "count=16", "status=none"])
        let muster = [
            "env", "MUSTER_API=https://\(plan.address(of: "c1")):\(BedPlan.apiPort)", "MUSTER_CA=\(plan.authority)",
            "MUSTER_TOKEN_FILE=\(plan.tokenFile)", "\(plan.programs)/muster",
        ]
        for words in [["image", "push", "node", "--role", "network", "--file", image], ["site", "apply", site]] {
            try await run(muster + words, at: .client, timeout: .seconds(60))
        }
    }

    /// Waits until each node has a stream, its newest, at just one conductor, and the catalog says so; gives how long that
    /// took. Throws `RackError.timedOut` and `BedError`.
    @discardableResult
    public func waitForAgents(within limit: Duration) async throws -> Duration {
        let begun = ContinuousClock.now
        var seen = "nothing"
        while true {
            try checkForFailures()
            let status = await agentStatus()
            if status.isWhole { return ContinuousClock.now - begun }
            seen = "\(status)"
            guard ContinuousClock.now - begun < limit else {
                throw RackError.timedOut(
                    what: "A stream of each node (\(seen))", after: limit, hint: "See \(plan.root)/log.")
            }
            try await Task.sleep(for: .milliseconds(plan.agents > 500 ? 1000 : 250))
        }
    }

    private func checkForFailures() throws(BedError) {
        let failures = AgentJournal.read(plan.agentJournal).compactMap(\.failure)
        if let first = failures.first { throw .failed("\(failures.count) agents have failed. \(first)") }
    }

    /// What is known of all nodes' streams.
    public struct AgentStatus: Sendable, Hashable, Codable, CustomStringConvertible {
        /// How many nodes there are to be.
        public var wanted: Int
        /// What the catalog says: nodes whose stream is open, of which nobody knows, and gone.
        public var open = 0
        public var unknown = 0
        public var gone = 0
        /// The streams that each conductor has; without those that do not answer.
        public var streams: [String: Int] = [:]

        /// Whether each node has one stream, and all know it.
        public var isWhole: Bool { open == wanted && streams.values.reduce(0, +) == wanted }

        public var description: String {
            let here = streams.sorted { $0.key < $1.key }.map { "\($0.key) \($0.value)" }.joined(separator: ", ")
            return "\(wanted) nodes: open \(open), unknown \(unknown), gone \(gone); streams: \(here)"
        }
    }

    /// Looks at all nodes.
    public func agentStatus() async -> AgentStatus {
        var status = AgentStatus(wanted: plan.nodeCount)
        status.streams = await withTaskGroup(of: (String, Int?).self) { group in
            for name in plan.controllers { group.addTask { (name, await figure("muster_agents_connected", of: name)) } }
            return await group.reduce(into: [:]) { $0[$1.0] = $1.1 }
        }
        for name in plan.controllers {
            guard let census = await census(at: name) else { continue }
            (status.open, status.unknown) = (census.count(.open), census.count(.unknown))
            status.gone = census.count(.gone)
            break
        }
        return status
    }

    /// What the catalog says of all nodes with an agent, asked of one conductor; nil: it does not answer.
    func census(at controller: String) async -> AgentCensus? {
        struct Page: Decodable {
            struct Node: Decodable { var id: String; var isConnected: Bool?; var isUncertain: Bool? }
            var nodes: [Node]
            var next: String?
        }
        var census = AgentCensus(begun: monotonicNanoseconds(), ended: 0, streams: [:])
        var marker: String? = ""
        while let from = marker {
            let path = "/fleet/v1/nodes" + (from.isEmpty ? "" : "?marker=\(from)")
            guard let text = await get(path, of: controller),
                let page = try? JSONDecoder().decode(Page.self, from: Data(text.utf8))
            else { return nil }
            for node in page.nodes {
                guard let isConnected = node.isConnected else { continue }
                census.streams[node.id] = node.isUncertain == true ? .unknown : isConnected ? .open : .gone
            }
            marker = page.next
        }
        census.ended = monotonicNanoseconds()
        return census
    }
}
