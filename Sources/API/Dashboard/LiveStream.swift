import APISupport
import AgentProtocol
import CatalogBareMetal
import FleetAPI
import FleetContract
import HTTPTypes
import Hummingbird
import NIOCore
import Primitives
import ResourceModel
import ServiceLifecycle

/// Server-sent events (WHATWG HTML, section 9.2).
enum ServerEvent {
    /// Ends a silence, so that both ends know of each other.
    static let beatSeconds = 10

    /// An event; each line of `data` is one field.
    static func text(_ name: StaticString, revision: Revision? = nil, _ data: String) -> ByteBuffer {
        var text = "event: \(name)\n"
        if let revision { text += "id: \(revision)\n" }
        for line in data.split(omittingEmptySubsequences: false, whereSeparator: \.isNewline) {
            text += "data: \(line)\n"
        }
        return ByteBuffer(string: text + "\n")
    }

    /// How soon a browser comes back.
    static let retry = ByteBuffer(string: "retry: 2000\n\n")
}

extension WebPages {
    /// Rows that change, from the revision that the browser has; the whole table when that is too old.
    func fleetStream(_ request: Request, _ context: FleetRequestContext) async throws -> Response {
        try gate.reading(context, ResourceKey(kind: Node.kind, name: "*"))
        let seen = (request.headers[.lastEventID] ?? request.uri.queryParameters["since"].map(String.init))
            .flatMap(UInt64.init).map { Revision($0) }
        let feed: NodeFeed
        if let seen, let resumed = try await resume(seen) {
            feed = resumed
        } else {
            feed = try await reads.watch(since: nil)
        }
        let reads = reads
        return stream(request) { isSignedIn, write in
            if let revision = feed.first.first?.revision {
                let page = FleetPage(words: PageWords(now: reads.now), nodes: [], wanted: "")
                let rows = feed.first.prefix(Self.nodeCountMax).compactMap(\.node).map(page.row).reduce(.empty, +)
                try await write(ServerEvent.text("table", revision: revision, rows.html))
            }
            try await feed.run { line in
                guard isSignedIn() else { throw SignedOut() }
                switch line.type {
                case .node:
                    guard let node = line.node else { return }
                    let page = FleetPage(words: PageWords(now: reads.now), nodes: [], wanted: "")
                    try await write(ServerEvent.text("row", revision: line.revision, page.row(node).html))
                case .gone:
                    guard let id = line.id else { return }
                    try await write(ServerEvent.text("gone", revision: line.revision, id.raw))
                case .bookmark:
                    try await write(ServerEvent.text("beat", revision: line.revision, ""))
                case .error:
                    return
                }
            }
        }
    }

    /// A feed from `revision` on; nil when its history is gone or it is not of this store.
    private func resume(_ revision: Revision) async throws -> NodeFeed? {
        do { return try await reads.watch(since: revision) } catch is InvalidValue { return nil } catch {
            guard let error = error as? StoreError, APIError(error, requestID: "").status == .gone else { throw error }
            return nil
        }
    }

    /// The parts of a node's page that change.
    func nodeStream(_ request: Request, _ context: FleetRequestContext) async throws -> Response {
        let node = try readable(try context.parameters.require("node"), context)
        let id = try node.id
        let slot = try reads.place()
        let dashboard = self
        return stream(request) { isSignedIn, write in
            defer { withExtendedLifetime(slot) {} }
            try await dashboard.follow(id, isSignedIn, write)
        }
    }

    /// Sends each part of a node's page whenever it is not what was sent last; looks once a second, at the logs less
    /// often.
    private func follow(
        _ id: NodeID, _ isSignedIn: @Sendable () -> Bool, _ write: (ByteBuffer) async throws -> Void
    ) async throws {
        var sent: [String: String] = [:]
        var inventory: (digest: Digest, report: InventoryReport)?
        var shown: (revision: Revision, summary: NodeSummary?)?
        var quietSeconds = 0
        var second = 0
        while !Task.isShuttingDownGracefully {
            guard isSignedIn() else { throw SignedOut() }
            let revision = reads.revision
            guard let node = try? reads.node(id.raw) else {
                return try await write(ServerEvent.text("gone", revision: revision, id.raw))
            }
            let summary = reads.summary(node)
            if shown?.revision != revision || shown?.summary != summary || second % Self.logSeconds == 0 {
                shown = (revision, summary)
                let facts = try await facts(of: node, inventory: inventory)
                if let digest = node.status.inventory, let report = facts.inventory { inventory = (digest, report) }
                for part in NodePage(facts, words: PageWords(now: reads.now)).parts where sent[part.name] != part.mark {
                    sent[part.name] = part.mark
                    quietSeconds = 0
                    try await write(ServerEvent.text("part", revision: revision, part.markup.html))
                }
            }
            if quietSeconds >= ServerEvent.beatSeconds {
                quietSeconds = 0
                try await write(ServerEvent.text("beat", revision: revision, ""))
            }
            try await Task.sleep(for: .seconds(1))
            quietSeconds += 1
            second += 1
        }
    }

    /// How often a node's logs are looked at.
    private static let logSeconds = 3

    /// The session is over.
    private struct SignedOut: Error {}

    /// A response that lasts until the browser goes, the session ends or the conductor stops.
    private func stream(
        _ request: Request,
        _ body:
            @escaping @Sendable (
                _ isSignedIn: @Sendable () -> Bool, _ write: (ByteBuffer) async throws -> Void
            ) async throws -> Void
    ) -> Response {
        let dashboard = self
        let isSignedIn: @Sendable () -> Bool = { dashboard.caller(request) != nil }
        var headers = Response.pageHeaders
        headers[.contentType] = "text/event-stream; charset=utf-8"
        return Response(
            status: .ok, headers: headers,
            body: ResponseBody { writer in
                do {
                    // Without this a browser that goes away in a silence would keep its stream.
                    try await request.body.consumeWithCancellationOnInboundClose { _ in
                        try await writer.write(ServerEvent.retry)
                        try await body(isSignedIn) { try await writer.write($0) }
                    }
                } catch is SignedOut {
                    try await writer.write(ServerEvent.text("signed-out", ""))
                } catch is StoreError {
                    // Too slow a reader: it comes back from the revision that it has.
                }
                try await writer.finish(nil)
            })
    }
}
