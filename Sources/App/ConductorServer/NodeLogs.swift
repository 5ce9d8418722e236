import AgentProtocol
import Glibc
import Primitives
import Synchronization

/// Nodes' log lines in files: at most two of 4 MiB a node and source, of a machine that nobody has let in two of 128 KiB.
final class NodeLogs: Sendable {
    private let directory: String
    private let lock = Mutex(())

    static let fileSizeMax = 4 << 20
    static let strangerFileSizeMax = 128 << 10
    /// What a machine may log before it is let in.
    static let strangerSource = "discovery-agent"
    static let sources: Set<String> = [
        "discovery-agent", "network-agent", "compute-agent", "storage-agent", "controller-agent", "node-agent",
    ]

    init(directory: String) { self.directory = directory }

    /// Appends a batch; lines over the limits of `LogBatch` are cut. Throws `NodeLogError`.
    func append(_ batch: LogBatch, for node: NodeID, isStranger: Bool = false) throws(NodeLogError) {
        let isKnown = isStranger ? batch.source == Self.strangerSource : Self.sources.contains(batch.source)
        guard isKnown else { throw .unknownSource(batch.source.printable(limit: 60)) }
        var text = ""
        for line in batch.lines.prefix(LogBatch.lineCountMax) {
            text +=
                "\(line.time) \(line.level.printable(limit: 12)) \(line.text.printable(limit: LogBatch.lineLengthMax))\n"
        }
        let path = self.path(node, batch.source)
        try lock.withLock { _ throws(NodeLogError) in
            mkdir(directory, 0o700)
            mkdir("\(directory)/\(node.raw)", 0o700)
            var info = stat()
            if stat(path, &info) == 0, info.st_size > (isStranger ? Self.strangerFileSizeMax : Self.fileSizeMax) {
                rename(path, path + ".1")
            }
            let file = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0o600)
            guard file >= 0 else { throw .file(path, errno) }
            defer { close(file) }
            var bytes = Array(text.utf8)[...]
            while !bytes.isEmpty {
                let written = bytes.withUnsafeBytes { write(file, $0.baseAddress, $0.count) }
                guard written > 0 else { throw .file(path, errno) }
                bytes = bytes.dropFirst(written)
            }
        }
    }

    /// The last `count` lines of a source; empty when there are none.
    func tail(_ node: NodeID, source: String, count: Int) -> [String] {
        guard Self.sources.contains(source) else { return [] }
        return TextTail.lines(ofFile: path(node, source), count: count)
    }

    /// Removes all lines of a node.
    func remove(_ node: NodeID) {
        lock.withLock { _ in
            for source in Self.sources {
                unlink(path(node, source))
                unlink(path(node, source) + ".1")
            }
            rmdir("\(directory)/\(node.raw)")
        }
    }

    private func path(_ node: NodeID, _ source: String) -> String { "\(directory)/\(node.raw)/\(source).log" }
}

/// The end of a text file.
enum TextTail {
    static let sizeMax = 1 << 20

    /// The last `count` lines within the last MiB of a file; empty when it cannot be read.
    static func lines(ofFile path: String, count: Int) -> [String] {
        let file = open(path, O_RDONLY | O_CLOEXEC)
        guard file >= 0 else { return [] }
        defer { close(file) }
        let size = lseek(file, 0, SEEK_END)
        let start = max(0, size - off_t(sizeMax))
        guard size > start, lseek(file, start, SEEK_SET) == start else { return [] }
        var bytes = [UInt8](repeating: 0, count: Int(size - start))
        var filled = 0
        while filled < bytes.count {
            let got = bytes.withUnsafeMutableBytes {
                read(file, $0.baseAddress?.advanced(by: filled), $0.count - filled)
            }
            guard got > 0 else { break }
            filled += got
        }
        let lines = bytes[..<filled].split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false)
        return lines.suffix(count + 1).map { String(decoding: $0, as: UTF8.self).filter { $0 != "\r" } }
            .dropLast(lines.last?.isEmpty == true ? 1 : 0).suffix(count).map { $0.printable(limit: 4000) }
    }
}

/// Why a log batch was not kept.
enum NodeLogError: UserFacingError, Hashable {
    case unknownSource(String)
    case file(String, Int32)

    var publicMessage: String {
        switch self {
        case .unknownSource(let source): "'\(source)' is not a source of logs."
        case .file: "The conductor cannot keep logs now; look at its disk."
        }
    }

    var diagnostic: String {
        if case .file(let path, let code) = self {
            "\(path): \(String(cString: strerror(code)))"
        } else {
            publicMessage
        }
    }
}
