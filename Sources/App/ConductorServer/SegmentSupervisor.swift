import BootServer
import CatalogBareMetal
import Logging
import Primitives
import ResourceModel
import ServiceLifecycle

/// Answers machines on every segment of the catalog: starts, restarts and stops their DHCP and TFTP servers and router
/// advertisers as the catalog changes. An interface has one server at a time: the next waits until the last has ended.
struct SegmentSupervisor: Service {
    let catalog: LiveCatalog
    let store: any ResourceStore
    let clock: any WallClock
    let bootPort: Int
    let programs: BootPrograms
    let logger: Logger

    static let retryDelay: Duration = .seconds(5)

    func run() async throws {
        await cancelWhenGracefulShutdown {
            await withDiscardingTaskGroup { group in
                var running: [String: (Segment.Spec, StopSignal)] = [:]
                var ends: [String: StopSignal] = [:]
                while !Task.isCancelled {
                    let segments = Dictionary(
                        catalog.segments().map { ($0.metadata.name, $0) }, uniquingKeysWith: { first, _ in first })
                    for (name, entry) in running where segments[name]?.spec != entry.0 {
                        entry.1.stop()
                        running[name] = nil
                    }
                    for (name, segment) in segments where running[name] == nil {
                        let (signal, end) = (StopSignal(), StopSignal())
                        running[name] = (segment.spec, signal)
                        let last = ends.updateValue(end, forKey: segment.spec.interface ?? "")
                        group.addTask {
                            await last?.wait()
                            await serve(segment, until: signal)
                            end.stop()
                        }
                    }
                    try? await Task.sleep(for: .milliseconds(500))
                }
                for entry in running.values { entry.1.stop() }
                group.cancelAll()
            }
        }
    }

    /// Serves one segment until `signal`; what fails is logged with what to do and tried again.
    private func serve(_ segment: Segment, until signal: StopSignal) async {
        let name = segment.metadata.name
        guard let interface = segment.spec.interface, segment.spec.mode == .server else { return await signal.wait() }
        await withTaskGroup(of: Void.self) { group in
            group.addTask {
                await keepRunning("DHCP on segment \(name)") {
                    try await DHCPServer(
                        interface: interface,
                        segment: try DHCPSegment(segment, httpPort: bootPort), store: store, clock: clock,
                        handlers: DHCPServer.Handlers(
                            observed: { client in logger.debug("\(name): heard \(client)") },
                            report: { report in logger.warning("\(name): \(report)") },
                            listening: { logger.info("\(name): answering DHCP on \(interface)") }),
                        logger: logger
                    ).run()
                }
            }
            group.addTask {
                await keepRunning("TFTP on segment \(name)") {
                    try await TFTPServer(
                        address: segment.spec.server, files: { programs.bytes(named: $0) }, logger: logger,
                        onListening: { _ in logger.info("\(name): serving TFTP on \(segment.spec.server)") }
                    ).run()
                }
            }
            group.addTask {
                await keepRunning("router advertisements on segment \(name)") {
                    try await RouterAdvertiser(interface: interface, logger: logger).run()
                }
            }
            group.addTask { await signal.wait() }
            await group.next()
            group.cancelAll()
        }
    }

    private func keepRunning(_ what: String, _ body: () async throws -> Void) async {
        while !Task.isCancelled {
            do {
                try await body()
            } catch {
                guard !Task.isCancelled else { return }
                logger.error(
                    "\(what) stopped: \((error as? any UserFacingError)?.diagnostic ?? "\(error)"); trying again")
            }
            try? await Task.sleep(for: Self.retryDelay)
        }
    }
}

/// Tells one task, the only one that may wait, that something stops or has stopped.
struct StopSignal: Sendable {
    private let stream: AsyncStream<Void>
    private let continuation: AsyncStream<Void>.Continuation

    init() { (stream, continuation) = AsyncStream.makeStream() }

    func stop() { continuation.finish() }

    func wait() async { for await _ in stream {} }
}
