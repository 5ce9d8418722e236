import CatalogBareMetal
import FleetContract
import FoundationEssentials
import NIOCore
import Primitives
import ResourceModel
import Synchronization

/// What lists show of nodes, as JSON: each node is encoded once for as long as nothing of it changes.
final class EncodedSummaries: Sendable {
    private struct State {
        /// What summaries are made with beside the nodes.
        var segments: [IPv4Network] = []
        var texts: [String: (revision: Revision, text: [UInt8])] = [:]
    }

    private let state = Mutex(State())

    /// The page as JSON, the same as `NodeList` of the nodes' summaries would be; `summary` is asked for those that
    /// have changed since they were listed last. Throws `EncodingError`.
    func page(
        _ nodes: some Collection<(value: Node, revision: Revision)>, of count: Int, revision: Revision, next: String?,
        segments: [IPv4Network], _ summary: (Node) -> NodeSummary?
    ) throws -> [UInt8] {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        let frame = Array(try encoder.encode(NodeList(nodes: [], revision: revision, next: next)))
        // A string cannot hold it: its quotes would be escaped.
        guard let place = frame.firstRange(of: Array(#""nodes":["#.utf8))?.upperBound else { return frame }
        return try state.withLock { state in
            if state.segments != segments || state.texts.count > count * 2 + 1000 { state.texts = [:] }
            state.segments = segments
            var page = Array(frame[..<place])
            var isFirst = true
            for (node, revision) in nodes {
                guard let text = try text(of: node, revision, &state, encoder, summary) else { continue }
                if !isFirst { page.append(UInt8(ascii: ",")) }
                isFirst = false
                page += text
            }
            return page + frame[place...]
        }
    }

    private func text(
        of node: Node, _ revision: Revision, _ state: inout State, _ encoder: JSONEncoder,
        _ summary: (Node) -> NodeSummary?
    ) throws -> [UInt8]? {
        if let known = state.texts[node.metadata.name], known.revision == revision { return known.text }
        guard let summary = summary(node) else { return nil }
        let text = Array(try encoder.encode(summary))
        // How far an image is changes without the node.
        if summary.progress == nil { state.texts[node.metadata.name] = (revision, text) }
        return text
    }
}
