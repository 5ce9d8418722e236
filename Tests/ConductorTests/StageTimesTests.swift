import AgentProtocol
import FleetContract
import Primitives
import Testing

@testable import CLICommands

@Suite struct StageTimesTests {
    private func event(_ second: Int64, _ type: String, _ message: String) throws -> EventRecord {
        EventRecord(
            key: "\(second)", time: Timestamp(millisecondsSinceEpoch: second * 1000), node: try NodeID("n1"),
            nodeName: "n1", type: type, message: message)
    }

    @Test func `the last deployment counts, and people's time is left out`() throws {
        let events = try [
            event(70, "StateChanged", "deploying (checking) → active: every role is ready"),
            event(10, "RamdiskBooted", "the machine booted the ramdisk"), event(15, "Approved", "let in by x"),
            event(16, "StateChanged", "available → deploying (writing): a role"),
            event(17, "StateChanged", "deploying (writing) → deploy failed: no disk"),
            event(20, "StateChanged", "deploy failed → deploying (writing): again"),
            event(32, "StateChanged", "deploying (writing) → deploying (bootingDisk): written"),
            event(34, "StateChanged", "deploying (bootingDisk) → deploying (enrolling): reset"),
            event(65, "StateChanged", "deploying (enrolling) → deploying (checking): certificate"),
        ]
        let times = StageTimes(
            name: "n1", role: "network", events: events, poweredOn: Timestamp(millisecondsSinceEpoch: 1000))
        #expect(times.discovered == 9000)
        #expect(times.approved == 5000)
        #expect(times.written == 12_000)
        #expect(times.enrolled == 33_000)
        #expect(times.ready == 5000)
        #expect(times.total == 59_000)
    }

    @Test func `what is not over is not shown`() throws {
        let times = StageTimes(
            name: "n1", role: nil, events: [try event(10, "RamdiskBooted", "x")], poweredOn: nil)
        #expect(times.total == nil && times.written == nil && times.discovered == nil)
    }
}
