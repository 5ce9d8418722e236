import FoundationEssentials
import Glibc
import Primitives

/// What one measurement found, printed as one line of JSON.
struct Report: Codable, Sendable {
    /// What was done.
    var event: String
    /// How often.
    var count = 0
    /// How long all of it took.
    var seconds = 0.0
    /// Milliseconds that one took.
    var p50 = 0.0
    var p99 = 0.0
    var most = 0.0
    /// Bytes that came, of all.
    var bytes = 0
    /// What did not succeed at the first try, or not at all, with why.
    var failures: [String: Int] = [:]
    /// Wall clock seconds of the last of all.
    var endedAt = 0.0
    /// Milliseconds of the median machine at each step.
    var steps: [String: Double] = [:]

    /// A report of things that took `milliseconds` each.
    init(_ event: String, milliseconds: [Double], seconds: Double) {
        self.event = event
        let sorted = milliseconds.sorted()
        count = sorted.count
        self.seconds = seconds
        endedAt = wallClockSeconds()
        guard let last = sorted.last else { return }
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

/// The load cannot be made.
struct LoadError: Error, CustomStringConvertible {
    let description: String

    init(_ description: String) { self.description = description }
}

/// Seconds since 1970.
func wallClockSeconds() -> Double {
    var time = timespec()
    clock_gettime(CLOCK_REALTIME, &time)
    return Double(time.tv_sec) + Double(time.tv_nsec) / 1e9
}

extension Duration {
    /// In milliseconds.
    var inMilliseconds: Double { Double(components.seconds) * 1e3 + Double(components.attoseconds) / 1e15 }
}

/// A small text file's content.
func textFile(_ path: String) throws -> String {
    guard let data = FileManager.default.contents(atPath: path) else { throw LoadError("\(path) cannot be read") }
    return String(decoding: data, as: UTF8.self)
}
