import CatalogBareMetal
import Logging
import Primitives
import ResourceModel
import Synchronization

/// The only writer of segments' status and of their events; what a frozen store refuses is written once it takes writes again.
struct SegmentRecorder: Sendable {
    let store: any ResourceStore
    let clock: any WallClock
    let logger: Logger
    private let rates = Rates()
    private let turns = Turns()

    /// The most events of one segment in a minute; what comes more often is only logged.
    static let eventsPerMinute = 20

    private final class Rates: Sendable {
        let state = Mutex<(number: UInt64, windows: [String: (start: Timestamp, count: Int)])>((0, [:]))
    }

    /// Which status of each segment is the newest: an older one that waits for a frozen store is not written any more.
    private final class Turns: Sendable {
        private let state = Mutex<[String: UInt64]>([:])

        func begin(_ segment: String) -> UInt64 {
            state.withLock { state in
                state[segment, default: 0] += 1
                return state[segment, default: 0]
            }
        }

        func isNewest(_ turn: UInt64, of segment: String) -> Bool { state.withLock { $0[segment] == turn } }
    }

    init(store: any ResourceStore, clock: any WallClock, logger: Logger) {
        self.store = store
        self.clock = clock
        self.logger = logger
    }

    /// Writes how it goes with a segment, if that is new. A segment that is gone is passed over.
    func set(_ state: Segment.State, _ message: String? = nil, foreign: [IPv4Address] = [], of segment: String) async {
        let turn = turns.begin(segment)
        do {
            try await StoreThaw.insist {
                _ = try await store.update(Segment.self, segment) { (stored: Stored<Segment>?) -> Stored<Segment>? in
                    guard var stored, turns.isNewest(turn, of: segment) else { return nil }
                    var next = stored.value.status
                    if next.state != state || next.since == nil { next.since = clock.now }
                    next.state = state
                    next.message = message?.printable(limit: 600)
                    next.foreignServers = foreign
                    guard next != stored.value.status else { return nil }
                    stored.value.status = next
                    return stored
                }
            }
        } catch is CancellationError { return } catch {
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
        do {
            let transaction = Transaction(operations: [try Stored(new: event).put()])
            _ = try await StoreThaw.insist { try await store.commit(transaction) }
        } catch is CancellationError { return } catch {
            logger.warning("an event of segment \(segment) was not stored: \(error)")
        }
    }
}
