import BareMetal
import CatalogBareMetal
import Primitives
import Testing

/// Every move that there is.
private let moves: [(FakeNodeState, ProvisionVerb, FakeNodeState)] = [
    (.enroll, .manage, .manageable), (.available, .manage, .manageable), (.manageable, .inspect, .manageable),
    (.manageable, .clean, .manageable), (.manageable, .provide, .available), (.manageable, .adopt, .active),
    (.available, .active, .active), (.available, .deploy, .active), (.active, .rebuild, .active),
    (.active, .service, .active), (.active, .deleted, .available), (.active, .undeploy, .available),
    (.active, .rescue, .rescue), (.rescue, .rescue, .rescue), (.rescue, .unrescue, .active),
    (.rescue, .deleted, .available), (.rescue, .undeploy, .available),
]

@Suite struct FakeNodeTests {
    @Test func everyVerbLeadsWhereItShallInEveryStateAndNowhereElse() {
        let now = Timestamp(millisecondsSinceEpoch: 5000)
        for state in FakeNodeState.allCases {
            for verb in ProvisionVerb.allCases {
                let after = FakeNodeMachine.after(verb, FakeNode.Status(state: state), now: now)
                let expected = moves.first { $0.0 == state && $0.1 == verb }?.2
                #expect(after?.state == expected, "\(verb) in \(state)")
                if after != nil { #expect(after?.since == now) }
            }
        }
    }

    @Test func thePowerFollows() {
        let now = Timestamp(millisecondsSinceEpoch: 5000)
        let active = FakeNodeMachine.after(.active, FakeNode.Status(state: .available), now: now)
        #expect(active?.isOn == true)
        #expect(active.flatMap { FakeNodeMachine.after(.deleted, $0, now: now) }?.isOn == false)
        #expect(FakeNodeMachine.after(.inspect, FakeNode.Status(state: .manageable), now: now)?.inspected == now)
    }
}
