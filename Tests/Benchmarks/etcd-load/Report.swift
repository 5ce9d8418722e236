import FoundationEssentials
import Glibc
import Synchronization

/// What one measurement found, printed as one line of JSON.
struct Report: Codable, Sendable {
    /// What was done, and by how many at once.
    var event: String
    /// How often.
    var count = 0
    /// How often a second.
    var rate = 0.0
    /// Milliseconds that one took.
    var p50 = 0.0
    var p99 = 0.0
    var most = 0.0

    /// A report of things that took `milliseconds` each.
    init(_ event: String, milliseconds: [Double], seconds: Double) {
        self.event = event
        let sorted = milliseconds.sorted()
        count = sorted.count
        guard let last = sorted.last else { return }
        rate = Double(count) / seconds
        p50 = sorted[sorted.count / 2]
        p99 = sorted[sorted.count * 99 / 100]
        most = last
    }

    func write() throws {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys]
        let line = Array(try encoder.encode(self)) + [10]
        _ = line.withUnsafeBytes { Glibc.write(STDOUT_FILENO, $0.baseAddress, $0.count) }
    }
}

/// Figures that many tasks add to.
final class Collected<Value: Sendable>: Sendable {
    private let values = Mutex<[Value]>([])

    var all: [Value] { values.withLock { $0 } }

    func add(_ more: [Value]) { values.withLock { $0 += more } }
}

/// The load cannot be made.
struct LoadError: Error, CustomStringConvertible {
    let description: String

    init(_ description: String) { self.description = description }
}

extension Duration {
    /// In milliseconds.
    var inMilliseconds: Double { Double(components.seconds) * 1e3 + Double(components.attoseconds) / 1e15 }
}
