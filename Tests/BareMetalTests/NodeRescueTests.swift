import AgentProtocol
import BareMetal
import CatalogBareMetal
import Primitives
import Testing

@Suite struct NodeRescueTests {
    private static let access = RescueAccess(
        addresses: [IPv4Address(0x0A4D_0065)], hostKey: "ssh-ed25519 AAAA", fingerprint: "SHA256:x")

    private func order(_ walk: inout Walk, number: UInt64 = 1, hours: Int64? = 24) throws {
        walk.node.spec.rescue = Node.RescueRequest(
            number: number, by: "admin", at: walk.now,
            passwordEnds: hours.map { walk.now.advanced(by: .seconds($0 * 3600)) })
        #expect(NodeMachine.needsAttention(walk.node))
        try walk.take(.specified)
        #expect(!NodeMachine.needsAttention(walk.node))
    }

    private func report(_ walk: inout Walk, _ stage: DiscoveryProgress.Stage) throws {
        try walk.take(.progressed(order: DiscoveryOrders.number(of: walk.node), stage))
    }

    /// An active node that an operator may log in to.
    private func rescued() throws -> Walk {
        var walk = Walk()
        try walk.reachActive()
        try order(&walk)
        #expect(walk.node.status.state == .rescuing(.bootingRamdisk))
        #expect(walk.orders == [.boot(.ramdisk)])
        #expect(!walk.node.bootsItsDisk)
        try walk.take(.bootOrdered(.ramdisk))
        try walk.take(.agentDisconnected(Walk.stream()))
        try walk.take(.registered(Walk.registration("boot-two")))
        #expect(walk.node.status.state == .rescuing(.opening))
        #expect(DiscoveryOrders.wanted(of: walk.node) == .rescue)
        try report(&walk, .rescued(Self.access))
        #expect(walk.node.status.state == .rescue)
        return walk
    }

    @Test func `a rescue goes in and out, and what is deployed stays so`() throws {
        var walk = try rescued()
        let deployed = walk.node.status.deployed
        #expect(walk.node.status.rescue?.access == Self.access)
        #expect(walk.node.status.wait?.next.contains("muster node unrescue rack1-n1") == true)
        let number = DiscoveryOrders.number(of: walk.node)
        try report(&walk, .login(from: "10.77.0.1:4000"))
        #expect(walk.node.status.rescue?.loginAt == walk.now)
        #expect(walk.effects.contains { if case .record("RescueLogin", _) = $0 { true } else { false } })
        #expect(DiscoveryOrders.number(of: walk.node) == number, "the ramdisk must not be given the order again")

        try order(&walk, number: 2, hours: nil)
        #expect(walk.node.status.state == .unrescuing(.closing))
        #expect(walk.orders.isEmpty && DiscoveryOrders.wanted(of: walk.node) == .standBy)
        #expect(DiscoveryOrders.number(of: walk.node) > number)
        try report(&walk, .finished)
        #expect(walk.node.status.state == .unrescuing(.bootingDisk))
        #expect(walk.orders == [.boot(.disk)])
        #expect(walk.node.bootsItsDisk)
        // A stream from before the power was reset says nothing of the disk.
        try walk.take(.agentConnected(Walk.hello, Walk.stream(2)))
        #expect(walk.node.status.state == .unrescuing(.bootingDisk))
        try walk.take(.bootOrdered(.disk))
        #expect(walk.node.status.session == nil)
        try walk.take(.agentConnected(Walk.hello, Walk.stream(3)))
        try walk.take(.agentReported(Walk.report(ready: false)))
        #expect(walk.node.status.state == .unrescuing(.checking))
        try walk.take(.agentReported(Walk.report(ready: true)))
        #expect(walk.node.status.state == .active)
        #expect(walk.node.status.deployed == deployed && walk.node.status.attempted == deployed)
        #expect(walk.node.status.rescue == nil && walk.node.status.wait == nil)
    }

    @Test func `only active nodes are rescued, and none in maintenance`() throws {
        var walk = Walk()
        try walk.take(.registered(Walk.registration("boot-one")))
        walk.approve(role: nil)
        try walk.take(.specified)
        try walk.take(.bmcVerified(hasBMC: true))
        walk.node.spec.rescue = Node.RescueRequest(number: 1, by: "x", at: walk.now, passwordEnds: walk.now)
        #expect(!NodeMachine.needsAttention(walk.node))
        try walk.take(.specified)
        #expect(walk.node.status.state == .available)

        var kept = Walk()
        try kept.reachActive()
        kept.node.spec.maintenance = Node.Maintenance(
            reason: "a fan", by: "operator:x", since: Timestamp(millisecondsSinceEpoch: 0))
        kept.node.spec.rescue = Node.RescueRequest(number: 1, by: "x", at: walk.now, passwordEnds: walk.now)
        try kept.take(.specified)
        #expect(kept.node.status.state == .active)
    }

    @Test func `a boot that was not ordered is not opened to anybody, and ends the rescue`() throws {
        var walk = try rescued()
        try walk.take(.registered(Walk.registration("boot-three")))
        #expect(walk.node.status.state == .rescueFailed)
        #expect(DiscoveryOrders.wanted(of: walk.node) != .rescue)
        #expect(walk.node.status.wait?.next.contains("muster node unrescue") == true)

        var stranger = Walk()
        try stranger.reachActive()
        try order(&stranger)
        // The BMC has not been told yet: this boot is somebody else's.
        try stranger.take(.registered(Walk.registration("boot-two")))
        #expect(stranger.node.status.state == .rescuing(.bootingRamdisk))
        #expect(DiscoveryOrders.wanted(of: stranger.node) != .rescue)
    }

    @Test func `another password is another order, and voids what was`() throws {
        var walk = try rescued()
        let number = DiscoveryOrders.number(of: walk.node)
        try report(&walk, .login(from: "10.77.0.1:4000"))
        try order(&walk, number: 2)
        #expect(walk.node.status.state == .rescuing(.opening))
        #expect(walk.orders.isEmpty, "the machine stays up")
        #expect(DiscoveryOrders.number(of: walk.node) > number)
        #expect(throws: InvalidTransition.self) { try walk.take(.progressed(order: number, .login(from: "x"))) }
        try report(&walk, .rescued(Self.access))
        #expect(walk.node.status.state == .rescue && walk.node.status.rescue?.loginAt == nil)
    }

    @Test func `the end of the password is told once`() throws {
        var walk = try rescued()
        walk.wait(.seconds(24 * 3600))
        try walk.take(.tick)
        #expect(walk.node.status.rescue?.hasPasswordEnded == true)
        #expect(walk.node.status.wait?.next.contains("--new-password") == true)
        #expect(walk.effects.contains { if case .record("RescuePasswordEnded", _) = $0 { true } else { false } })
        walk.wait(.seconds(1))
        try walk.take(.tick)
        #expect(walk.effects.isEmpty)
    }

    @Test func `what fails on the way in or out has a way on`() throws {
        func booting() throws -> Walk {
            var walk = Walk()
            try walk.reachActive()
            try order(&walk)
            return walk
        }
        var dead = try booting()
        try dead.take(.bmcFailed("it does not answer"))
        var silent = try booting()
        try silent.take(.bootOrdered(.ramdisk))
        silent.wait(silent.machine.deadlines.ramdiskBoot)
        try silent.take(.tick)
        var refused = try rescued()
        try report(&refused, .failed(message: "The SSH server has ended", retryable: true))
        for var walk in [dead, silent, refused] {
            #expect(walk.node.status.state == .rescueFailed)
            #expect(walk.node.status.wait?.next.contains("muster node rescue rack1-n1") == true)
            // Out of it the disk is booted at once: nobody knows what the ramdisk does, if there is one.
            try order(&walk, number: 2, hours: nil)
            #expect(walk.orders == [.boot(.disk)])
            try walk.take(.bmcFailed("it does not answer"))
            #expect(walk.node.status.state == .rescueFailed)
            walk.node.spec.deployment = walk.node.spec.wantedDeployment.next
            try walk.take(.specified)
            #expect(walk.node.status.state == .deploying(.bootingRamdisk))
        }
        // A ramdisk that does not let go does not keep the machine, and roles that are not ready do not either.
        var stuck = try rescued()
        try order(&stuck, number: 2, hours: nil)
        stuck.wait(stuck.machine.deadlines.rescueClose)
        try stuck.take(.tick)
        #expect(stuck.orders == [.boot(.disk)])
        try stuck.take(.bootOrdered(.disk))
        try stuck.take(.agentConnected(Walk.hello, Walk.stream(2)))
        stuck.wait(stuck.machine.deadlines.check)
        try stuck.take(.tick)
        #expect(stuck.node.status.state == .active)
    }

    @Test func `a machine without a BMC is booted by hand, in and out`() throws {
        var walk = Walk()
        try walk.reachActive()
        try order(&walk)
        try walk.take(.bootLeftToOperator(.ramdisk, "it has no BMC"))
        try walk.take(.registered(Walk.registration("boot-two")))
        #expect(DiscoveryOrders.wanted(of: walk.node) != .rescue)
        walk.approve()
        try walk.take(.specified)
        #expect(DiscoveryOrders.wanted(of: walk.node) == .rescue)
        try report(&walk, .rescued(Self.access))
        try order(&walk, number: 2, hours: nil)
        try report(&walk, .finished)
        try walk.take(.bootLeftToOperator(.disk, "it has no BMC"))
        #expect(walk.node.status.wait?.owner == .operator)
        try walk.take(.agentConnected(Walk.hello, Walk.stream(2)))
        try walk.take(.agentReported(Walk.report(ready: true)))
        #expect(walk.node.status.state == .active)
    }

    @Test func `a conductor that starts in the middle asks for the boot again`() throws {
        var walk = Walk()
        try walk.reachActive()
        try order(&walk)
        try walk.take(.resumed(runs: ["run-2"]))
        #expect(walk.orders == [.boot(.ramdisk)])
        try walk.take(.bootOrdered(.ramdisk))
        try walk.take(.resumed(runs: ["run-3"]))
        #expect(walk.orders.isEmpty)
        try walk.take(.registered(Walk.registration("boot-two")))
        try order(&walk, number: 2, hours: nil)
        try report(&walk, .finished)
        try walk.take(.resumed(runs: ["run-4"]))
        #expect(walk.orders == [.boot(.disk)])
        try walk.take(.bootOrdered(.disk))
        try walk.take(.resumed(runs: ["run-5"]))
        #expect(walk.orders.isEmpty)
    }

    /// Rescues among all else: nothing waits without deadline and way out, and nobody is let in by an untrusted boot.
    @Test(arguments: 0..<200) func `no sequence of inputs leaves a rescue stuck`(seed: UInt64) throws {
        var random = SeededRandom(seed: seed)
        var walk = Walk()
        try walk.reachActive()
        for step in 0..<80 {
            let number = DiscoveryOrders.number(of: walk.node)
            let inputs: [NodeInput] = [
                .registered(Walk.registration("boot-\(Int.random(in: 0..<4, using: &random))")), .specified, .specified,
                .resumed(runs: ["run-2"]), .tick, .bmcFailed("no"), .bootOrdered(.ramdisk), .bootOrdered(.disk),
                .bootLeftToOperator(.disk, "by hand"), .progressed(order: number, .rescued(Self.access)),
                .progressed(order: number, .login(from: "a")), .progressed(order: number, .finished),
                .progressed(order: number, .failed(message: "no", retryable: true)),
                .agentConnected(Walk.hello, Walk.stream(UInt64(step) + 10)),
                .agentReported(Walk.report(ready: step % 2 == 0)),
            ]
            switch Int.random(in: 0..<8, using: &random) {
            case 0: walk.approve()
            case 1, 2:
                walk.node.spec.rescue = Node.RescueRequest(
                    number: UInt64(step) + 1, by: "x", at: walk.now,
                    passwordEnds: step % 3 == 0 ? nil : walk.now.advanced(by: .seconds(3600)))
            default: break
            }
            walk.wait(.seconds(Int64.random(in: 0...2000, using: &random)))
            let input = inputs[Int.random(in: 0..<inputs.count, using: &random)]
            do { try walk.take(input) } catch is InvalidTransition { continue }
            let status = walk.node.status
            #expect(status.state == .active || status.wait != nil, "seed \(seed) step \(step): \(status.state)")
            if let wait = status.wait { #expect(!wait.cause.isEmpty && !wait.next.isEmpty) }
            if DiscoveryOrders.wanted(of: walk.node) == .rescue {
                #expect(status.session?.isTrusted == true, "seed \(seed) step \(step)")
            }
        }
    }
}
