import CatalogBareMetal
import Logging
import Primitives
import ResourceModel
import Synchronization

/// The only writer of segments' status and of their events.
struct SegmentRecorder: Sendable {
    let store: any ResourceStore
    let clock: any WallClock
    let logger: Logger
    private let rates = Rates()

    /// The most events of one segment in a minute; what comes more often is only logged.
    static let eventsPerMinute = 20

    private final class Rates: Sendable {
        let state = Mutex<(number: UInt64, windows: [String: (start: Timestamp, count: Int)])>((0, [:]))
    }

    init(store: any ResourceStore, clock: any WallClock, logger: Logger) {
        self.store = store
        self.clock = clock
        self.logger = logger
    }

    /// Writes how it goes with a segment, if that is new. A segment that is gone is passed over.
    func set(_ state: Segment.State, _ message: String? = nil, foreign: [IPv4Address] = [], of segment: String) async {
        do {
            _ = try await store.update(Segment.self, segment) { (stored: Stored<Segment>?) -> Stored<Segment>? in
                guard var stored else { return nil }
                var next = stored.value.status
                if next.state != state || next.since == nil { next.since = clock.now }
                next.state = state
                next.message = message?.printable(limit: 600)
                next.foreignServers = foreign
                guard next != stored.value.status else { return nil }
                stored.value.status = next
                return stored
            }
        } catch {
            logger.warning("the status of segment \(segment) was not stored: \(error)")
        }
    }

    /// Keeps an event, unless too many have come in the last minute.
    func record(_ type: String, _ message: String, of segment: String) async {
        let now = clock.now
        let number = rates.state.withLock { state -> UInt64? in
            var window = state.windows[segment] ?? (now, 0)
            if now.since(window.start) >= .seconds(60) || now < window.start { window = (now, 0) }
            window.count += 1
            state.windows[segment] = window
            state.number += 1
            return window.count <= Self.eventsPerMinute ? state.number : nil
        }
        guard let number else { return }
        // Sorts by time, also within one millisecond.
        let time = String(100_000_000_000_000 + max(0, now.millisecondsSinceEpoch)).dropFirst()
        let name = "\(segment).\(time)-\(String(1_000_000 + number % 1_000_000).dropFirst())"
        let event = SegmentEvent(
            metadata: Metadata(name: name, schemaVersion: SegmentEvent.schemaVersion, created: now),
            spec: .init(segment: segment, time: now, type: type, message: message.printable(limit: 600)))
        do { _ = try await store.commit(Transaction(operations: [try Stored(new: event).put()])) } catch {
            logger.warning("an event of segment \(segment) was not stored: \(error)")
        }
    }
}
