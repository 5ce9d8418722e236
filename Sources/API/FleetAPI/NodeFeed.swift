import AgentProtocol
import CatalogBareMetal
import FleetContract
import Primitives
import ResourceModel
import ServiceLifecycle

/// What one follower of nodes gets; takes one of the places of all watches for as long as it is there.
public struct NodeFeed: Sendable {
    let store: any ResourceStore
    /// What there was at the beginning, nodes by name; empty when the follower knew. To be written before `run`.
    public let first: [WatchLine]
    let start: Revision
    /// The nodes whose image is being written now.
    let writing: [NodeSummary]
    let slot: PlaceLimit.Slot
    let summary: @Sendable (Node) -> NodeSummary?
    let progress: @Sendable (NodeID) -> Node.Progress?

    /// How often progress that is not stored is looked at.
    static let tickInterval: Duration = .seconds(1)
    /// Ticks without a line after which a bookmark tells that the stream lives.
    static let bookmarkTicks = 10
    /// Changes that may wait for a slow reader.
    static let queueMax = 1024

    private enum Signal: Sendable {
        case batch(WatchBatch)
        case tick
        case ended((any Error)?)
    }

    /// Gives what changes to `write`, and bookmarks in silence, until the conductor shuts down or the reader is gone; throws `StoreError` when the reader
    /// is too slow.
    public func run(_ write: (WatchLine) async throws -> Void) async throws {
        defer { withExtendedLifetime(slot) {} }
        try await withThrowingTaskGroup(of: Void.self) { group in
            let (signals, queue) = AsyncStream.makeStream(
                of: Signal.self, bufferingPolicy: .bufferingOldest(Self.queueMax))
            group.addTask {
                do {
                    for try await batch in await store.watch(after: start).cancelOnGracefulShutdown() {
                        guard case .enqueued = queue.yield(.batch(batch)) else { throw StoreError.watchOverflow }
                    }
                    queue.yield(.ended(nil))
                } catch {
                    queue.yield(.ended(error))
                }
                queue.finish()
            }
            group.addTask {
                while true {
                    try await Task.sleep(for: Self.tickInterval)
                    queue.yield(.tick)
                }
            }
            defer { group.cancelAll() }
            try await follow(signals, write)
        }
    }

    private func follow(_ signals: AsyncStream<Signal>, _ write: (WatchLine) async throws -> Void) async throws {
        var revision = start
        var writing = Dictionary(writing.map { ($0.id, $0) }, uniquingKeysWith: { first, _ in first })
        var quietTicks = 0
        for await signal in signals {
            var lines: [WatchLine] = []
            switch signal {
            case .ended(let error):
                if let error = error as? StoreError { throw error }
                return
            case .batch(let batch):
                revision = batch.revision
                lines = try self.lines(of: batch)
                for line in lines {
                    if let node = line.node { writing[node.id] = node.progress == nil ? nil : node }
                    if let id = line.id { writing[id] = nil }
                }
            case .tick:
                quietTicks += 1
                for (id, node) in writing {
                    guard let newer = progress(id), newer != node.progress else { continue }
                    writing[id]?.progress = newer
                    lines.append(WatchLine(.node, revision: revision, node: writing[id]))
                }
                if lines.isEmpty, quietTicks >= Self.bookmarkTicks {
                    lines = [WatchLine(.bookmark, revision: revision)]
                }
            }
            guard !lines.isEmpty else { continue }
            quietTicks = 0
            for line in lines { try await write(line) }
        }
        throw StoreError.watchOverflow
    }

    private func lines(of batch: WatchBatch) throws -> [WatchLine] {
        try batch.changes.compactMap { change in
            switch change {
            case .put(let document) where document.key.kind == Node.kind:
                return summary(try Stored<Node>(document).value).map {
                    WatchLine(.node, revision: batch.revision, node: $0)
                }
            case .deleted(let key) where key.kind == Node.kind:
                return WatchLine(.gone, revision: batch.revision, id: try NodeID(key.name))
            case .put, .deleted:
                return nil
            }
        }
    }
}
