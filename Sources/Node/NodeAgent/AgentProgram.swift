import AgentProtocol
import LinuxSystem
import Logging
import Primitives
import ServiceLifecycle
import UnixSignals

/// The body of an agent executable.
public enum AgentProgram {
    /// Runs an agent with these role modules until SIGTERM or SIGINT; throws `AgentDirectoryError`.
    public static func run(
        program: String, version: String, directory: String = "/state/muster",
        metrics: @escaping MetricsSource, addresses: @escaping @Sendable () -> [IPv4Address],
        modules: @Sendable (Logger) -> [any RoleModule]
    ) async throws {
        let logs = LogBuffer()
        let logger = Logger(label: program) { _ in AgentLogHandler(buffer: logs) }
        let configuration = AgentConfiguration(
            directory: directory, program: program, version: version,
            bootID: SystemFile.text("/proc/sys/kernel/random/boot_id") ?? "unknown")
        let agent = Agent(
            configuration: configuration, modules: modules(logger), metrics: metrics, addresses: addresses, logs: logs,
            logger: logger)
        let group = ServiceGroup(
            configuration: ServiceGroupConfiguration(
                services: [agent], gracefulShutdownSignals: [.sigterm, .sigint], logger: logger))
        try await group.run()
    }
}
