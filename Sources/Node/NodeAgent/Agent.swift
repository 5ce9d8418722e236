import AgentProtocol
import Logging
import NIOCore
import NIOPosix
import NodeNetworking
import Primitives
import ServiceLifecycle
import WebSocketMessages

/// Gives figures of the whole node, at most 1,000 samples; called at each metrics interval.
public typealias MetricsSource = @Sendable () async -> [MetricsReport.Sample]

/// What an agent is and where its files are.
public struct AgentConfiguration: Sendable {
    /// The directory on the state partition with `agent.json` and `ca.pem`.
    public var directory: String
    /// The program's name in log batches, for example `network-agent`.
    public var program: String
    /// The agent's version.
    public var version: String
    /// The kernel's boot identifier.
    public var bootID: String
    /// The limits of the stream.
    public var stream: WebSocketLimits
    /// The longest that a role module may take for one piece of work before it is told to be not ready.
    public var rolePatience: Duration

    /// A configuration.
    public init(
        directory: String = "/state/muster", program: String, version: String, bootID: String,
        stream: WebSocketLimits = WebSocketLimits(
            messageSizeMax: Int(AgentStream.messageSizeMax.bytes), pingInterval: AgentStream.pingInterval),
        rolePatience: Duration = .seconds(60)
    ) {
        self.directory = directory
        self.program = program
        self.version = version
        self.bootID = bootID
        self.stream = stream
        self.rolePatience = rolePatience
    }
}

/// A node's agent: enrols, keeps a stream to a conductor, gives views to the role modules, reports.
///
/// Goes on with the view kept on disk while no conductor can be reached.
public final class Agent: Service {
    let configuration: AgentConfiguration
    let modules: [any RoleModule]
    let metrics: MetricsSource
    let addresses: @Sendable () -> [IPv4Address]
    let logs: LogBuffer
    let logger: Logger
    let clock: any WallClock
    let setClock: @Sendable (Timestamp) throws -> Void
    let networking: NetworkKeeper?
    let isClockKept: @Sendable () -> Bool
    let group: any EventLoopGroup
    let roleThreads: (any EventLoopGroup)?
    let streamChanged: @Sendable (String?) -> Void

    /// An agent; `addresses` tells the node's own addresses for operators, `setClock` sets the clock to a conductor's
    /// unless `isClockKept` tells that a time service does, and `networking` makes the node's network.
    ///
    /// `streamChanged` is told where the stream is open from now on, or nil when it is gone. Many agents of one process whose
    /// roles block nobody may share `roleThreads`; without them each role has two threads of its own.
    public init(
        configuration: AgentConfiguration, modules: [any RoleModule], metrics: @escaping MetricsSource,
        addresses: @escaping @Sendable () -> [IPv4Address], logs: LogBuffer, logger: Logger,
        clock: any WallClock = SystemWallClock(), setClock: @escaping @Sendable (Timestamp) throws -> Void = { _ in },
        isClockKept: @escaping @Sendable () -> Bool = { false }, networking: NetworkKeeper? = nil,
        on group: any EventLoopGroup = MultiThreadedEventLoopGroup.singleton,
        roleThreads: (any EventLoopGroup)? = nil, streamChanged: @escaping @Sendable (String?) -> Void = { _ in }
    ) {
        self.configuration = configuration
        self.modules = modules
        self.metrics = metrics
        self.addresses = addresses
        self.logs = logs
        self.logger = logger
        self.clock = clock
        self.setClock = setClock
        self.isClockKept = isClockKept
        self.networking = networking
        self.group = group
        self.roleThreads = roleThreads
        self.streamChanged = streamChanged
    }

    /// Runs until the task is cancelled or a graceful shutdown begins; what the roles made stays.
    ///
    /// Throws `AgentDirectoryError` when the node's files are missing or damaged.
    public func run() async throws {
        if let roleThreads { return try await run(on: roleThreads) }
        let threads = MultiThreadedEventLoopGroup(numberOfThreads: max(1, 2 * modules.count))
        do { try await run(on: threads) } catch {
            try? await threads.shutdownGracefully()
            throw error
        }
        try await threads.shutdownGracefully()
    }

    private func run(on threads: any EventLoopGroup) async throws {
        let (work, continuation) = AsyncStream.makeStream(of: AgentWork.self)
        let workers = modules.map { RoleWorker($0, on: threads.next(), patience: configuration.rolePatience) }
        let shell = AgentShell(agent: self, workers: workers, work: continuation)
        try await shell.start()
        await withDiscardingTaskGroup { group in
            for module in modules {
                let watcher = LoopExecutor(loop: threads.next())
                group.addTask {
                    await withTaskExecutorPreference(watcher) {
                        await module.run { continuation.yield(.attend(module.role)) }
                    }
                }
            }
            if let networking { group.addTask { await networking.run { await shell.nodeChanged() } } }
            await withTaskCancellationOrGracefulShutdownHandler {
                for await item in work { group.addTask { await shell.perform(item) } }
            } onCancelOrGracefulShutdown: {
                continuation.finish()
            }
            await shell.stop()
            group.cancelAll()
        }
    }
}

/// What the shell does beside its steps; each comes back as one event.
enum AgentWork: Sendable {
    case enrol(endpoint: String)
    case stream(endpoint: String)
    case apply(NodeView, Set<Role>)
    case check(Set<Role>)
    case take(ControllerSecretsReply)
    case metrics(Set<Role>)
    case attend(Role)
    case role(@Sendable () async -> Void)
    case sleep(until: ContinuousClock.Instant)
}
