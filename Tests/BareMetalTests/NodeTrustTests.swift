import AgentProtocol
import BareMetal
import CatalogBareMetal
import Primitives
import Testing

/// Which boots get secrets: the one that was there when an operator approved, and one that the conductor ordered.
@Suite struct NodeTrustTests {
    /// A node that is active and then told to be deployed again while an unasked boot runs on its machine.
    private func redeployed() throws -> Walk {
        var walk = Walk()
        try walk.reachActive()
        try walk.take(.registered(Walk.registration("boot-by-itself")))
        #expect(walk.node.status.session?.isTrusted == false)
        walk.node.spec.deployment = Generation(2)
        try walk.take(.specified)
        #expect(walk.node.status.state == .deploying(.bootingRamdisk))
        return walk
    }

    @Test func `a boot from before the order is not the ordered one`() throws {
        var walk = try redeployed()
        try walk.take(.registered(Walk.registration("boot-by-itself")))
        #expect(walk.node.status.session?.isTrusted == false)
        #expect(walk.node.status.state == .deploying(.bootingRamdisk))
        try walk.take(.bootOrdered(.ramdisk))
        try walk.take(.registered(Walk.registration("boot-by-itself")))
        #expect(walk.node.status.session?.isTrusted == false)
        try walk.take(.registered(Walk.registration("boot-ordered")))
        #expect(walk.node.status.session?.isTrusted == true)
        #expect(walk.node.status.state == .deploying(.writing))
    }

    @Test func `a boot before the BMC has taken the order is not the ordered one`() throws {
        var walk = try redeployed()
        try walk.take(.registered(Walk.registration("boot-of-another")))
        #expect(walk.node.status.session?.isTrusted == false)
        #expect(DiscoveryOrders.wanted(of: walk.node) != .deploy)
    }

    @Test func `an approval is for the boot that was there and not for one that came after it`() throws {
        var walk = Walk()
        try walk.take(.registered(Walk.registration("boot-seen")))
        walk.approve()
        try walk.take(.registered(Walk.registration("boot-of-a-copy")))
        #expect(walk.node.status.session?.isTrusted == false)
        #expect(walk.node.status.approvalSeen == 1)
        #expect(walk.node.status.state == .verifying)
        try walk.take(.bmcVerified(hasBMC: true))
        #expect(walk.orders == [.boot(.ramdisk)])
    }

    @Test func `the approved boot may post again before the approval is acted upon`() throws {
        var walk = Walk()
        try walk.take(.registered(Walk.registration("boot-seen")))
        walk.approve()
        try walk.take(.registered(Walk.registration("boot-seen")))
        #expect(walk.node.status.session?.isTrusted == true)
    }

    @Test func `a rule's approval is for the boot by which the machine is seen first`() throws {
        var walk = Walk()
        walk.node.spec.role = .network
        walk.node.spec.approval = Node.Approval(by: "rule r", at: walk.now, number: 1, isByRule: true)
        try walk.take(.registered(Walk.registration("boot-first")))
        #expect(walk.node.status.session?.isTrusted == true)
        #expect(walk.node.status.state == .verifying)
    }

    @Test func `a stranger changes nothing that a machine that was let in is known by`() throws {
        var walk = Walk()
        try walk.reachActive()
        let known = walk.node.status.identity
        var copy = Walk.registration("boot-of-a-copy")
        copy.claim.identity.macs = [MACAddress(bytes: [2, 0, 0, 0, 0, 9])]
        copy.claim.identity.bmc = "another-bmc"
        try walk.take(.registered(copy))
        #expect(walk.node.status.identity == known)
        // An operator who lets that boot in takes what it says over: a swapped NIC.
        walk.approve()
        try walk.take(.specified)
        #expect(walk.node.status.identity == copy.claim.identity)
        #expect(walk.node.status.session?.claim == nil)
    }

    @Test func `a machine without a BMC becomes active with a person's help`() throws {
        var walk = Walk()
        try walk.take(.registered(Walk.registration("boot-one")))
        walk.approve()
        try walk.take(.specified)
        try walk.take(.bmcVerified(hasBMC: false))
        try walk.take(.progressed(order: DiscoveryOrders.number(of: walk.node), .finished))
        #expect(walk.orders == [.boot(.disk)])
        try walk.take(.bootLeftToOperator(.disk, "'rack1-n1' has no BMC. Boot its disk by hand."))
        #expect(walk.node.status.state == .deploying(.enrolling))
        #expect(walk.node.status.wait?.owner == .operator)
        walk.wait(.seconds(90_000))
        try walk.take(.tick)
        #expect(walk.node.status.state == .deploying(.enrolling))
        // Nothing ends that by itself, so an operator may begin anew.
        var anew = walk
        anew.node.spec.deployment = anew.node.status.attempted.next
        #expect(NodeMachine.needsAttention(anew.node))
        try anew.take(.specified)
        #expect(anew.node.status.state == .deploying(.bootingRamdisk))
        #expect(anew.orders == [.boot(.ramdisk)])
        try walk.take(.agentEnrolled)
        try walk.take(.agentConnected(Walk.hello, Walk.stream()))
        try walk.take(.agentReported(Walk.report(ready: true)))
        #expect(walk.node.status.state == .active)
        // Deployed again, it is booted by hand and let in by hand.
        walk.node.spec.deployment = Generation(2)
        try walk.take(.specified)
        try walk.take(.bootLeftToOperator(.ramdisk, "'rack1-n1' has no BMC. Boot it over the network by hand."))
        try walk.take(.registered(Walk.registration("boot-by-hand")))
        #expect(walk.node.status.session?.isTrusted == false)
        walk.approve()
        try walk.take(.specified)
        #expect(walk.node.status.state == .deploying(.writing))
    }
}

@Suite struct RuleApprovalOrderTests {
    @Test func `a rule's approval waits for the boot that it was given for`() throws {
        var walk = Walk()
        walk.node.spec.role = .network
        walk.node.spec.approval = Node.Approval(by: "rule r", at: walk.now, number: 1, isByRule: true)
        // The node is seen before the registration that made it is told.
        #expect(!NodeMachine.needsAttention(walk.node))
        try walk.take(.specified)
        #expect(walk.node.status.approvalSeen == 0)
        #expect(walk.orders.isEmpty)
        try walk.take(.registered(Walk.registration("boot-one")))
        #expect(walk.node.status.session?.isTrusted == true)
        #expect(walk.node.status.inventory != nil)
        try walk.take(.bmcVerified(hasBMC: true))
        #expect(walk.node.status.state == .deploying(.writing), "it was rebooted once more for nothing")
    }
}
