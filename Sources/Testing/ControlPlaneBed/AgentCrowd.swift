import AgentProtocol
import FoundationEssentials
import Glibc
import Logging
import NIOPosix
import NodeAgent
import NodeTransport
import Primitives
import Synchronization

/// Many agents in one process, each the whole agent of a node, with a directory, a certificate and a stream of its own; only
/// what its role would do to a kernel is left out.
public struct AgentCrowd: Sendable {
    /// Machines on their way at once; a conductor takes 64 connections of one address.
    private static let concurrency = 32
    /// How often a machine that failed begins anew, at the next conductor.
    private static let attemptsMax = 5

    private let bed: Bed

    /// The agents of a bed that is up.
    public init(_ bed: Bed) { self.bed = bed }

    /// Enrols all machines and keeps their agents until it is cancelled; what becomes of them is in `AgentJournal`.
    ///
    /// The machines of the bed's own agent programs are enrolled first, and only their files are written.
    public func run() async throws {
        raiseFileLimit()
        let journal = try AgentJournal(writing: bed.plan.agentJournal)
        let authority = try String(contentsOfFile: bed.plan.authority, encoding: .utf8)
        let trust = try TransportSecurity.tls(trustRootsPEM: authority)
        let serials = bed.plan.agentPrograms + (0..<bed.plan.agents).map { "agent-\($0 + 1)" }
        let threads = MultiThreadedEventLoopGroup(numberOfThreads: 2)
        await withDiscardingTaskGroup { agents in
            let (enrolled, continuation) = AsyncStream.makeStream(of: (String, NodeID).self)
            agents.addTask { await enrol(serials, trust, journal, continuation) }
            for await (serial, node) in enrolled where !bed.plan.agentPrograms.contains(serial) {
                agents.addTask { await keep(serial, node, journal, threads) }
            }
        }
    }

    private func raiseFileLimit() {
        var limit = rlimit()
        guard getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0 else { return }
        limit.rlim_cur = limit.rlim_max
        _ = setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
    }

    private func enrol(
        _ serials: [String], _ trust: TransportSecurity, _ journal: AgentJournal,
        _ enrolled: AsyncStream<(String, NodeID)>.Continuation
    ) async {
        await withDiscardingTaskGroup { group in
            let places = AsyncSemaphore(limit: Self.concurrency)
            for (number, serial) in serials.enumerated() {
                await places.enter()
                group.addTask {
                    let visit = MachineVisit(serial: serial, number: number + 1, trust: trust)
                    do {
                        enrolled.yield((serial, try await enrol(visit)))
                    } catch {
                        journal.note(.failed(serial, "\(error)"))
                    }
                    places.leave()
                }
            }
        }
        enrolled.finish()
    }

    private func enrol(_ visit: MachineVisit) async throws -> NodeID {
        var attempt = 0
        while true {
            let conductors = bed.plan.controllers
            let conductor = conductors[(visit.number + attempt) % conductors.count]
            do {
                let (node, files) = try await visit.go(to: bed.plan.address(of: conductor))
                try write(files, to: bed.plan.agentFolder(visit.serial))
                return node
            } catch {
                attempt += 1
                guard attempt < Self.attemptsMax else { throw error }
                try await Task.sleep(for: .milliseconds(500))
            }
        }
    }

    private func write(_ files: [StateFile], to folder: String) throws {
        for file in files {
            let path = "\(folder)/\(file.path)"
            let parent = String(path[..<(path.lastIndex(of: "/") ?? path.endIndex)])
            try FileManager.default.createDirectory(
                atPath: parent, withIntermediateDirectories: true, attributes: [.posixPermissions: 0o700])
            try Data(file.content.utf8).write(to: URL(filePath: path))
            chmod(path, mode_t(file.mode))
        }
    }

    private func keep(
        _ serial: String, _ node: NodeID, _ journal: AgentJournal, _ threads: MultiThreadedEventLoopGroup
    ) async {
        let agent = Agent(
            configuration: AgentConfiguration(
                directory: "\(bed.plan.agentFolder(serial))/muster", program: "network-agent", version: "bed",
                bootID: "bed"),
            modules: [IdleNetworkRole()], metrics: { [] }, addresses: { [] }, logs: LogBuffer(),
            logger: Logger(label: serial) { _ in SwiftLogNoOpLogHandler() }, isClockKept: { true },
            roleThreads: threads, streamChanged: { journal.note(.stream(node, at: $0)) })
        do { try await agent.run() } catch { journal.note(.failed(serial, "\(error)")) }
    }
}

/// The network role of a node on which there is nothing to do.
private struct IdleNetworkRole: RoleModule {
    let role = Role.network
    let itemKinds: Set<String> = []

    func apply(_ items: [String: NodeView.Item]) async -> NodeStatusReport.RoleStatus { await check() }
    func check() async -> NodeStatusReport.RoleStatus { .init(role: role, isReady: true, conditions: []) }
    func metrics() async -> [MetricsReport.Sample] { [] }
}
