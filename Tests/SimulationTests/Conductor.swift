import AgentProtocol
import BootServer
import CatalogBareMetal
import DHCP
import NetworkBoot
import Primitives
import ResourceModel
import TestSupport

@testable import BareMetal
@testable import ConductorServer
@testable import ReconcileRuntime

/// One run of the conductor: the real parts over one store, without sockets, processes or clocks of their own.
final class Conductor: @unchecked Sendable {
    // SAFETY: touched on the simulation's thread only.
    unowned let world: World
    let run: Int
    /// False once it has crashed: then nothing that it has begun has any effect.
    var isAlive = true
    /// Whether it has read everything and resumed what was under way.
    private(set) var isFollowing = false
    private(set) lazy var pieces = ConductorPieces(self)

    private var engine: LeaseEngine?
    private var polls: [String: BMCPoll] = [:]
    private let newest = NewestSessions()
    private(set) var links: [UInt64: AgentLink] = [:]
    private var linkCount: UInt64 = 0
    private var watchDue: Int64 = 0
    private var isTicking = false
    /// What the mutant that gives addresses twice gave last.
    private var lastGiven: (mac: MACAddress, address: IPv4Address)?

    init(run: Int, world: World) {
        self.run = run
        self.world = world
    }

    var name: String { "run-\(run)" }
    var service: DiscoveryService { pieces.service }
    private var cache: ResourceCache { pieces.catalog.cache }

    // MARK: Life

    /// Reads the store, resumes what was under way, then follows.
    func start() async {
        do {
            try await cache.load()
            // What was committed while it read.
            for batch in world.disk.history where batch.revision > cache.revision { cache.apply(batch) }
            var limits = LeaseEngine.Limits.probing
            limits.probeStock = 4
            engine = LeaseEngine(
                segment: try DHCPSegment(world.site.segment, httpPort: 8080), leases: try await pieces.leases.load(),
                limits: limits)
        } catch {
            guard isAlive else { return }
            return world.violate(.acknowledged, "the conductor does not start: \(error)")
        }
        world.executor.begin { [self] in await takeEffects() }
        world.after(1000, "~ \(name) ticks") { [self] in tick() }
        await pieces.controller.resume()
        isFollowing = isAlive
    }

    /// Brings a commit to the cache, in order, some time later.
    func follow(_ batch: WatchBatch, by part: StoreHandle.Part) {
        // Strictly later than the one before: none may overtake another.
        watchDue = max(watchDue + 1, world.now + world.slowly(1...30) + (world.draw(0...40) == 0 ? 2000 : 0))
        world.after(watchDue - world.now, "~ \(name) sees r\(batch.revision)") { [self] in
            guard isAlive, cache.snapshot().isLoaded, batch.revision > cache.revision else { return }
            cache.apply(batch)
            if part == .api { world.executor.begin { [self] in await pieces.controller.followSpecifications(.all) } }
        }
    }

    private func takeEffects() async {
        for await pending in pieces.controller.effects {
            guard isAlive else { return }
            if world.mutation == .lostEffect, pending.effect == .boot(.disk) { continue }
            world.after(world.slowly(1...200), "\(name) does \(pending.effect) of \(pending.node.spec.name)") {
                [self] in
                guard isAlive else { return }
                world.executor.begin { [self] in await pieces.controller.carryOut(pending) }
            }
        }
    }

    /// What runs by time: deadlines, specifications, BMCs, addresses.
    private func tick() {
        guard isAlive else { return }
        world.after(5000, "~ \(name) ticks") { [self] in tick() }
        if let effects = engine?.step(.tick, now: world.wall.now) { perform(effects) }
        pollBMCs()
        guard isFollowing, !isTicking else { return }
        isTicking = true
        world.executor.begin { [self] in
            await pieces.controller.followDeadlines()
            await pieces.controller.followSpecifications(.all)
            isTicking = false
        }
    }

    private func pollBMCs() {
        let nodes = pieces.catalog.nodes()
        for bmc in pieces.catalog.bmcs() {
            let name = bmc.metadata.name
            let expectation = PowerExpectation(bmc, node: nodes.first { $0.bmcName == name })
            guard
                let identifies = polls[name, default: BMCPoll()].begin(
                    bmc, password: nil, expectation: expectation, at: world.wall.now)
            else { continue }
            world.executor.begin { [self] in
                let outcome = await pieces.bmcController.ask(bmc, identifies: identifies)
                guard isAlive else { return }
                polls[name]?.end(outcome, at: world.wall.now, random: &world.random)
            }
        }
    }

    // MARK: Machines

    /// Whether the machine's BMC has told whose it is.
    func knowsBMC(of machine: Machine) -> Bool {
        pieces.catalog.bmcs().contains { $0.metadata.name == machine.bmcName && $0.status.systemUUID != nil }
    }

    func script(for machine: Machine) -> BootScript? {
        guard cache.snapshot().isLoaded else { return nil }
        return pieces.desk.decide(
            BootRequest(
                mac: machine.mac, uuid: machine.uuid, serial: machine.serial,
                remoteAddress: machine.address.map { "\($0)" }))
    }

    func register(_ post: InventoryPost, machine: Int) async throws -> InventoryReply {
        let reply = try await service.register(post)
        world.checkText(reply, to: machine)
        return reply
    }

    /// As the provisioning port does: holds the question open until there is another order.
    func order(_ token: String, _ after: UInt64?, machine: Int, epoch: Int) async throws -> DiscoveryOrder {
        var order = try await service.order(session: token, after: after, wait: 0)
        for _ in 0..<8 where order.number == after {
            await world.pause(3000, run: run, "~ holds m\(machine)'s question")
            order = try await service.order(session: token, after: after, wait: 0)
        }
        world.noteOrder(order, to: machine, epoch: epoch, session: token)
        return order
    }

    func manifest(_ token: String, _ digest: Digest, machine: Int, epoch: Int) async throws -> [UInt8] {
        let bytes = try await service.manifest(session: token, digest: digest)
        world.checkSecret("a manifest", to: machine, epoch: epoch, session: token)
        return bytes
    }

    // MARK: Addresses

    func receive(_ packet: DHCPPacket) {
        guard let effects = engine?.step(.received(packet), now: world.wall.now) else { return }
        perform(effects)
    }

    private func perform(_ effects: [LeaseEngine.Effect]) {
        for effect in effects {
            switch effect {
            case .send(let reply): world.sendToMachine(mutated(reply.packet))
            case .commitLease(let id, let record, let replaced):
                world.executor.begin { [self] in
                    var failure: LeaseCommitFailure?
                    do throws(LeaseCommitFailure) {
                        try await pieces.leases.commit(record, replacing: replaced)
                    } catch { failure = error }
                    step(.committed(id, failure))
                }
            case .quarantine(let record):
                world.executor.begin { [self] in try? await pieces.leases.commit(record) }
            case .releaseLease(let record):
                world.executor.begin { [self] in
                    var isDone = true
                    do { try await pieces.leases.release(record) } catch { isDone = false }
                    step(.released(record, isDone: isDone))
                }
            case .probe(let addresses):
                world.after(world.slowly(300...1200), "~ \(name) has probed \(addresses.count) addresses") { [self] in
                    step(.probed(world.probe(addresses)))
                }
            case .observed, .report: break
            }
        }
    }

    private func step(_ event: LeaseEngine.Event) {
        guard isAlive, let effects = engine?.step(event, now: world.wall.now) else { return }
        perform(effects)
    }

    private func mutated(_ packet: DHCPPacket) -> DHCPPacket {
        guard world.mutation == .doubleLease, packet.options.messageType == .acknowledge, let mac = packet.macAddress
        else { return packet }
        var packet = packet
        if let lastGiven, lastGiven.mac != mac, mac.value % 2 == 0 { packet.yourAddress = lastGiven.address }
        if mac.value % 2 == 1 { lastGiven = (mac, packet.yourAddress) }
        return packet
    }

    // MARK: Streams

    func openLink(_ node: NodeID) -> AgentLink {
        linkCount += 1
        let link = AgentLink(number: linkCount, node: node, conductor: self)
        links[linkCount] = link
        return link
    }

    /// As `AgentHub` does, with the whole view each time.
    func receive(_ message: AgentMessage, _ link: AgentLink) async {
        switch message {
        case .hello(let hello):
            newest.open(link.node, link.number, hello)
            do { try await cache.barrier() } catch {
                return world.sendToAgent(.goodbye(message: "starting", retryAfterSeconds: 5), link)
            }
            guard isAlive, newest.isNewest(link.node, link.number) else { return }
            let now = cache.snapshot()
            guard let node = now.get(Node.self, link.node.raw) else {
                return world.sendToAgent(.goodbye(message: "no such node", retryAfterSeconds: 300), link)
            }
            let view = NodeViewProjection.view(
                of: node, site: now.get(Site.self, Site.name)?.spec,
                ends: TunnelEnds(of: now.all(Node.self), in: LiveCatalog.networks(in: now)),
                revision: now.revision)
            world.sendToAgent(
                .welcome(ConductorWelcome(time: world.wall.now, conductors: [], viewIsCurrent: false)), link)
            world.sendToAgent(.view(view), link)
            await pass(.agentConnected(hello, stream(link)), link)
        case .status(let report): await pass(.agentReported(report), link)
        case .metrics, .logs, .renew, .secrets: break
        }
    }

    /// The stream is found to be gone.
    func lost(_ link: AgentLink) async {
        links[link.number] = nil
        guard newest.close(link.node, link.number) else { return }
        await pass(.agentDisconnected(stream(link)), link)
    }

    private func pass(_ input: NodeInput, _ link: AgentLink) async {
        _ = try? await pieces.controller.submit(input, to: link.node)
    }

    private func stream(_ link: AgentLink) -> Node.Stream { Node.Stream(conductor: name, number: link.number) }
}
