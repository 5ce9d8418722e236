import CatalogBareMetal
import Primitives
import Synchronization

/// The newest readings of the BMCs' sensors, in memory only.
public final class BMCSensors: Sendable {
    /// Readings older than this are not shown.
    public static let ageMax: Duration = .seconds(600)
    /// A BMC's sensors are not read more often.
    static let interval: Duration = .seconds(60)

    /// What one BMC told.
    public struct Report: Sendable, Hashable {
        /// The readings.
        public let readings: [SensorReading]
        /// When.
        public let at: Timestamp
    }

    private struct Entry {
        var asked: Timestamp
        var report: Report?
    }

    private let entries = Mutex<[String: Entry]>([:])

    /// Nothing is known.
    public init() {}

    /// The newest readings of a BMC; nil: none, or too old.
    public func report(of bmc: String, at now: Timestamp) -> Report? {
        entries.withLock { $0[bmc]?.report }.flatMap { now.since($0.at) <= Self.ageMax ? $0 : nil }
    }

    /// Whether it is time to read a BMC's sensors; notes that it is done now.
    func begin(_ bmc: String, at now: Timestamp) -> Bool {
        entries.withLock { entries in
            if let entry = entries[bmc], now.since(entry.asked) < Self.interval { return false }
            entries[bmc, default: Entry(asked: now)].asked = now
            return true
        }
    }

    func keep(_ readings: [SensorReading], of bmc: String, at now: Timestamp) {
        let report = Report(readings: Array(readings.prefix(SensorReading.countMax)), at: now)
        entries.withLock { $0[bmc, default: Entry(asked: now)].report = report }
    }

    /// Forgets the BMCs that are not among `names`.
    func retain(_ names: Set<String>) {
        entries.withLock { entries in entries = entries.filter { names.contains($0.key) } }
    }
}
