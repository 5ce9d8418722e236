import AgentProtocol
import BareMetal
import CatalogBareMetal
import Primitives
import ResourceModel
import Testing

@Suite struct NodeCleaningTests {
    private static let order = CleanOrder(disks: [RootDiskHint(serial: "D1")], method: .quick)
    private static let result = CleanedDisk(
        path: "/dev/vdb", serial: "D1", found: ["ext4 'data'"], isDiscarded: true, readBack: .mebibytes(8))

    private func ask(_ walk: inout Walk, number: UInt64 = 1, release: Bool = false) {
        walk.node.spec.cleaning = Node.CleanRequest(number: number, order: Self.order, isRelease: release)
        if release { walk.node.spec.role = nil }
    }

    @Test func `an active node is only cleaned when it is released`() throws {
        var walk = Walk()
        try walk.reachActive()
        ask(&walk)
        #expect(!NodeMachine.needsAttention(walk.node))
        try walk.take(.specified)
        #expect(walk.node.status.state == .active)

        ask(&walk, release: true)
        #expect(NodeMachine.needsAttention(walk.node))
        try walk.take(.specified)
        #expect(walk.node.status.state == .cleaning(.bootingRamdisk))
        #expect(walk.orders == [.boot(.ramdisk)])
        #expect(!walk.node.bootsItsDisk)
        try walk.take(.bootOrdered(.ramdisk))
        #expect(walk.node.status.wait?.owner == .machine)
        #expect(DiscoveryOrders.wanted(of: walk.node) != .clean(Self.order))
        try walk.take(.registered(Walk.registration("boot-two")))
        #expect(walk.node.status.state == .cleaning(.wiping))
        #expect(DiscoveryOrders.wanted(of: walk.node) == .clean(Self.order))

        let number = DiscoveryOrders.number(of: walk.node)
        try walk.take(
            .progressed(order: number, .cleaning(disk: "/dev/vdb", index: 1, count: 1, done: 5, total: 10)))
        #expect(walk.node.status.wait?.cause == "/dev/vdb (1 of 1) is being emptied, 50 %")
        try walk.take(.progressed(order: number, .cleaned([Self.result])))
        #expect(walk.node.status.state == .available)
        #expect(walk.node.status.agent == nil)
        #expect(walk.node.status.deployed == Generation(0))
        #expect(
            walk.effects.contains(
                .record(
                    type: "DiskCleaned",
                    message: "/dev/vdb (serial D1): held ext4 'data'; discarded, 8 MiB read back as zero")))
        // A late copy of the report changes nothing.
        let before = walk.node
        try walk.take(.progressed(order: number, .cleaned([Self.result])))
        #expect(walk.node == before)
        #expect(!NodeMachine.needsAttention(walk.node))
    }

    @Test func `a machine that was not let in is not cleaned`() throws {
        var walk = Walk()
        try walk.take(.registered(Walk.registration("boot-one")))
        ask(&walk)
        try walk.take(.specified)
        #expect(walk.node.status.state == .enroll)
        #expect(DiscoveryOrders.wanted(of: walk.node) != .clean(Self.order))
    }

    @Test func `a trusted ramdisk that is there begins at once, and a boot of its own ends it`() throws {
        var walk = Walk()
        try walk.take(.registered(Walk.registration("boot-one")))
        walk.approve(role: nil)
        try walk.take(.specified)
        try walk.take(.bmcVerified(hasBMC: true))
        #expect(walk.node.status.state == .available)
        ask(&walk)
        try walk.take(.specified)
        #expect(walk.node.status.state == .cleaning(.wiping))
        #expect(walk.orders.isEmpty)
        try walk.take(.registered(Walk.registration("boot-two")))
        #expect(walk.node.status.state == .cleanFailed)
        #expect(DiscoveryOrders.wanted(of: walk.node) != .clean(Self.order))
        // The next order is a new one, with a higher number.
        let first = DiscoveryOrders.number(of: walk.node)
        ask(&walk, number: 2)
        try walk.take(.specified)
        #expect(walk.node.status.state == .cleaning(.bootingRamdisk))
        try walk.take(.bootOrdered(.ramdisk))
        try walk.take(.registered(Walk.registration("boot-three")))
        #expect(DiscoveryOrders.number(of: walk.node) > first)
        try walk.take(.progressed(order: DiscoveryOrders.number(of: walk.node), .cleaned([Self.result])))
        #expect(walk.node.status.state == .available)
    }

    @Test func `silence, a refusing disk and a dead BMC end in clean failed with a way out`() throws {
        func wiping() throws -> Walk {
            var walk = Walk()
            try walk.take(.registered(Walk.registration("boot-one")))
            walk.approve(role: nil)
            try walk.take(.specified)
            try walk.take(.bmcVerified(hasBMC: true))
            ask(&walk)
            try walk.take(.specified)
            return walk
        }
        var silent = try wiping()
        silent.wait(.seconds(301))
        try silent.take(.tick)
        var off = try wiping()
        try off.take(.powerRead(.off(since: off.now)))
        off.wait(.seconds(31))
        try off.take(.tick)
        var refused = try wiping()
        try refused.take(
            .progressed(order: DiscoveryOrders.number(of: refused.node), .failed(message: "in use", retryable: true)))
        var endless = try wiping()
        endless.wait(.seconds(4 * 86400))
        try endless.take(
            .progressed(
                order: DiscoveryOrders.number(of: endless.node),
                .cleaning(disk: "/dev/sda", index: 1, count: 1, done: 1, total: 2)))
        var dead = Walk()
        try dead.reachActive()
        ask(&dead, release: true)
        try dead.take(.specified)
        try dead.take(.bmcFailed("it does not answer"))
        for walk in [silent, off, refused, endless, dead] {
            #expect(walk.node.status.state == .cleanFailed)
            #expect(walk.node.status.wait?.next.contains("muster node clean rack1-n1") == true)
        }
        // A machine that was silent may run anything by now; one that told of a failure is still there.
        ask(&silent, number: 2)
        try silent.take(.specified)
        #expect(silent.node.status.state == .cleaning(.bootingRamdisk))
        #expect(silent.orders == [.boot(.ramdisk)])
        ask(&refused, number: 2)
        try refused.take(.specified)
        #expect(refused.node.status.state == .cleaning(.wiping))
    }

    @Test func `a conductor that starts in the middle asks for the boot again`() throws {
        var walk = Walk()
        try walk.reachActive()
        ask(&walk, release: true)
        try walk.take(.specified)
        try walk.take(.resumed(runs: ["run-2"]))
        #expect(walk.orders == [.boot(.ramdisk)])
    }
}
