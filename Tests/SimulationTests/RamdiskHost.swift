import AgentProtocol
import FoundationEssentials
import Primitives

@testable import ConductorServer
@testable import Discovery

/// The ramdisk on a machine: the real session, and in place of its shell what carries its effects out in virtual time.
final class RamdiskHost: @unchecked Sendable {
    // SAFETY: touched on the simulation's thread only.
    private unowned let machine: Machine
    private var world: World { machine.world }
    private let bootID: String
    private let startedAt: Int64
    private var session = DiscoverySession()
    private var tick: Int64?
    /// The order whose work goes on, and the disk and chunks of it.
    private var work: (order: UInt64, disk: Int, done: Int)?
    private var rescue: UInt64?

    /// Chunks of the image.
    static let chunkCount = 4
    /// A session that waits for time is looked at no more often than this.
    private static let tickPause: Int64 = 3000

    init(_ machine: Machine) {
        self.machine = machine
        startedAt = machine.world.now
        bootID = "boot-\(machine.index)-\(machine.epoch)-\(machine.world.draw(0...UInt32.max))"
    }

    func start() { handle(.started) }

    private func handle(_ event: DiscoveryEvent) {
        let effects = session.step(event, at: .milliseconds(world.now - startedAt), random: &world.random)
        for effect in effects { carryOut(effect) }
        guard let next = session.nextTick else { return }
        let due = max(startedAt + next.milliseconds, world.now + Self.tickPause)
        if let tick, tick > world.now, tick <= due { return }
        tick = due
        world.after(due - world.now, machine, "~ session ticks") { [self] in handle(.tick) }
    }

    private func carryOut(_ effect: DiscoveryEffect) {
        switch effect {
        case .fetchAuthority: fetchAuthority()
        case .register: register()
        case .poll(let token, let after): poll(token, after)
        case .post(let token, let report): post(token, report)
        case .postLogs: later(10...50, "~ has posted logs", .logsPosted)
        case .prepare(let token, let number, let order): prepare(token, number, order)
        case .stream(let number, _): stream(number)
        case .finish(let number, let order): finish(number, order)
        case .clean(let number, let order): clean(number, order)
        case .openRescue(let number, _): openRescue(number)
        case .closeRescue(let number):
            rescue = nil
            later(500...5000, "has closed its rescue", .rescueClosed(order: number))
        case .abandon(let number): if work?.order == number { work = nil }
        case .log: break
        }
    }

    private func later(_ time: ClosedRange<Int64>, _ name: String, _ event: DiscoveryEvent) {
        world.after(world.slowly(time), machine, name) { [self] in handle(event) }
    }

    // MARK: The conductor

    private func fetchAuthority() {
        world.request(machine, "the authority") { _ in
            true
        } then: { [self] result in
            switch result {
            case .success: handle(.authorityTrusted)
            case .failure(let failure): handle(.authorityFailed(failure))
            }
        }
    }

    private func register() {
        let post = InventoryPost(bootID: bootID, inventory: machine.inventory())
        let index = machine.index
        world.request(machine, "to be registered") {
            try await $0.register(post, machine: index)
        } then: {
            [self] result in
            switch result {
            case .success(let reply): handle(.registered(reply))
            case .failure(let failure): handle(.registrationFailed(failure))
            }
        }
    }

    private func poll(_ token: String, _ after: UInt64?) {
        let (index, epoch) = (machine.index, machine.epoch)
        world.request(machine, "for orders after \(after ?? 0)") {
            try await $0.order(token, after, machine: index, epoch: epoch)
        } then: { [self] result in
            switch result {
            case .success(let order): handle(.ordered(order))
            case .failure(let failure): handle(.orderFailed(failure))
            }
        }
    }

    private func post(_ token: String, _ report: DiscoveryProgress) {
        world.request(machine, "to note \(report.stage.word) of \(report.order)") {
            try await $0.service.report(session: token, report)
        } then: { [self] result in
            switch result {
            case .success: handle(.posted)
            case .failure(let failure): handle(.postFailed(failure))
            }
        }
    }

    // MARK: Writing

    private func prepare(_ token: String, _ number: UInt64, _ order: DeployOrder) {
        let disk: Int
        do {
            let chosen = try RootDiskChoice.choose(order.rootDisk, among: machine.inventoryDisks)
            disk = machine.disks.firstIndex { $0.serial == chosen.serial } ?? 0
        } catch {
            return later(10...100, "finds no disk", .failed(order: number, message: "\(error)", isRetryable: false))
        }
        let (index, epoch) = (machine.index, machine.epoch)
        world.request(machine, "for a manifest") {
            try await $0.manifest(token, order.manifest, machine: index, epoch: epoch)
        } then: { [self] result in
            switch result {
            case .success:
                work = (number, disk, 0)
                handle(.prepared(order: number, disk: "/dev/vd\(disk)", chunks: Self.chunkCount))
            case .failure(let failure) where failure.isRefusal:
                handle(.failed(order: number, message: failure.message, isRetryable: true))
            case .failure(let failure): handle(.interrupted(order: number, failure))
            }
        }
    }

    /// One chunk after the other; each may be damaged on the way or refused by the disk.
    private func stream(_ number: UInt64) {
        world.after(world.slowly(3000...20_000), machine, "gets a chunk of \(number)") { [self] in
            guard var work, work.order == number else { return }
            if world.conductor == nil { return interrupt(number, "connection refused") }
            if world.strikes(.corruptedChunk) { return interrupt(number, "a chunk is not what the manifest says") }
            if world.strikes(.diskError) { return fail(number, "the disk has bad sectors") }
            if world.strikes(.fullDisk) { return fail(number, "the image is larger than the disk") }
            world.checkWrite(machine, disk: work.disk, order: number)
            machine.disks[work.disk].contents = .partial
            work.done += 1
            self.work = work
            handle(.wrote(order: number, done: work.done, bytes: 1 << 20))
            if work.done < Self.chunkCount { stream(number) } else { handle(.complete(order: number)) }
        }
    }

    private func interrupt(_ number: UInt64, _ why: String) {
        handle(.interrupted(order: number, RequestFailure(message: why)))
    }

    private func fail(_ number: UInt64, _ why: String) {
        work = nil
        handle(.failed(order: number, message: why, isRetryable: false))
    }

    private func finish(_ number: UInt64, _ order: DeployOrder) {
        world.after(world.slowly(500...4000), machine, "finishes order \(number)") { [self] in
            guard let work, work.order == number else { return }
            self.work = nil
            guard let text = order.stateFiles.first(where: { $0.path == "muster/agent.json" })?.content,
                let identity = try? JSONDecoder().decode(AgentIdentityFile.self, from: Data(text.utf8))
            else { return fail(number, "there is no identity among the state files") }
            world.checkWrite(machine, disk: work.disk, order: number)
            machine.disks[work.disk].contents = .image(
                Machine.Installation(identity: identity, request: world.site.request(world.draw(0...3))))
            handle(.finished(order: number))
        }
    }

    private func clean(_ number: UInt64, _ order: CleanOrder) {
        world.after(world.slowly(5000...30_000), machine, "empties disks") { [self] in
            guard session.cleaning?.number == number else { return }
            if world.strikes(.diskError) {
                return handle(.failed(order: number, message: "the disk has bad sectors", isRetryable: true))
            }
            var cleaned: [CleanedDisk] = []
            for hint in order.disks {
                guard let found = machine.inventoryDisks.first(where: { hint.fits($0) }),
                    let disk = machine.disks.firstIndex(where: { $0.serial == found.serial })
                else { return handle(.failed(order: number, message: "no such disk", isRetryable: false)) }
                world.checkWrite(machine, disk: disk, order: number)
                machine.disks[disk].contents = .blank
                cleaned.append(
                    CleanedDisk(
                        path: found.path, serial: found.serial, found: [], isDiscarded: true, readBack: .mebibytes(8)))
            }
            handle(.cleaned(order: number, cleaned))
        }
    }

    // MARK: Rescue

    private func openRescue(_ number: UInt64) {
        rescue = number
        let access = RescueAccess(addresses: [], hostKey: "ssh-ed25519 A", fingerprint: "SHA256:a")
        later(500...5000, "opens its rescue", .rescueOpened(order: number, access))
        world.after(world.slowly(20_000...90_000), machine, "is logged in to") { [self] in
            if rescue == number { handle(.rescueLogin(order: number, from: "10.0.0.9")) }
        }
    }
}

extension DiscoveryProgress.Stage {
    /// For the trace.
    var word: String {
        switch self {
        case .started: "start"
        case .writing(let done, _, _): "chunk \(done)"
        case .finished: "the end"
        case .cleaning: "cleaning"
        case .cleaned: "the cleaning's end"
        case .rescued: "the rescue"
        case .login: "a login"
        case .failed: "failure"
        }
    }
}
