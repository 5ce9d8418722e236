import APISupport
import AgentProtocol
import CatalogBareMetal
import FleetContract
import FoundationEssentials
import HTTPTypes
import Hummingbird
import NIOCore
import Primitives
import ReconcileRuntime
import ResourceModel
import ServiceLifecycle

extension FleetCall {
    /// Lines of `WatchLine`: without `since` all nodes first, then their changes, and bookmarks in between.
    func watch() async throws -> Response {
        let since = try query("since").map { text in
            guard let number = UInt64(text) else { throw InvalidValue("revision", text, expected: "a whole number") }
            return Revision(number)
        }
        let current = services.cache.revision
        if let since, since > current {
            throw InvalidValue("revision", since.description, expected: "at most the newest, \(current)")
        }
        // Nodes are read after the revision is known: a change in between is sent twice, never missed.
        let nodes = since == nil ? services.cache.all(Node.self) : []
        let first = nodes.compactMap(summary).sorted { $0.name < $1.name }.map { node in
            WatchLine(.node, revision: current, node: node)
        }
        if let since, since < current {
            // There is at least one batch after `since`, or the history before it is gone: known at once.
            var probe = await services.store.watch(after: since).makeAsyncIterator()
            _ = try await probe.next()
        }
        guard let slot = counters.watches.take() else {
            throw APIError(
                .serviceUnavailable, "busy", "There are \(FleetLimit.watchCount) watches already; end one, or wait.",
                headers: [.retryAfter: "10"])
        }
        let stream = WatchStream(
            store: services.store, start: since ?? current, summary: summary, progress: services.live.progress)
        let requestID = context.requestID
        let body = ResponseBody { writer in
            defer { withExtendedLifetime(slot) {} }
            do {
                for line in first { try await writer.write(stream.encoded(line)) }
                try await stream.run { try await writer.write($0) }
            } catch let error as StoreError {
                let answer = APIError(error, requestID: requestID)
                let content = ErrorReply.Content(code: answer.code, message: answer.message)
                try await writer.write(stream.encoded(WatchLine(.error, revision: .zero, error: content)))
            }
            try await writer.finish(nil)
        }
        return Response(
            status: .ok, headers: [.contentType: "application/x-ndjson", .cacheControl: "no-store"], body: body)
    }
}

/// The lines of one watch.
struct WatchStream: Sendable {
    let store: any ResourceStore
    let start: Revision
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

    /// Gives lines to `write` until the conductor shuts down or the reader is gone; throws `StoreError` when the reader
    /// is too slow.
    func run(_ write: (ByteBuffer) async throws -> Void) async throws {
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

    private func follow(_ signals: AsyncStream<Signal>, _ write: (ByteBuffer) async throws -> Void) async throws {
        var revision = start
        var writing: [NodeID: NodeSummary] = [:]
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
            for line in lines { try await write(encoded(line)) }
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

    /// One line with its end.
    func encoded(_ line: WatchLine) throws -> ByteBuffer {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        return ByteBuffer(bytes: try encoder.encode(line) + [UInt8(ascii: "\n")])
    }
}
