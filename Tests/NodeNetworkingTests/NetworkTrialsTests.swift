import AgentProtocol
import NetworkUnits
import Primitives
import Testing

@testable import NodeNetworking

/// Steps of a node's network, with what was last asked for.
private struct Bench {
    var trials = NetworkTrials()
    var uptime = 100
    var running: UnitSet?? = .none
    var stored: UnitSet?? = .none
    var saved: NetworkRecord?
    var writes = 0

    @discardableResult
    mutating func take(_ event: NetworkEvent, failing: Bool = false) -> [NetworkEffect] {
        var events = [event]
        var all: [NetworkEffect] = []
        while !events.isEmpty {
            let effects = trials.step(events.removeFirst(), at: NetworkTime(wall: time, uptime: uptime))
            all += effects
            for effect in effects {
                switch effect {
                case .save(let record): (saved, writes) = (record, writes + 1)
                case .store(let units): stored = units
                case .run(let units):
                    let changed = running != .some(units)
                    running = .some(units)
                    events.append(failing && units == wanted ? .failed("no such card") : .ran(changed: changed))
                case .tell, .log: break
                }
            }
        }
        return all
    }

    mutating func wait(_ seconds: Int) -> [NetworkEffect] {
        uptime += seconds
        return take(.tick)
    }

    let time = Timestamp(millisecondsSinceEpoch: 0)
    let wanted = UnitSet(Networks.lacp)
    let old = UnitSet(Networks.dhcp)

    init(_ record: NetworkRecord = NetworkRecord(), boot: String = "boot-1") {
        take(.started(record, bootID: boot))
    }
}

@Suite struct NetworkTrialsTests {
    private let lacp = UnitSet(Networks.lacp)
    private let dhcp = UnitSet(Networks.dhcp)

    @Test func `what was kept is left alone`() {
        var bench = Bench(NetworkRecord(kept: dhcp))
        #expect(bench.running == .some(dhcp) && bench.stored == .some(dhcp) && bench.saved == nil)
        #expect(bench.take(.wanted(dhcp, seconds: 30)).isEmpty)
        #expect(bench.wait(3600).isEmpty && !bench.trials.isBusy)
        #expect(bench.trials.verdict == (true, "The network is as asked for."))
    }

    @Test func `a configuration that proves itself is kept`() {
        var bench = Bench(NetworkRecord(kept: dhcp))
        bench.take(.wanted(lacp, seconds: 60))
        #expect(bench.running == .some(lacp) && bench.stored == .some(dhcp), "the next boot has the old one")
        #expect(bench.saved?.trial?.deadline == 160 && bench.saved?.kept == dhcp)
        // Right after the change old addresses may still answer, and one answer is not enough.
        #expect(bench.take(.reached(uptime: 105)).isEmpty)
        #expect(!bench.trials.wantsProbe(NetworkTime(wall: bench.time, uptime: 109)))
        #expect(bench.take(.reached(uptime: 110)).isEmpty)
        #expect(bench.take(.reached(uptime: 111)).isEmpty)
        bench.take(.unreached("no route"))
        #expect(bench.take(.reached(uptime: 113)).isEmpty)
        #expect(!bench.take(.reached(uptime: 116)).isEmpty)
        #expect(bench.stored == .some(lacp) && bench.saved == NetworkRecord(kept: lacp))
        #expect(bench.wait(100).isEmpty)
        #expect(bench.trials.verdict.isTrue)
    }

    @Test func `what cuts the conductor off is taken back and not tried again until it changes`() {
        var bench = Bench(NetworkRecord(kept: dhcp))
        bench.take(.wanted(lacp, seconds: 30))
        bench.take(.unreached("timed out"))
        #expect(bench.wait(29).isEmpty)
        #expect(!bench.wait(1).isEmpty)
        #expect(bench.running == .some(dhcp) && bench.stored == .some(dhcp))
        #expect(bench.saved?.trial == nil && bench.saved?.kept == dhcp && bench.saved?.rejected?.units == lacp)
        let verdict = bench.trials.verdict
        #expect(!verdict.isTrue && verdict.message.contains("within 30 s. The last attempt: timed out"), "\(verdict)")
        #expect(bench.take(.wanted(lacp, seconds: 30)).isEmpty, "the same again")
        let writes = bench.writes
        let other = UnitSet(Networks.backup)
        bench.take(.wanted(other, seconds: 30))
        #expect(bench.running == .some(other) && bench.writes == writes + 1 && bench.saved?.rejected == nil)
    }

    @Test func `after a failure the network is well again once a configuration is kept, not while it is on trial`() {
        var bench = Bench(NetworkRecord(kept: dhcp))
        bench.take(.wanted(lacp, seconds: 30))
        #expect(bench.trials.verdict == (true, "A network configuration is on trial."), "nothing was wrong before")
        _ = bench.wait(30)
        #expect(!bench.trials.verdict.isTrue)
        let other = UnitSet(Networks.backup)
        bench.take(.wanted(other, seconds: 30))
        #expect(!bench.trials.verdict.isTrue && bench.trials.verdict.message.contains("on trial"))
        // An agent that restarts in between still knows.
        let again = Bench(bench.saved ?? NetworkRecord(), boot: "boot-1")
        #expect(!again.trials.verdict.isTrue)
        bench.uptime += 12
        bench.take(.reached(uptime: bench.uptime))
        bench.uptime += 6
        bench.take(.reached(uptime: bench.uptime))
        #expect(bench.trials.verdict == (true, "The network is as asked for."))
        #expect(bench.saved == NetworkRecord(kept: other))
    }

    @Test func `asking for what is kept ends a trial and forgets a failure`() {
        var bench = Bench(NetworkRecord(kept: dhcp))
        bench.take(.wanted(lacp, seconds: 30))
        bench.take(.wanted(dhcp, seconds: 30))
        #expect(bench.running == .some(dhcp) && bench.saved == NetworkRecord(kept: dhcp) && !bench.trials.isBusy)
        bench.take(.wanted(lacp, seconds: 30))
        _ = bench.wait(30)
        bench.take(.wanted(dhcp, seconds: 30))
        #expect(bench.saved == NetworkRecord(kept: dhcp) && bench.trials.verdict.isTrue)
    }

    @Test func `an agent that restarts goes on with the trial, a node that restarts falls back`() {
        var first = Bench(NetworkRecord(kept: dhcp))
        first.take(.wanted(lacp, seconds: 60))
        let record = first.saved!
        var again = Bench(record, boot: "boot-1")
        #expect(again.running == .some(lacp) && again.saved == nil)
        again.uptime = 160
        #expect(!again.take(.tick).isEmpty)
        #expect(again.running == .some(dhcp))
        let after = Bench(record, boot: "boot-2")
        #expect(after.running == .some(dhcp) && after.stored == .some(dhcp))
        #expect(after.saved?.rejected?.cause.contains("restarted") == true)
    }

    @Test func `the first boot tries what the deployment wrote, and falls back to DHCP`() {
        let record = NetworkRecord(trial: .init(units: lacp, seconds: 60))
        var bench = Bench(record)
        #expect(bench.running == .some(lacp) && bench.saved?.trial?.bootID == "boot-1")
        #expect(bench.saved?.trial?.deadline == 160)
        var good = bench
        // The bench has begun with other files, so this start has changed something.
        good.take(.reached(uptime: 112))
        good.take(.reached(uptime: 115))
        #expect(good.stored == .some(lacp) && good.saved == NetworkRecord(kept: lacp))
        _ = bench.wait(60)
        #expect(bench.running == .some(nil) && bench.stored == .some(nil) && bench.saved?.kept == nil)
        #expect(bench.trials.verdict.message.contains("every card asks by DHCP"))
        #expect(bench.take(.wanted(lacp, seconds: 60)).isEmpty)
    }

    @Test func `what cannot be applied is taken back at once, and a way back that fails is tried again`() {
        var bench = Bench(NetworkRecord(kept: dhcp))
        bench.take(.wanted(lacp, seconds: 60), failing: true)
        #expect(bench.running == .some(dhcp))
        #expect(bench.saved?.rejected?.cause.contains("no such card") == true)
        bench.take(.failed("networkd hangs"))
        #expect(bench.trials.isBusy && !bench.trials.verdict.isTrue)
        #expect(bench.wait(29).isEmpty)
        #expect(bench.wait(1).contains(.run(dhcp)))
        #expect(!bench.trials.isBusy)
    }
}
