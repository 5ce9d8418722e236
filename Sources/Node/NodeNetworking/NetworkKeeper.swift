import AgentProtocol
import LinuxSystem
import Logging
import NIOCore
import NIOPosix
import NetworkUnits
import Primitives

/// Makes a node's network what its view says, with a trial for each new configuration; see `NetworkTrials`.
///
/// It is no role: every agent has one, and it goes on with what it has on disk while no conductor can be reached.
public actor NetworkKeeper {
    /// The condition that tells how it stands.
    public static let conditionType = "NetworkReady"

    private let paths: NetworkPaths
    private let files: NetworkFiles
    private let control: any NetworkControl
    private let bootID: String
    private let clock: any WallClock
    private let uptime: @Sendable () -> Int
    private let probe: @Sendable () async -> String?
    private let logger: Logger
    private let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
    private let executor: any SerialExecutor
    private let wants: AsyncStream<Want>
    private let wanted: AsyncStream<Want>.Continuation
    private let wakes: AsyncStream<Void>
    private let wake: AsyncStream<Void>.Continuation
    private var trials = NetworkTrials()
    private var tell: @Sendable () async -> Void = {}

    private struct Want: Sendable {
        var units: UnitSet
        var seconds: Int
    }

    /// Files and programs are waited for on a thread of its own.
    public nonisolated var unownedExecutor: UnownedSerialExecutor { executor.asUnownedSerialExecutor() }

    /// A keeper.
    /// - Parameters:
    ///   - bootID: the kernel's identifier of this boot.
    ///   - uptime: seconds since the boot, also those that the machine slept.
    ///   - probe: tries to reach a conductor by a new connection; nil: reached, else why not.
    public init(
        paths: NetworkPaths, control: any NetworkControl = SystemdNetworkControl(), bootID: String,
        clock: any WallClock = SystemWallClock(), uptime: @escaping @Sendable () -> Int = { Machine.uptimeSeconds },
        probe: @escaping @Sendable () async -> String?, logger: Logger
    ) {
        self.paths = paths
        files = NetworkFiles(paths: paths)
        self.control = control
        self.bootID = bootID
        self.clock = clock
        self.uptime = uptime
        self.probe = probe
        self.logger = logger
        executor = group.next().executor
        (wants, wanted) = AsyncStream.makeStream(bufferingPolicy: .bufferingNewest(1))
        (wakes, wake) = AsyncStream.makeStream(bufferingPolicy: .bufferingNewest(1))
    }

    /// Takes in what the node shall have. An item of a form that is not known leaves all as it is.
    public nonisolated func want(_ view: NodeView) {
        guard let item = view.items.values.first(where: { $0.kind == NodeNetworkItem.kind }),
            let network = try? item.decode(NodeNetworkItem.self), !network.links.isEmpty
        else { return }
        let range = NodeNetworkItem.confirmRange
        wanted.yield(
            Want(
                units: UnitSet(network), seconds: min(max(network.confirmSeconds, range.lowerBound), range.upperBound)))
    }

    /// What is told of the network; nil where it is not ours to make.
    public func condition() -> Condition? {
        guard paths.isNodeImage else { return nil }
        let (isTrue, message) = trials.verdict
        return Condition(type: Self.conditionType, isTrue: isTrue, message: message, since: clock.now)
    }

    /// Works until it is cancelled; `tell` is called when the condition has changed. Does nothing on a machine that
    /// runs no node image.
    public func run(tell: @escaping @Sendable () async -> Void) async {
        guard paths.isNodeImage else { return }
        self.tell = tell
        await handle(.started(files.record(), bootID: bootID))
        await withDiscardingTaskGroup { group in
            group.addTask {
                for await want in self.wants { await self.handle(.wanted(want.units, seconds: want.seconds)) }
            }
            for await _ in wakes { await lookWhileBusy() }
            group.cancelAll()
        }
    }

    private func lookWhileBusy() async {
        while trials.isBusy {
            do { try await Task.sleep(for: .seconds(1)) } catch { return }
            await look()
        }
    }

    private var now: NetworkTime { NetworkTime(wall: clock.now, uptime: uptime()) }

    private func look() async {
        if trials.wantsProbe(now) {
            let began = now.uptime
            let miss = await probe()
            await handle(miss.map { .unreached($0) } ?? .reached(uptime: began))
        }
        await handle(.tick)
    }

    private func handle(_ event: NetworkEvent) async {
        var events = [event]
        while !events.isEmpty {
            for effect in trials.step(events.removeFirst(), at: now) {
                if case .tell = effect { await tell() } else if let next = carryOut(effect) { events.append(next) }
            }
        }
        if trials.isBusy { wake.yield() }
    }

    private func carryOut(_ effect: NetworkEffect) -> NetworkEvent? {
        switch effect {
        case .save(let record): keep("the network's record") { try files.save(record) }
        case .store(let units): keep("the network's units") { try files.store(units) }
        case .run(let units):
            do {
                guard let change = try files.run(units) else { return .ran(changed: false) }
                try control.follow(change)
                return .ran(changed: true)
            } catch {
                return .failed((error as? any UserFacingError)?.publicMessage ?? "\(error)")
            }
        case .tell: break
        case .log(let isProblem, let text):
            if isProblem { logger.error("\(text)") } else { logger.info("\(text)") }
        }
        return nil
    }

    private func keep(_ what: String, _ body: () throws -> Void) {
        do { try body() } catch { logger.error("Could not keep \(what) on disk: \(error)") }
    }
}
