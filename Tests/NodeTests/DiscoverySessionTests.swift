import AgentProtocol
import LinuxSystem
import Primitives
import Testing

@testable import Discovery

/// A session with its clock, which remembers what it was told to do.
struct SessionRun {
    var session = DiscoverySession()
    var now: Duration = .zero
    var random = SeededRandom(seed: 1)
    /// Whether reports and log lines arrive at once.
    var arrives = false

    /// The effects of `event`, without log lines.
    mutating func step(_ event: DiscoveryEvent, after pause: Duration = .zero) -> [DiscoveryEffect] {
        now += pause
        var effects: [DiscoveryEffect] = []
        var events = [event]
        while !events.isEmpty {
            let next = session.step(events.removeFirst(), at: now, random: &random)
            for effect in next {
                switch effect {
                case .log: continue
                case .post where arrives: events.append(.posted)
                case .postLogs where arrives: events.append(.logsPosted)
                default: break
                }
                effects.append(effect)
            }
        }
        return effects
    }

    /// The next tick's effects, at its time.
    mutating func tick() -> [DiscoveryEffect] {
        guard let next = session.nextTick else { return [] }
        now = max(now, next)
        return step(.tick)
    }

    /// A session that is registered and polls.
    static func registered() throws -> SessionRun {
        var run = SessionRun()
        #expect(run.step(.started) == [.fetchAuthority])
        #expect(run.step(.authorityTrusted) == [.register])
        let reply = InventoryReply(node: try NodeID("n1"), name: "net-1", session: "s1")
        #expect(run.step(.registered(reply)) == [.poll(session: "s1", after: nil), .postLogs(session: "s1")])
        #expect(run.step(.logsPosted).isEmpty)
        return run
    }

    static let order = DeployOrder(
        generation: Generation(1), manifest: Digest(bytes: [UInt8](repeating: 7, count: 32)), rootDisk: RootDiskHint(),
        stateFiles: [])

    /// One that streams.
    static func streaming() throws -> SessionRun {
        var run = try registered()
        let effects = run.step(.ordered(DiscoveryOrder(number: 2, action: .deploy(order))))
        #expect(effects.contains(.prepare(session: "s1", order: 2, order)))
        let next = run.step(.prepared(order: 2, disk: "/dev/vda", chunks: 100))
        #expect(
            next == [
                .post(session: "s1", DiscoveryProgress(order: 2, stage: .started(disk: "/dev/vda"))),
                .stream(order: 2, order),
            ])
        return run
    }
}

@Suite struct DiscoverySessionTests {
    @Test("A conductor that is away is tried again, ever more seldom, and never given up")
    func backoff() {
        var run = SessionRun()
        #expect(run.step(.started) == [.fetchAuthority])
        var pauses: [Duration] = []
        for _ in 0..<12 {
            let before = run.now
            #expect(run.step(.authorityFailed(RequestFailure(message: "refused"))).isEmpty)
            #expect(run.tick() == [.fetchAuthority])
            pauses.append(run.now - before)
        }
        #expect(pauses[0] <= .seconds(1) && pauses[11] >= .seconds(7))
        #expect(pauses.allSatisfy { $0 >= .milliseconds(500) && $0 <= DiscoverySession.backoffMax })
    }

    @Test("A whole deployment: started, figures at most once a second, finished; then the next poll goes on")
    func deployment() throws {
        var run = try SessionRun.streaming()
        run.arrives = true
        _ = run.step(.posted)
        var posts = 0
        for done in 1...99 {
            let effects = run.step(.wrote(order: 2, done: done, bytes: 1000), after: .milliseconds(100))
            posts += effects.count { if case .post = $0 { true } else { false } }
        }
        #expect((8...10).contains(posts))
        #expect(run.step(.complete(order: 2)).contains(.finish(order: 2, SessionRun.order)))
        let finished = run.step(.finished(order: 2))
        #expect(finished.contains(.post(session: "s1", DiscoveryProgress(order: 2, stage: .finished))))
        let standBy = run.step(.ordered(DiscoveryOrder(number: 3, action: .standBy)))
        #expect(standBy.contains(.poll(session: "s1", after: 3)))
    }

    @Test("An interrupted stream goes on by itself, a report that was lost is sent again")
    func interruption() throws {
        var run = try SessionRun.streaming()
        let started = DiscoveryProgress(order: 2, stage: .started(disk: "/dev/vda"))
        #expect(run.step(.postFailed(RequestFailure(message: "closed"))).isEmpty)
        #expect(run.step(.interrupted(order: 2, RequestFailure(message: "closed"))).isEmpty)
        var effects: [DiscoveryEffect] = []
        for _ in 0..<4 { effects += run.tick() }
        #expect(effects.contains(.stream(order: 2, SessionRun.order)))
        #expect(effects.contains(.post(session: "s1", started)))
    }

    @Test("A session that is over is begun anew without stopping the stream")
    func sessionOver() throws {
        var run = try SessionRun.streaming()
        let over = RequestFailure(message: "unknown session", isSessionOver: true)
        #expect(run.step(.orderFailed(over)) == [.register])
        #expect(run.step(.wrote(order: 2, done: 1, bytes: 10)).isEmpty)
        _ = run.step(.postFailed(over))
        let reply = InventoryReply(node: try NodeID("n1"), name: "net-1", session: "s2")
        #expect(run.step(.registered(reply)).contains(.poll(session: "s2", after: 2)))
        #expect(run.session.deployment?.done == 1)
    }

    @Test("An order that is withdrawn stops, and what still comes of it changes nothing")
    func withdrawn() throws {
        var run = try SessionRun.streaming()
        let effects = run.step(.ordered(DiscoveryOrder(number: 5, action: .wait(reason: "aborted"))))
        #expect(effects.contains(.abandon(order: 2)))
        #expect(run.session.deployment == nil && run.session.outbox.isEmpty)
        let late = run.step(.failed(order: 2, message: "x", isRetryable: false))
        #expect(!late.contains { if case .post = $0 { true } else { false } })
    }

    @Test("The same order twice is done once; an empty answer at once does not make a hurry")
    func sameOrder() throws {
        var run = try SessionRun.streaming()
        let again = run.step(.ordered(DiscoveryOrder(number: 2, action: .wait(reason: "given"))))
        #expect(!again.contains { if case .poll = $0 { true } else { false } })
        #expect(run.session.deployment?.number == 2)
        _ = run.step(.posted)
        let before = run.now
        var effects: [DiscoveryEffect] = []
        for _ in 0..<3 where !effects.contains(.poll(session: "s1", after: 2)) { effects += run.tick() }
        #expect(effects.contains(.poll(session: "s1", after: 2)))
        #expect(run.now - before >= .seconds(1))
    }

    @Test("An image that gets no further fails with a reason and a way out")
    func stall() throws {
        var run = try SessionRun.streaming()
        run.arrives = true
        var effects = run.step(.posted)
        for _ in 0..<2000 where !effects.contains(.abandon(order: 2)) {
            effects = run.tick()
            for effect in effects {
                let failure = RequestFailure(message: "refused")
                if case .stream = effect { effects += run.step(.interrupted(order: 2, failure), after: .seconds(1)) }
            }
        }
        #expect(run.now >= DiscoverySession.stallLimit && run.now < DiscoverySession.stallLimit + .seconds(30))
        #expect(effects.contains(.abandon(order: 2)))
        #expect(run.session.deployment?.stage == .over)
    }

    @Test("A refused post is not sent for ever; a failed order is reported")
    func refused() throws {
        var run = try SessionRun.streaming()
        _ = run.step(.postFailed(RequestFailure(message: "stale", isRefusal: true)))
        let failed = run.step(.failed(order: 2, message: "too small", isRetryable: false))
        let report = DiscoveryProgress(order: 2, stage: .failed(message: "too small", retryable: false))
        #expect(failed.contains(.post(session: "s1", report)))
    }
}

@Suite struct DiscoveryParameterTests {
    static let line =
        "initrd=disc muster.server=10.77.0.1 muster.http=8080 muster.port=8443 muster.ca=\(String(repeating: "ab", count: 32)) muster.time=1700000000 BOOTIF=01-52-54-00-77-00-01 console=ttyS0"

    @Test("The boot script's parameters")
    func whole() throws {
        let parameters = try DiscoveryParameters(.init(Self.line))
        #expect(parameters.server.description == "10.77.0.1" && parameters.httpPort == 8080)
        #expect(parameters.tlsPort == 8443 && parameters.bootInterface?.description == "52:54:00:77:00:01")
        #expect(parameters.bootTime?.description == "2023-11-14T22:13:20Z")
    }

    @Test("What is missing or wrong is named", arguments: ["muster.server", "muster.http", "muster.port", "muster.ca"])
    func missing(name: String) {
        let without = Self.line.split(separator: " ").filter { !$0.hasPrefix(name + "=") }.joined(separator: " ")
        let absent = #expect(throws: InvalidValue.self) { try DiscoveryParameters(.init(without)) }
        #expect(absent?.publicMessage.contains(name) == true)
        #expect(throws: InvalidValue.self) { try DiscoveryParameters(.init("\(without) \(name)=70000x")) }
    }

    @Test("HTTP's dates")
    func dates() {
        #expect(HTTPDate.parse("Sun, 06 Nov 1994 08:49:37 GMT")?.description == "1994-11-06T08:49:37Z")
        #expect(HTTPDate.parse("Thu, 29 Feb 2024 23:59:59 GMT")?.description == "2024-02-29T23:59:59Z")
        for text in ["", "yesterday", "Sun, 06 Nov 1994 08:49:37 CET", "Sun, 99 Nov 1994 08:49:37 GMT"] {
            #expect(HTTPDate.parse(text) == nil)
        }
    }
}

@Suite struct CleaningSessionTests {
    private static let order = CleanOrder(disks: [RootDiskHint(serial: "D1")], method: .overwrite)
    private static let stage = DiscoveryProgress.Stage.cleaning(
        disk: "/dev/vdb", index: 1, count: 1, done: 1, total: 2)

    private func cleaning() throws -> SessionRun {
        var run = try SessionRun.registered()
        run.arrives = true
        let effects = run.step(.ordered(DiscoveryOrder(number: 3, action: .clean(Self.order))))
        #expect(effects.contains(.clean(order: 3, Self.order)))
        return run
    }

    @Test("Progress is passed on, repeated while the disk is silent, and ended by the result")
    func reports() throws {
        var run = try cleaning()
        let report = DiscoveryEffect.post(session: "s1", DiscoveryProgress(order: 3, stage: Self.stage))
        #expect(run.step(.cleaning(order: 3, Self.stage), after: .seconds(2)).contains(report))
        var seen: [DiscoveryEffect] = []
        for _ in 0..<40 { seen += run.tick() }
        #expect(seen.contains(report), "a silent disk looks like a dead machine")
        let disk = CleanedDisk(path: "/dev/vdb", serial: "D1", found: [], isDiscarded: false, readBack: .mebibytes(1))
        #expect(
            run.step(.cleaned(order: 3, [disk]), after: .seconds(2)).contains(
                .post(session: "s1", DiscoveryProgress(order: 3, stage: .cleaned([disk])))))
        #expect(run.session.cleaning == nil)
    }

    @Test("A withdrawn order is stopped, and what it says later is not passed on")
    func withdrawn() throws {
        var run = try cleaning()
        let effects = run.step(.ordered(DiscoveryOrder(number: 4, action: .wait(reason: "no"))))
        #expect(effects.contains(.abandon(order: 3)))
        #expect(
            !run.step(.failed(order: 3, message: "x", isRetryable: true), after: .seconds(5)).contains {
                if case .post = $0 { true } else { false }
            })
    }

    @Test("A disk that cannot be emptied is a failure with its reason")
    func failure() throws {
        var run = try cleaning()
        let effects = run.step(.failed(order: 3, message: "in use", isRetryable: true), after: .seconds(2))
        #expect(
            effects.contains(
                .post(
                    session: "s1",
                    DiscoveryProgress(order: 3, stage: .failed(message: "in use", retryable: true)))))
    }

    @Test("What is found of the clock changes nothing else of an inventory")
    func clock() {
        var report = InventoryReport(
            agentVersion: "1", collectedAt: Timestamp(millisecondsSinceEpoch: 0), kernelVersion: "6",
            system: .init(firmwareMode: .uefi),
            cpu: .init(architecture: "x86_64", sockets: 1, cores: 1, threads: 1), memory: .init(total: .gibibytes(1)),
            disks: [], nics: [], tpmVersion: "2.0", bmc: .init(firmwareVersion: "9.08"), virtualization: "qemu",
            omissions: ["something"])
        let seen = report.seen(skew: .milliseconds(1234))
        #expect(seen.clockSkewMilliseconds == 1234 && seen.bmc?.firmwareVersion == "9.08")
        report.clockSkewMilliseconds = 1234
        #expect(seen == report)
    }
}
