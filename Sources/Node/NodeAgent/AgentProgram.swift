import AgentProtocol
import Glibc
import LinuxSystem
import Logging
import NodeNetworking
import Primitives
import ServiceLifecycle
import UnixSignals

/// The body of an agent executable.
public enum AgentProgram {
    /// Runs an agent with these role modules until SIGTERM or SIGINT, and ends the process: 0 when it was told to end,
    /// 78 (EX_CONFIG) when this node's files are missing or damaged.
    ///
    /// The only argument is the directory on the state partition; `/state/muster` without it.
    public static func main(
        program: String, version: String, arguments: [String] = CommandLine.arguments,
        modules: @Sendable (Logger) -> [any RoleModule]
    ) async -> Never {
        do {
            let directory = arguments.dropFirst().first ?? "/state/muster"
            try await run(program: program, version: version, directory: directory, modules: modules)
            exit(0)
        } catch {
            let line = Array("\(program): \(error)\n".utf8)
            _ = line.withUnsafeBytes { write(STDERR_FILENO, $0.baseAddress, $0.count) }
            exit(78)
        }
    }

    private static func run(
        program: String, version: String, directory: String, modules: @Sendable (Logger) -> [any RoleModule]
    ) async throws {
        let logs = LogBuffer()
        let logger = Logger(label: program) { _ in AgentLogHandler(buffer: logs) }
        let setClock: @Sendable (Timestamp) throws -> Void = { try Machine.setClock($0) }
        raiseClock(SystemWallClock(), to: AgentDirectory(path: directory), logger: logger, setClock: setClock)
        let configuration = AgentConfiguration(
            directory: directory, program: program, version: version, bootID: Machine.bootID)
        let probe = ConductorProbe(directory: AgentDirectory(path: directory))
        let networking = NetworkKeeper(
            paths: NetworkPaths(directory: directory), bootID: Machine.bootID, probe: { await probe.miss() },
            logger: logger)
        let agent = Agent(
            configuration: configuration, modules: modules(logger), metrics: { MachineMetrics.read() },
            addresses: ownAddresses, logs: logs, logger: logger, setClock: setClock,
            isClockKept: { Machine.clockState?.isSynchronised ?? false }, networking: networking)
        let group = ServiceGroup(
            configuration: ServiceGroupConfiguration(
                services: [agent], gracefulShutdownSignals: [.sigterm, .sigint], logger: logger))
        try await group.run()
    }

    /// Sets a clock that is behind the agent's own files to the newest of them: a hardware clock without its battery
    /// begins years ago, when no certificate was valid yet, and then no conductor could be asked for the time.
    static func raiseClock(
        _ clock: any WallClock, to directory: AgentDirectory, logger: Logger, setClock: (Timestamp) throws -> Void
    ) {
        guard let newest = directory.newestChange, clock.now < newest else { return }
        do {
            try setClock(newest)
            logger.warning("The clock was behind the agent's own files and is set to the newest, \(newest).")
        } catch {
            logger.error("The clock is behind the agent's own files and was not set: \(error)")
        }
    }

    /// The node's addresses without loopback, at most 64; tunnels begin at the first, which the conductor gives to the
    /// other ends.
    @Sendable private static func ownAddresses() -> [IPv4Address] {
        let all = (try? Netlink().reachableAddresses()) ?? []
        return Array(all.map(\.address).prefix(64))
    }
}
