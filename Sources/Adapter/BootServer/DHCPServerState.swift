import DHCP
import Primitives
import Synchronization

/// The engine, behind one lock: messages come from the threads of several ports, and answers of the store from others.
final class DHCPServerState: Sendable {
    private struct State {
        var leases: LeaseEngine?
        var proxy: ProxyEngine?
        var relays = ReplyPorts(attached: nil)
        var reports: [LeaseReport: Timestamp] = [:]
    }

    private let clock: any WallClock
    private let duty: @Sendable () -> SegmentDuty
    private let state: Mutex<State>

    private static let reportCountMax = 256

    init(
        leases: LeaseEngine? = nil, proxy: ProxyEngine? = nil, duty: @escaping @Sendable () -> SegmentDuty = { .leads },
        clock: any WallClock
    ) {
        self.duty = duty
        state = Mutex(State(leases: leases, proxy: proxy))
        self.clock = clock
    }

    /// Takes a message, and remembers where its relay was heard.
    func step(_ arrival: DHCPArrival) -> [LeaseEngine.Effect] {
        let now = clock.now
        let duty = duty()
        return state.withLock { state in
            state.relays.note(arrival)
            state.leases?.duty = duty
            guard state.proxy != nil else { return state.leases?.step(.received(arrival.packet), now: now) ?? [] }
            guard let source = arrival.source,
                arrival.port.number == 4011 || duty.answers(arrival.packet, as: arrival.packet.nextServer)
            else { return [] }
            return state.proxy?.step(arrival.packet, from: source, port: arrival.port.number, now: now) ?? []
        }
    }

    func step(_ event: LeaseEngine.Event) -> [LeaseEngine.Effect] {
        let now = clock.now
        let duty = duty()
        return state.withLock { state in
            state.leases?.duty = duty
            return state.leases?.step(event, now: now) ?? []
        }
    }

    /// Where replies go that no message asks for just now: offers that waited for a probe.
    func latePorts(attached: DHCPPort?) -> ReplyPorts {
        state.withLock { $0.relays }.with(attached: attached)
    }

    /// Whether the same was not reported in the last minute.
    func isNew(_ report: LeaseReport) -> Bool {
        let now = clock.now
        return state.withLock { state in
            if let last = state.reports[report], now.since(last) < .seconds(60) { return false }
            if state.reports.count >= Self.reportCountMax {
                state.reports = state.reports.filter { now.since($0.value) < .seconds(60) }
            }
            guard state.reports.count < Self.reportCountMax else { return false }
            state.reports[report] = now
            return true
        }
    }
}

/// Through which port a reply goes.
struct ReplyPorts: Sendable {
    private var always: DHCPPort?
    private var attached: DHCPPort?
    private var ofRelay: [IPv4Address: DHCPPort] = [:]

    init(always: DHCPPort) { self.always = always }

    init(attached: DHCPPort?) { self.attached = attached }

    /// The same with the port on the segment itself.
    func with(attached: DHCPPort?) -> ReplyPorts {
        var ports = self
        ports.attached = attached
        return ports
    }

    /// Remembers where a relay was heard last; only relays that the segment names come here.
    mutating func note(_ arrival: DHCPArrival) {
        guard arrival.packet.relayAddress != .any else { return }
        ofRelay[arrival.packet.relayAddress] = arrival.port
    }

    func port(for reply: DHCPReply) -> DHCPPort? {
        always ?? (reply.packet.relayAddress == .any ? attached : ofRelay[reply.packet.relayAddress])
    }
}
