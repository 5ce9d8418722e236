import AgentProtocol
import FoundationEssentials
import LinuxSystem
import Logging
import NetworkUnits
import Primitives
import Synchronization
import TestSupport
import Testing

@testable import NodeNetworking

/// Notes what it is told.
private final class NotedControl: NetworkControl {
    let changes = Mutex<[NetworkChange]>([])
    func follow(_ change: NetworkChange) { changes.withLock { $0.append(change) } }
}

@Suite struct NetworkKeeperTests {
    private let quiet: Logger = {
        var logger = Logger(label: "test")
        logger.logLevel = .critical
        return logger
    }()

    private func withPaths(_ body: (NetworkPaths) async throws -> Void) async throws {
        let base = FileManager.default.temporaryDirectory.appending(path: "muster-network-\(UUID().uuidString)").path
        defer { try? FileManager.default.removeItem(atPath: base) }
        for name in ["state/network", "run"] {
            try FileManager.default.createDirectory(atPath: "\(base)/\(name)", withIntermediateDirectories: true)
        }
        var paths = NetworkPaths(directory: "\(base)/state")
        paths.running = "\(base)/run"
        paths.fallback = "\(base)/fallback.network"
        try SystemFile.replace(paths.fallback, content: Array("[Match]\n".utf8), mode: 0o644)
        try await body(paths)
    }

    @Test func `files are changed by difference, those of others stay`() async throws {
        try await withPaths { paths in
            let files = NetworkFiles(paths: paths)
            let (bond, dhcp) = (UnitSet(Networks.lacp), UnitSet(Networks.dhcp))
            try SystemFile.replace("\(paths.running)/10-mine.link", content: [10], mode: 0o644)
            #expect(try files.run(nil) == NetworkChange(removed: [], isRemade: false))
            #expect(SystemFile.names(in: paths.running) == ["10-mine.link", "fallback.network"])
            #expect(try files.run(nil) == nil)
            #expect(try files.run(bond) == NetworkChange(removed: [], isRemade: false))
            #expect(SystemFile.names(in: paths.running) == ["10-mine.link"] + bond.files.keys.sorted())
            #expect(try files.run(bond) == nil)
            #expect(
                try files.run(UnitSet(Networks.backup)) == NetworkChange(removed: ["bond0", "fabric"], isRemade: true))
            _ = try files.run(bond)
            #expect(try files.run(dhcp) == NetworkChange(removed: ["bond0", "fabric"], isRemade: false))
            #expect(SystemFile.names(in: paths.running) == ["10-mine.link"] + dhcp.files.keys.sorted())
            #expect(try files.run(nil) == NetworkChange(removed: [], isRemade: false))
            #expect(SystemFile.names(in: paths.running) == ["10-mine.link", "fallback.network"])
        }
    }

    @Test func `a record that is lost is made of the units that are there`() async throws {
        try await withPaths { paths in
            let files = NetworkFiles(paths: paths)
            #expect(files.record() == NetworkRecord())
            try files.store(UnitSet(Networks.dhcp))
            #expect(files.record() == NetworkRecord(kept: UnitSet(Networks.dhcp)))
            let record = NetworkRecord(trial: .init(units: UnitSet(Networks.lacp), seconds: 30))
            try files.save(record)
            #expect(files.record() == record)
            try SystemFile.replace(paths.record, content: Array("{".utf8), mode: 0o600)
            #expect(files.record() == NetworkRecord(kept: UnitSet(Networks.dhcp)))
        }
    }

    /// Runs a keeper until `isDone`; its seconds are those that it has looked for.
    private func run(
        _ paths: NetworkPaths, _ control: NotedControl, wanting item: NodeNetworkItem?, reaches: Bool,
        until isDone: @escaping @Sendable (NetworkKeeper) async -> Bool
    ) async throws {
        let uptime = Mutex(0)
        let keeper = NetworkKeeper(
            paths: paths, control: control, bootID: "boot-1",
            uptime: {
                uptime.withLock {
                    $0 += 2
                    return $0
                }
            }, probe: { reaches ? nil : "no route" }, logger: quiet)
        if let item {
            let view = NodeView(
                revision: Revision(1), generation: Generation(1),
                items: [
                    NodeNetworkItem.key: try .init(
                        kind: NodeNetworkItem.kind, generation: Generation(1), encoding: item)
                ])
            keeper.want(view)
        }
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { await keeper.run {} }
            while !(await isDone(keeper)) { try await Task.sleep(for: .milliseconds(20)) }
            group.cancelAll()
        }
    }

    @Test(.timeLimit(.minutes(2))) func `a trial ends on disk one way or the other`() async throws {
        try await withPaths { paths in
            let files = NetworkFiles(paths: paths)
            let control = NotedControl()
            try await run(paths, control, wanting: Networks.lacp, reaches: true) { _ in
                files.record().kept == UnitSet(Networks.lacp)
                    && NetworkFiles.units(in: paths.stored) == UnitSet(Networks.lacp)
            }
            #expect(files.record().trial == nil)
            #expect(NetworkFiles.units(in: paths.running) == UnitSet(Networks.lacp))
            #expect(control.changes.withLock { $0.count } == 2, "the fallback, then the bond")
            try await run(paths, control, wanting: Networks.dhcp, reaches: false) { _ in
                files.record().rejected?.units == UnitSet(Networks.dhcp)
                    && NetworkFiles.units(in: paths.running) == UnitSet(Networks.lacp)
            }
            #expect(control.changes.withLock { $0.last } == NetworkChange(removed: [], isRemade: false))
            #expect(NetworkFiles.units(in: paths.stored) == UnitSet(Networks.lacp))
            let count = control.changes.withLock { $0.count }
            try await run(paths, control, wanting: Networks.lacp, reaches: true) { keeper in
                await keeper.condition()?.isTrue == true
            }
            #expect(
                control.changes.withLock { $0.count } == count, "an unchanged network: nothing is written or reloaded")
        }
    }
}
