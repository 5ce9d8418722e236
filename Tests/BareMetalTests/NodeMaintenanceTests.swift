import AgentProtocol
import BareMetal
import CatalogBareMetal
import Primitives
import Testing

@Suite struct NodeMaintenanceTests {
    private func maintain(_ walk: inout Walk) {
        walk.node.spec.maintenance = Node.Maintenance(reason: "a fan", by: "operator:x", since: walk.now)
    }

    @Test func `faults are told and not acted upon`() throws {
        // Written, but not booted: the power is left alone.
        var written = Walk()
        try written.reachWriting()
        maintain(&written)
        try written.take(.progressed(order: DiscoveryOrders.number(of: written.node), .finished))
        // Silent: not reset and begun anew.
        var silent = Walk()
        try silent.reachWriting()
        maintain(&silent)
        silent.wait(silent.machine.deadlines.writeStall)
        try silent.take(.tick)
        // A conductor that starts asks for nothing again.
        var resumed = Walk()
        try resumed.reachWriting()
        try resumed.take(.progressed(order: DiscoveryOrders.number(of: resumed.node), .finished))
        maintain(&resumed)
        try resumed.take(.resumed(runs: ["run-2"]))
        for walk in [written, silent, resumed] {
            #expect(walk.orders.isEmpty)
            #expect(walk.node.status.state == .deployFailed)
            #expect(walk.node.status.wait?.next.contains("--maintenance off") == true)
            #expect(walk.effects.contains { if case .record("LeftAlone", _) = $0 { true } else { false } })
        }
    }

    @Test func `orders wait for its end, but for those to the power`() throws {
        var walk = Walk()
        try walk.reachActive()
        maintain(&walk)
        walk.node.spec.deployment = Generation(2)
        walk.node.spec.cleaning = Node.CleanRequest(
            number: 1, order: CleanOrder(disks: [RootDiskHint(serial: "D1")], method: .quick), isRelease: true)
        #expect(!NodeMachine.needsAttention(walk.node))
        try walk.take(.specified)
        #expect(walk.orders.isEmpty && walk.node.status.state == .active)
        walk.node.spec.power = Node.PowerRequest(number: 1, action: .off)
        try walk.take(.specified)
        #expect(walk.orders == [.power(number: 1, .off)])
        // What the node tells is still taken.
        try walk.take(.agentReported(Walk.report(ready: false)))
        #expect(walk.node.status.agent?.isReady == false)
        walk.node.spec.maintenance = nil
        #expect(NodeMachine.needsAttention(walk.node))
        try walk.take(.specified)
        #expect(walk.node.status.state == .cleaning(.bootingRamdisk))
    }

    @Test func `a machine that is let in is looked at, and not booted`() throws {
        var walk = Walk()
        try walk.take(.registered(Walk.registration("boot-one")))
        walk.approve()
        maintain(&walk)
        try walk.take(.specified)
        try walk.take(.bmcVerified(hasBMC: true))
        #expect(walk.node.status.state == .available)
        #expect(walk.orders.isEmpty)
    }
}
