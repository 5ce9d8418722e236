import AgentProtocol
import FoundationEssentials
import Glibc
import Primitives

/// What agents have seen of their streams: a file with one JSON object a line, in order.
final class AgentJournal: Sendable {
    /// Something that happened to an agent.
    enum Event {
        /// The stream is open at this port of a conductor; nil: it is gone.
        case stream(NodeID, at: String?)
        /// The machine of this serial number did not become a node, or its agent has ended.
        case failed(String, String)
    }

    struct Line: Codable, Sendable, Hashable {
        /// Monotonic, in nanoseconds.
        var time: Int64
        /// The node, or the machine's serial number when it has failed.
        var node: String
        var endpoint: String?
        var failure: String?
    }

    private let descriptor: Int32

    /// A new journal in the place of one that is there; throws `BedError`.
    init(writing path: String) throws(BedError) {
        descriptor = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0o600)
        guard descriptor >= 0 else { throw .failed("\(path) cannot be written.") }
    }

    deinit { close(descriptor) }

    func note(_ event: Event) {
        let now = monotonicNanoseconds()
        let line =
            switch event {
            case .stream(let node, let endpoint): Line(time: now, node: node.raw, endpoint: endpoint)
            case .failed(let serial, let why): Line(time: now, node: serial, failure: why)
            }
        guard let bytes = try? Array(JSONEncoder().encode(line)) + [10] else { return }
        _ = bytes.withUnsafeBytes { write(descriptor, $0.baseAddress, $0.count) }
    }

    /// What was written so far.
    static func read(_ path: String) -> [Line] {
        let data = FileManager.default.contents(atPath: path) ?? Data()
        let decoder = JSONDecoder()
        return data.split(separator: 10).compactMap { try? decoder.decode(Line.self, from: $0) }
    }
}
