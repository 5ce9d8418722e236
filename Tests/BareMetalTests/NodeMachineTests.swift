import AgentProtocol
import BareMetal
import CatalogBareMetal
import Primitives
import ResourceModel
import Testing

/// A node that is walked through its life by inputs, one after another.
struct Walk {
    var node: Node
    var now = Timestamp(millisecondsSinceEpoch: 1_000_000)
    var effects: [NodeEffect] = []
    let machine = NodeMachine()

    init() {
        let identity = MachineIdentity(smbiosUUID: "01234567-89ab-cdef-0123-456789abcdef", serial: "SN1")
        node = Node(
            metadata: Metadata(name: "n1", schemaVersion: 1, created: now), spec: Node.Spec(name: "rack1-n1"),
            status: Node.Status(state: .enroll, since: now, identity: identity))
    }

    mutating func take(_ input: NodeInput) throws {
        (node, effects) = try machine.step(node, input, now: now)
    }

    /// The effects that are not records.
    var orders: [NodeEffect] {
        effects.filter { effect in
            if case .record = effect { false } else { true }
        }
    }

    mutating func wait(_ duration: Duration) { now = now.advanced(by: duration) }

    static func registration(_ boot: String) -> Registration {
        Registration(
            claim: Node.Claim(
                identity: MachineIdentity(smbiosUUID: "01234567-89ab-cdef-0123-456789abcdef", serial: "SN1"),
                inventory: Digest(bytes: [UInt8](repeating: 1, count: 32)),
                summary: InventorySummary(
                    model: "LabCo R1", processors: 1, memory: .gibibytes(1), disks: [], firmware: "bios")),
            tokenHash: Digest(bytes: [UInt8](repeating: UInt8(boot.utf8.reduce(2) { $0 &+ $1 }), count: 32)),
            bootID: boot)
    }

    mutating func approve(role: Role? = .network) {
        node.spec.role = role
        node.spec.approval = Node.Approval(
            by: "admin", at: now, number: (node.spec.approval?.number ?? 0) + 1,
            session: node.status.session?.tokenHash)
    }

    /// Up to the image being written.
    mutating func reachWriting() throws {
        try take(.registered(Self.registration("boot-one")))
        approve()
        try take(.specified)
        try take(.bmcVerified(hasBMC: true))
    }

    mutating func reachActive() throws {
        try reachWriting()
        try take(.progressed(order: DiscoveryOrders.number(of: node), .finished))
        try take(.bootOrdered(.disk))
        try take(.agentEnrolled)
        try take(.agentConnected(Self.hello, Self.stream()))
        try take(.agentReported(Self.report(ready: true)))
    }

    static let hello = AgentHello(agentVersion: "0.1.0", bootID: "b", roles: [.network], viewRevision: .zero)

    static func stream(_ number: UInt64 = 1, of conductor: String = "run-1") -> Node.Stream {
        Node.Stream(conductor: conductor, number: number)
    }

    static func report(ready: Bool) -> NodeStatusReport {
        NodeStatusReport(
            observedRevision: Revision(1), observedGeneration: Generation(1),
            roles: [
                NodeStatusReport.RoleStatus(
                    role: .network, isReady: ready,
                    conditions: [
                        Condition(
                            type: "OverlayReady", isTrue: ready, message: ready ? "up" : "no bridge",
                            since: Timestamp(millisecondsSinceEpoch: 1))
                    ])
            ], addresses: [])
    }
}

@Suite struct NodeMachineTests {
    @Test func `a machine goes from its inventory to active`() throws {
        var walk = Walk()
        try walk.take(.registered(Walk.registration("boot-one")))
        #expect(walk.node.status.state == .enroll)
        #expect(walk.node.status.wait?.owner == .operator)
        #expect(walk.node.status.session?.isTrusted == false)
        walk.approve()
        try walk.take(.specified)
        #expect(walk.node.status.state == .verifying)
        #expect(walk.orders == [.verifyBMC])
        #expect(walk.node.status.session?.isTrusted == true)
        try walk.take(.bmcVerified(hasBMC: true))
        #expect(walk.node.status.state == .deploying(.writing))
        #expect(DiscoveryOrders.wanted(of: walk.node) == .deploy)
        let order = DiscoveryOrders.number(of: walk.node)
        try walk.take(.progressed(order: order, .started(disk: "vda")))
        try walk.take(.progressed(order: order, .writing(done: 1, total: 2, bytes: 10)))
        #expect(walk.node.status.progress == Node.Progress(done: 1, total: 2, bytes: 10))
        try walk.take(.progressed(order: order, .finished))
        #expect(walk.node.status.state == .deploying(.bootingDisk))
        #expect(walk.orders == [.boot(.disk)])
        try walk.take(.bootOrdered(.disk))
        #expect(walk.node.status.state == .deploying(.enrolling))
        #expect(walk.node.status.session == nil)
        try walk.take(.agentEnrolled)
        try walk.take(.agentConnected(Walk.hello, Walk.stream()))
        #expect(walk.node.status.state == .deploying(.checking))
        try walk.take(.agentReported(Walk.report(ready: false)))
        #expect(walk.node.status.state == .deploying(.checking))
        #expect(walk.node.status.wait?.cause.contains("no bridge") == true)
        try walk.take(.agentReported(Walk.report(ready: true)))
        #expect(walk.node.status.state == .active)
        #expect(walk.node.status.wait == nil)
        #expect(walk.node.status.deployed == Generation(1))
    }

    @Test func `nothing is ordered of a machine that nobody let in`() throws {
        var walk = Walk()
        walk.node.spec.role = .network
        try walk.take(.registered(Walk.registration("boot-one")))
        try walk.take(.specified)
        #expect(walk.node.status.state == .enroll)
        #expect(walk.orders.isEmpty)
        guard case .wait = DiscoveryOrders.wanted(of: walk.node) else {
            Issue.record("a stranger was ordered something")
            return
        }
    }

    @Test func `a machine that reboots by itself after its approval is not trusted`() throws {
        var walk = Walk()
        try walk.reachWriting()
        try walk.take(.registered(Walk.registration("boot-two")))
        #expect(walk.node.status.session?.isTrusted == false)
        #expect(walk.node.status.state == .deployFailed)
        #expect(walk.node.status.wait?.next.contains("muster node approve rack1-n1") == true)
        guard case .wait = DiscoveryOrders.wanted(of: walk.node) else {
            Issue.record("an unasked boot was ordered something")
            return
        }
    }

    @Test func `posting the same boot again keeps the trust`() throws {
        var walk = Walk()
        try walk.reachWriting()
        try walk.take(.registered(Walk.registration("boot-one")))
        #expect(walk.node.status.session?.isTrusted == true)
        #expect(walk.node.status.state == .deploying(.writing))
    }

    @Test func `a BMC that refuses its credentials puts the machine back with the cause`() throws {
        var walk = Walk()
        try walk.take(.registered(Walk.registration("boot-one")))
        walk.approve()
        try walk.take(.specified)
        try walk.take(.bmcFailed("the BMC refuses the password"))
        #expect(walk.node.status.state == .enroll)
        #expect(walk.node.status.lastError == "the BMC refuses the password")
        #expect(walk.node.status.wait?.next.contains("approve again") == true)
        walk.approve()
        try walk.take(.specified)
        #expect(walk.orders == [.verifyBMC])
    }

    @Test func `a machine that falls silent while writing is rebooted, then given up`() throws {
        var walk = Walk()
        try walk.reachWriting()
        for retry in 1...walk.machine.deadlines.retryCountMax {
            walk.wait(walk.machine.deadlines.writeStall)
            try walk.take(.tick)
            #expect(walk.node.status.state == .deploying(.bootingRamdisk))
            #expect(walk.orders == [.boot(.ramdisk)])
            #expect(walk.node.status.retries == retry)
            let before = DiscoveryOrders.number(of: walk.node)
            try walk.take(.bootOrdered(.ramdisk))
            try walk.take(.registered(Walk.registration("boot-again-\(retry)")))
            #expect(walk.node.status.state == .deploying(.writing))
            #expect(walk.node.status.session?.isTrusted == true)
            #expect(DiscoveryOrders.number(of: walk.node) > before)
        }
        walk.wait(walk.machine.deadlines.writeStall)
        try walk.take(.tick)
        #expect(walk.node.status.state == .deployFailed)
    }

    @Test func `a machine that is off while it shall write is booted again soon`() throws {
        let soon = NodeDeadlines().offStall
        let off = NodeInput.powerRead(.off(since: Walk().now))
        // Switched off before its order, or in the middle of it.
        for isLate in [false, true] {
            var walk = Walk()
            if !isLate { try walk.take(off) }
            try walk.reachWriting()
            if isLate { try walk.take(off) }
            #expect(walk.node.status.wait?.cause.contains("off") == true)
            walk.wait(soon)
            try walk.take(.tick)
            #expect(walk.node.status.state == .deploying(.bootingRamdisk))
            #expect(walk.orders == [.boot(.ramdisk)])
        }
        // One that works all the same has a BMC that is wrong, or late.
        for word in [nil, NodeInput.powerRead(.on(since: Walk().now))] {
            var walk = Walk()
            try walk.reachWriting()
            try walk.take(off)
            let order = DiscoveryOrders.number(of: walk.node)
            try walk.take(word ?? .progressed(order: order, .writing(done: 1, total: 2, bytes: 10)))
            walk.wait(soon)
            try walk.take(.tick)
            #expect(walk.node.status.state == .deploying(.writing))
        }
    }

    @Test func `an active machine that boots the ramdisk gets nothing`() throws {
        var walk = Walk()
        try walk.reachActive()
        try walk.take(.registered(Walk.registration("boot-nine")))
        #expect(walk.node.status.state == .active)
        #expect(walk.node.status.session?.isTrusted == false)
        #expect(walk.effects.contains { if case .record("UnexpectedBoot", _) = $0 { true } else { false } })
    }

    @Test func `an active machine is deployed again when that is asked for`() throws {
        var walk = Walk()
        try walk.reachActive()
        walk.node.spec.deployment = Generation(2)
        #expect(NodeMachine.needsAttention(walk.node))
        try walk.take(.specified)
        #expect(walk.node.status.state == .deploying(.bootingRamdisk))
        #expect(walk.orders == [.boot(.ramdisk)])
        #expect(!NodeMachine.needsAttention(walk.node))
        try walk.take(.bootOrdered(.ramdisk))
        try walk.take(.registered(Walk.registration("boot-two")))
        #expect(DiscoveryOrders.wanted(of: walk.node) == .deploy)
    }

    @Test func `a resumed conductor asks again for what the state needs`() throws {
        var walk = Walk()
        try walk.reachWriting()
        try walk.take(.resumed(runs: ["run-2"]))
        #expect(walk.orders.isEmpty)
        try walk.take(.progressed(order: DiscoveryOrders.number(of: walk.node), .finished))
        try walk.take(.resumed(runs: ["run-2"]))
        #expect(walk.orders == [.boot(.disk)])
    }

    @Test func `inputs of streams that overtake each other leave the newest one's truth`() throws {
        var walk = Walk()
        try walk.reachActive()
        try walk.take(.agentConnected(Walk.hello, Walk.stream(3)))
        try walk.take(.agentConnected(Walk.hello, Walk.stream(2)))
        try walk.take(.agentDisconnected(Walk.stream(1)))
        #expect(walk.node.status.agent?.isConnected == true)
        #expect(walk.node.status.agent?.stream == Walk.stream(3))
        try walk.take(.agentDisconnected(Walk.stream(3)))
        #expect(walk.node.status.agent?.isConnected == false)
    }

    @Test func `a conductor that was down for long gives machines time to report`() throws {
        var walk = Walk()
        try walk.reachWriting()
        walk.wait(walk.machine.deadlines.writeStall + .seconds(3600))
        try walk.take(.resumed(runs: ["run-2"]))
        try walk.take(.tick)
        #expect(walk.node.status.state == .deploying(.writing))
        walk.wait(walk.machine.deadlines.resumeGrace)
        try walk.take(.tick)
        #expect(walk.node.status.state == .deploying(.bootingRamdisk))
    }

    @Test func `of a stream to a conductor that is gone nobody knows for a minute, then it is gone`() throws {
        var walk = Walk()
        try walk.reachActive()
        try walk.take(.resumed(runs: ["run-2"]))
        #expect(walk.node.status.agent?.connection == .unknown)
        #expect(walk.effects.isEmpty)
        let until = try #require(walk.node.nextDeadline)
        #expect(until == walk.now.advanced(by: walk.machine.deadlines.streamReturn))
        walk.wait(walk.machine.deadlines.streamReturn - .milliseconds(1))
        try walk.take(.conductorsChanged(runs: ["run-3"]))
        try walk.take(.tick)
        #expect(walk.node.status.agent?.connection == .unknown)
        walk.wait(.milliseconds(1))
        try walk.take(.tick)
        #expect(walk.node.status.agent?.connection == .gone)
        #expect(walk.effects.count == 1)
        #expect(walk.node.nextDeadline == nil)
        try walk.take(.tick)
        #expect(walk.effects.isEmpty)
    }

    @Test func `who comes to another conductor in time was never gone`() throws {
        var walk = Walk()
        try walk.reachActive()
        try walk.take(.conductorsChanged(runs: ["run-2"]))
        try walk.take(.agentConnected(Walk.hello, Walk.stream(1, of: "run-2")))
        #expect(walk.effects.isEmpty)
        #expect(walk.node.status.agent?.connection == .open)
        // The old conductor was only paused: what it says of its stream is late.
        try walk.take(.agentDisconnected(Walk.stream(1)))
        try walk.take(.resumed(runs: ["run-2"]))
        #expect(walk.node.status.agent?.connection == .open)
        #expect(!NodeMachine.hangs(walk.node, onOthersThan: ["run-2"]))
    }

    @Test func `a conductor that is back within the minute has its streams`() throws {
        var walk = Walk()
        try walk.reachActive()
        let run = try #require(walk.node.status.agent?.stream?.conductor)
        try walk.take(.conductorsChanged(runs: []))
        #expect(walk.node.status.agent?.connection == .unknown)
        try walk.take(.conductorsChanged(runs: [run, "run-2"]))
        #expect(walk.node.status.agent?.connection == .open)
    }

    @Test func `what a state does not allow is refused with a hint`() throws {
        var walk = Walk()
        #expect(throws: InvalidTransition.self) { try walk.take(.agentEnrolled) }
        #expect(throws: InvalidTransition.self) { try walk.take(.progressed(order: 7, .started(disk: "vda"))) }
    }

    @Test func `a power order is carried out once`() throws {
        var walk = Walk()
        walk.node.spec.power = Node.PowerRequest(number: 1, action: .on)
        try walk.take(.specified)
        #expect(walk.orders == [.power(number: 1, .on)])
        try walk.take(.powerDone(number: 1, failure: nil))
        try walk.take(.specified)
        #expect(walk.orders.isEmpty)
    }

    /// Whatever comes, in whatever order, no state waits without deadline and way out, and no secret is ordered for
    /// a session that is not trusted.
    @Test(arguments: 0..<200) func `no sequence of inputs leaves the machine stuck`(seed: UInt64) throws {
        var random = SeededRandom(seed: seed)
        var walk = Walk()
        for step in 0..<80 {
            let inputs: [NodeInput] = [
                .registered(Walk.registration("boot-\(Int.random(in: 0..<4, using: &random))")), .specified,
                .resumed(runs: ["run-2"]), .conductorsChanged(runs: step % 2 == 0 ? [] : ["run-1"]),
                .tick, .bmcVerified(hasBMC: true), .bmcFailed("no"), .bootOrdered(.ramdisk), .bootOrdered(.disk),
                .progressed(order: DiscoveryOrders.number(of: walk.node), .started(disk: "vda")),
                .progressed(order: DiscoveryOrders.number(of: walk.node), .finished),
                .progressed(order: UInt64(step), .failed(message: "no", retryable: false)), .agentEnrolled,
                .agentConnected(Walk.hello, Walk.stream(UInt64(step))), .agentDisconnected(Walk.stream(UInt64(step))),
                .agentReported(Walk.report(ready: step % 2 == 0)),
                .imageMissing("none"), .powerDone(number: 1, failure: "no"),
                .powerRead(PowerReading(step % 2 == 0 ? .on : .off, since: walk.now)),
            ]
            switch Int.random(in: 0..<10, using: &random) {
            case 0: walk.approve(role: step % 3 == 0 ? nil : .network)
            case 1: walk.node.spec.deployment = walk.node.spec.deployment.next
            default: break
            }
            walk.wait(.seconds(Int64.random(in: 0...2000, using: &random)))
            let input = inputs[Int.random(in: 0..<inputs.count, using: &random)]
            do { try walk.take(input) } catch is InvalidTransition { continue }
            let status = walk.node.status
            // The conductor that leads reads off the node what is to be done, whoever committed the step.
            for order in walk.orders {
                if case .power = order { continue }
                #expect(NodeMachine.owed(walk.node) == order, "seed \(seed) step \(step): \(status.state)")
            }
            let rests = [.active, .manageable].contains(status.state)
            #expect(rests || status.wait != nil, "seed \(seed) step \(step): \(status.state) after \(input)")
            if let wait = status.wait {
                #expect(!wait.cause.isEmpty && !wait.next.isEmpty)
            }
            if DiscoveryOrders.wanted(of: walk.node) == .deploy {
                #expect(status.session?.isTrusted == true && walk.node.spec.approval != nil)
            }
        }
    }

    @Test func `states are stored by their words and come back`() throws {
        for state in NodeState.all {
            let stored = Stored(new: with(state))
            let bytes = try stored.encoded()
            let document = Document(key: Node.key("n1"), revision: Revision(1), value: bytes)
            #expect(try Stored<Node>(document).value.status.state == state)
        }
    }

    private func with(_ state: NodeState) -> Node {
        var node = Walk().node
        node.status.state = state
        return node
    }
}
