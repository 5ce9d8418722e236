import AgentProtocol
import Primitives
import Testing

@testable import NodeAgent

/// Runs a session by hand: each step at a given second, with seeded randomness.
private struct Bench {
    var state = AgentState(roles: [.network], agentVersion: "1", bootID: "boot")
    var random = SeededRandom(seed: 1)
    static let epoch = Timestamp(millisecondsSinceEpoch: 1_800_000_000_000)

    static func time(_ seconds: Int) -> AgentTime {
        AgentTime(wall: epoch.advanced(by: .seconds(seconds)), uptime: .seconds(seconds))
    }

    /// The effects without log lines.
    mutating func step(_ event: AgentEvent, at seconds: Int) -> [AgentEffect] {
        state.step(event, at: Self.time(seconds), random: &random).filter {
            if case .log = $0 { false } else { true }
        }
    }

    /// The log lines of a step.
    mutating func lines(_ event: AgentEvent, at seconds: Int) -> [String] {
        state.step(event, at: Self.time(seconds), random: &random).compactMap {
            if case .log(_, let text) = $0 { text } else { nil }
        }
    }
}

@Suite("AgentState")
struct AgentStateTests {
    static let day = CertificateValidity(
        notBefore: Bench.epoch, notAfter: Bench.epoch.advanced(by: .seconds(86_400)))

    let file: AgentIdentityFile
    let view: NodeView
    let ready = NodeStatusReport.RoleStatus(
        role: .network, isReady: true,
        conditions: [Condition(type: "Ready", isTrue: true, message: "", since: Timestamp(millisecondsSinceEpoch: 0))])
    let welcome = ConductorMessage.welcome(
        ConductorWelcome(time: Bench.time(1).wall, conductors: ["a:1", "b:2"], viewIsCurrent: true))

    init() throws {
        file = AgentIdentityFile(
            node: try NodeID("n"), name: "net-1", provisioning: ["p:1"], conductors: ["a:1", "b:2"], token: nil)
        let settings = try NodeView.Item(
            kind: AgentSettings.kind, generation: Generation(1), encoding: AgentSettings(metricsIntervalSeconds: 7))
        view = NodeView(revision: Revision(5), generation: Generation(2), items: ["settings": settings])
    }

    private func opened() -> Bench {
        var bench = Bench()
        _ = bench.step(.started(StoredIdentity(identity: file, certificate: Self.day), view), at: 0)
        _ = bench.step(.rolesChecked([ready], addresses: []), at: 0)
        _ = bench.step(.connected, at: 1)
        _ = bench.step(.received(welcome), at: 1)
        return bench
    }

    @Test func aNewNodeEnrolsThenConnectsThenGreets() {
        var bench = Bench()
        var fresh = file
        fresh.token = "secret"
        #expect(
            bench.step(.started(StoredIdentity(identity: fresh, certificate: nil), nil), at: 0)
                == [.enrol(endpoint: "p:1")])
        #expect(bench.step(.enrolled(Self.day), at: 1) == [.connect(endpoint: "a:1")])
        #expect(bench.state.identity?.token == nil)
        let hello = AgentHello(agentVersion: "1", bootID: "boot", roles: [.network], viewRevision: .zero)
        #expect(bench.step(.connected, at: 2) == [.send(.hello(hello))])
    }

    private func told(_ authorities: [String], hastens: Bool = false, revision: UInt64) throws -> NodeView {
        var view = view
        view.revision = Revision(revision)
        view.items[TrustItem.key] = try NodeView.Item(
            kind: TrustItem.kind, generation: Generation(1),
            encoding: TrustItem(authorities: authorities, hastensRenewal: hastens))
        return view
    }

    private func knowing(_ agents: [String], revision: UInt64) throws -> NodeView {
        var view = view
        view.revision = Revision(revision)
        view.items[ConductorsItem.key] = try NodeView.Item(
            kind: ConductorsItem.kind, generation: Generation(1), encoding: ConductorsItem(agents: agents))
        return view
    }

    private func saved(_ effects: [AgentEffect]) -> [String]? {
        effects.compactMap { if case .saveConductors(let list) = $0 { list } else { nil } }.first
    }

    @Test func conductorsOfTheViewAreKeptAndTriedWhenTheOneGoes() throws {
        var bench = opened()
        let view = try knowing(["a:1", "b:2", "c:3", "not an endpoint"], revision: 6)
        let list = try #require(saved(bench.step(.received(.view(view)), at: 2)))
        #expect(list.first == "a:1")
        #expect(Set(list) == ["a:1", "b:2", "c:3"])
        #expect(saved(bench.step(.received(.view(try knowing(["c:3", "b:2", "a:1"], revision: 7))), at: 3)) == nil)
        #expect(saved(bench.step(.received(.view(try knowing([], revision: 8))), at: 3)) == nil)
        _ = bench.step(.disconnected("gone"), at: 4)
        let stored = StoredIdentity(identity: try #require(bench.state.identity), certificate: Self.day)
        _ = bench.step(.tick, at: 6)
        #expect(bench.step(.reloaded(stored), at: 6) == [.connect(endpoint: list[1])])
    }

    @Test func whatARoleLacksIsAskedForWithGrowingPausesUntilItHasIt() throws {
        var bench = opened()
        let wish = ControllerSecretsRequest(signingRequest: "PEM")
        func asks(_ effects: [AgentEffect]) -> Int { effects.count { $0 == .send(.secrets(wish)) } }
        #expect(bench.step(.received(.secrets(.refused(message: "late"))), at: 2).isEmpty, "nothing was asked for")
        #expect(asks(bench.step(.rolesChecked([ready], addresses: [], wish: wish), at: 2)) == 1)
        #expect(asks(bench.step(.rolesChecked([ready], addresses: [], wish: wish), at: 2)) == 0)
        var times: [Int] = []
        for second in 3...700 where asks(bench.step(.tick, at: second)) > 0 { times.append(second) }
        #expect(times == [4, 8, 16, 32, 64, 128, 256, 512], "\(times)")

        // An answer that was under way on the stream before does not come any more.
        _ = bench.step(.disconnected("gone"), at: 701)
        for second in 702...760 { #expect(asks(bench.step(.tick, at: second)) == 0) }
        let stored = StoredIdentity(identity: try #require(bench.state.identity), certificate: Self.day)
        _ = bench.step(.reloaded(stored), at: 761)
        _ = bench.step(.connected, at: 762)
        #expect(asks(bench.step(.received(welcome), at: 762)) == 1)

        // Whatever the roles were asked for meanwhile is done.
        for _ in 0..<3 {
            _ = bench.step(.metricsCollected([]), at: 763)
            _ = bench.step(.rolesChecked([ready], addresses: [], wish: wish), at: 763)
        }
        let reply = ControllerSecretsReply.refused(message: "not named")
        #expect(bench.step(.received(.secrets(reply)), at: 763).contains(.take(reply)))
        #expect(bench.step(.replyTaken, at: 763).contains { if case .apply = $0 { true } else { false } })
        #expect(asks(bench.step(.rolesChecked([ready], addresses: []), at: 764)) == 0)
        for second in 765...1400 { #expect(asks(bench.step(.tick, at: second)) == 0, "it lacks nothing any more") }
    }

    @Test func nodesOfOneConductorGoToSeveralOthers() throws {
        var next: Set<String> = []
        for number in 0..<20 {
            var bench = Bench()
            var own = file
            own.node = try NodeID("n\(number)")
            _ = bench.step(.started(StoredIdentity(identity: own, certificate: Self.day), view), at: 0)
            _ = bench.step(.connected, at: 1)
            _ = bench.step(.received(welcome), at: 1)
            let view = try knowing(["a:1", "b:2", "c:3", "d:4"], revision: 6)
            let list = try #require(saved(bench.step(.received(.view(view)), at: 2)))
            next.insert(list[1])
        }
        #expect(next == ["b:2", "c:3", "d:4"])
    }

    private func authority(_ number: UInt8) -> KnownAuthority {
        KnownAuthority(
            fingerprint: Digest(bytes: [UInt8](repeating: number, count: 32)), key: "key \(number)", pem: "ca \(number)"
        )
    }

    @Test func theAuthoritiesOfTheViewAreKeptOnceAndTold() throws {
        var bench = opened()
        let both = try told(["ca 2", "ca 1"], revision: 6)
        #expect(bench.step(.received(.view(both)), at: 2).contains(.keepAuthorities(["ca 2", "ca 1"])))
        let effects = bench.step(.authoritiesKept([authority(2), authority(1)]), at: 2)
        guard case .send(.status(let report))? = effects.first else {
            Issue.record("the conductor is not told: \(effects)")
            return
        }
        #expect(report.trust?.authorities == [authority(2).fingerprint, authority(1).fingerprint])
        let again = try told(["ca 2", "ca 1"], revision: 7)
        #expect(!bench.step(.received(.view(again)), at: 3).contains(.keepAuthorities(["ca 2", "ca 1"])))
        for list in [[], ["1", "2", "3", "4", "5"]] {
            let effects = bench.step(.received(.view(try told(list, revision: 8))), at: 4)
            #expect(!effects.contains(.keepAuthorities(list)), "those there are stay")
        }
    }

    @Test func aCertificateOfTheOlderAuthorityIsRenewedAtOnceOnlyWhenThatIsHastened() throws {
        var bench = opened()
        bench.state.authorities = [authority(2), authority(1)]
        bench.state.certificate?.authorityKey = "key 1"
        #expect(
            !bench.step(.received(.view(try told(["ca 2", "ca 1"], revision: 6))), at: 2).contains(.prepareRenewal))
        let hastened = try told(["ca 2", "ca 1"], hastens: true, revision: 7)
        #expect(bench.step(.received(.view(hastened)), at: 3).contains(.prepareRenewal))
        var renewed = Self.day
        (renewed.authorityKey, renewed.serial) = ("key 2", "02")
        let effects = bench.step(.certificateInstalled(renewed), at: 4)
        guard case .send(.status(let report))? = effects.first else {
            Issue.record("the conductor is not told: \(effects)")
            return
        }
        #expect(report.trust?.certificate == "02")
        #expect(!bench.step(.tick, at: 300).contains(.prepareRenewal))
    }

    @Test func aRenewalWhoseAnswerIsLostIsAskedForAgain() {
        var bench = opened()
        #expect(bench.step(.tick, at: 28_860).contains(.prepareRenewal))
        _ = bench.step(.renewalReady(signingRequest: "csr 1"), at: 28_860)
        _ = bench.step(.disconnected("gone"), at: 28_870)
        _ = bench.step(.reloaded(StoredIdentity(identity: file, certificate: Self.day)), at: 28_880)
        _ = bench.step(.connected, at: 28_881)
        #expect(!bench.step(.received(welcome), at: 28_881).contains(.prepareRenewal), "not twice a minute")
        #expect(bench.step(.tick, at: 28_950).contains(.prepareRenewal))
        #expect(
            bench.step(.renewalReady(signingRequest: "csr 2"), at: 28_950) == [.send(.renew(signingRequest: "csr 2"))])
        // The answer to the first comes late: its key is gone, and the second is still waited for.
        _ = bench.step(.certificateRefused("it is for another key"), at: 28_951)
        #expect(!bench.step(.tick, at: 28_990).contains(.prepareRenewal))
        #expect(bench.step(.tick, at: 29_030).contains(.prepareRenewal))
    }

    @Test func whatIsNotReadyIsMadeSoAgainUntilItIs() {
        var bench = opened()
        let unready = NodeStatusReport.RoleStatus(role: .network, isReady: false, conditions: [])
        /// The roles' work that a tick begins; metrics are answered at once.
        func tick(_ second: Int) -> [AgentEffect] {
            let effects = bench.step(.tick, at: second)
            return effects + bench.step(.metricsCollected([]), at: second)
        }
        func found(_ status: NodeStatusReport.RoleStatus, _ second: Int) {
            _ = bench.step(.rolesChecked([status], addresses: []), at: second)
            _ = bench.step(.metricsCollected([]), at: second)
        }
        found(ready, 1)
        #expect(tick(30).contains(.check))
        found(unready, 30)
        for second in [32, 36, 44, 60, 90, 120] {
            #expect(!tick(second - 1).contains(.apply(view)))
            #expect(tick(second).contains(.apply(view)), "second \(second)")
            found(unready, second)
        }
        #expect(tick(150).contains(.apply(view)))
        found(ready, 150)
        #expect(tick(180).contains(.check))
    }

    @Test func whatARoleNoticesIsLookedAtSoonButNotTwiceASecond() {
        var bench = opened()
        _ = bench.step(.metricsCollected([]), at: 1)
        #expect(bench.step(.roleChanged(.network), at: 5) == [.check])
        #expect(bench.step(.roleChanged(.network), at: 5) == [])
        _ = bench.step(.rolesChecked([ready], addresses: []), at: 5)
        #expect(bench.step(.roleChanged(.network), at: 5) == [])
        #expect(bench.state.attentionAt == .seconds(6))
        #expect(bench.step(.tick, at: 6).contains(.check))
        #expect(bench.step(.roleChanged(.storage), at: 9) == [], "this agent has no such role")
    }

    @Test func theViewSaysWhichRolesRunAndAMissingOneIsSaid() throws {
        var bench = Bench()
        bench.state = AgentState(roles: [.compute, .network], agentVersion: "1", bootID: "boot")
        #expect(bench.state.wantedRoles == [.compute, .network], "without a word of the view all run")
        var asked = view
        asked.items["settings"] = try NodeView.Item(
            kind: AgentSettings.kind, generation: Generation(1),
            encoding: AgentSettings(metricsIntervalSeconds: 7, roles: [.network, .storage]))
        _ = bench.step(.started(StoredIdentity(identity: file, certificate: Self.day), asked), at: 0)
        #expect(bench.state.wantedRoles == [.network])
        _ = bench.step(.rolesChecked([ready], addresses: []), at: 0)
        #expect(bench.state.status.roles.map(\.role) == [.network, .storage])
        let missing = try #require(bench.state.status.roles.last)
        #expect(!missing.isReady && missing.conditions.first?.type == "RoleModulePresent")
        #expect(missing.conditions.first?.message.contains("muster node deploy net-1") == true)
    }

    @Test func theKeptViewIsAppliedBeforeAnythingElse() {
        var bench = Bench()
        let effects = bench.step(.started(StoredIdentity(identity: file, certificate: Self.day), view), at: 0)
        #expect(effects == [.apply(view), .connect(endpoint: "a:1")])
        let hello = AgentHello(agentVersion: "1", bootID: "boot", roles: [.network], viewRevision: Revision(5))
        #expect(bench.step(.connected, at: 1) == [.send(.hello(hello))])
    }

    @Test func withoutAViewTheRolesAreLeftAloneUntilOneComes() {
        var bench = Bench()
        let stored = StoredIdentity(identity: file, certificate: Self.day)
        #expect(bench.step(.started(stored, nil), at: 0) == [.connect(endpoint: "a:1")])
        #expect(bench.step(.roleCameBack(.network), at: 1).isEmpty)
        #expect(bench.step(.tick, at: 31).isEmpty)
        let hello = AgentHello(agentVersion: "1", bootID: "boot", roles: [.network], viewRevision: .zero)
        #expect(bench.step(.connected, at: 32) == [.send(.hello(hello))])
        let change = ViewChange(
            from: .zero, revision: Revision(9), generation: Generation(1), upserts: [:], deletions: [])
        var strayed = bench
        let effects = strayed.step(.received(.change(change)), at: 33)
        #expect(effects == [.disconnect("the change is for another revision")])

        let none = NodeView(revision: Revision(8), generation: Generation(1), items: [:])
        #expect(bench.step(.received(.view(none)), at: 33) == [.saveView(none), .apply(none)])
        _ = bench.step(.received(welcome), at: 33)
        let report = NodeStatusReport(
            observedRevision: Revision(8), observedGeneration: Generation(1), roles: [], addresses: [])
        let reports = bench.step(.rolesChecked([], addresses: []), at: 34)
        #expect(reports == [.send(.status(report))])
    }

    @Test func aRefusedEnrolmentIsToldAndTriedSlowly() {
        var bench = Bench()
        var fresh = file
        fresh.token = "used"
        _ = bench.step(.started(StoredIdentity(identity: fresh, certificate: nil), nil), at: 0)
        let lines = bench.lines(
            .enrolmentFailed(EnrolmentFailure(message: "The token was used.", isRefusal: true)), at: 1)
        #expect(lines.first?.contains("The token was used.") == true)
        #expect(bench.state.retryAt == .seconds(301))
        #expect(!bench.step(.tick, at: 200).contains(.reload))
        #expect(bench.step(.tick, at: 301).contains(.reload))
        #expect(
            bench.step(.reloaded(StoredIdentity(identity: fresh, certificate: nil)), at: 301)
                == [.enrol(endpoint: "p:1")])
    }

    @Test func withoutTokenAndCertificateTheOperatorIsTold() {
        var bench = Bench()
        let ended = CertificateValidity(notBefore: Bench.epoch, notAfter: Bench.epoch)
        let lines = bench.lines(.started(StoredIdentity(identity: file, certificate: ended), view), at: 1)
        #expect(lines.first?.contains("muster node deploy net-1") == true)
        var redeployed = file
        redeployed.token = "new"
        _ = bench.step(.tick, at: 301)
        #expect(
            bench.step(.reloaded(StoredIdentity(identity: redeployed, certificate: ended)), at: 301)
                == [.enrol(endpoint: "p:1")])
    }

    @Test func conductorsAreTriedInTurnWithGrowingPauses() {
        var bench = Bench()
        let stored = StoredIdentity(identity: file, certificate: Self.day)
        _ = bench.step(.started(stored, nil), at: 0)
        var now = 0
        var tried: [String] = []
        var pauses: [Int64] = []
        for _ in 0..<20 {
            _ = bench.step(.connectFailed("refused"), at: now)
            let retryAt = bench.state.retryAt ?? .zero
            pauses.append((retryAt - .seconds(now)).milliseconds)
            now = Int(retryAt.components.seconds) + 1
            #expect(bench.step(.tick, at: now).contains(.reload))
            if case .connect(let endpoint) = bench.step(.reloaded(stored), at: now).first { tried.append(endpoint) }
        }
        #expect(Array(tried.prefix(4)) == ["b:2", "a:1", "b:2", "a:1"])
        #expect((500...1000).contains(pauses[0]))
        #expect(pauses.allSatisfy { $0 <= 60_000 })
        #expect((30_000...60_000).contains(pauses[19]))
    }

    @Test func changesAreAppliedOneAtATimeAndTheNewestWins() throws {
        var bench = opened()
        let item = try NodeView.Item(kind: "k", generation: Generation(1), encoding: [1])
        let second = NodeView(revision: Revision(6), generation: Generation(2), items: ["x": item])
        let third = NodeView(revision: Revision(7), generation: Generation(3), items: [:])
        let change = try #require(second.change(from: view))
        #expect(bench.step(.received(.change(change)), at: 2) == [.saveView(second), .apply(second)])
        #expect(bench.step(.received(.view(third)), at: 3) == [.saveView(third)])
        let report = NodeStatusReport(
            observedRevision: Revision(6), observedGeneration: Generation(2),
            roles: bench.state.status.roles, addresses: [])
        #expect(
            bench.step(.rolesChecked([ready], addresses: []), at: 4) == [.send(.status(report)), .apply(third)])
    }

    @Test func aChangeForAnotherRevisionAsksForTheWholeView() {
        var bench = opened()
        let stray = ViewChange(
            from: Revision(1), revision: Revision(9), generation: Generation(2), upserts: [:], deletions: [])
        let effects = bench.step(.received(.change(stray)), at: 2)
        #expect(effects == [.disconnect("the change is for another revision")])
        #expect(bench.step(.tick, at: 2).contains(.reload))
        _ = bench.step(.reloaded(StoredIdentity(identity: file, certificate: Self.day)), at: 2)
        let hello = AgentHello(agentVersion: "1", bootID: "boot", roles: [.network], viewRevision: .zero)
        #expect(bench.step(.connected, at: 3) == [.send(.hello(hello))])
    }

    @Test func statusGoesUpOnChangeAndEveryThirtySeconds() {
        var bench = opened()
        #expect(bench.step(.tick, at: 30).contains(.check))
        let same = bench.step(.rolesChecked([ready], addresses: []), at: 30)
        guard case .send(.status(let first)) = same.first else {
            Issue.record("no regular report")
            return
        }
        #expect(bench.step(.rolesChecked([ready], addresses: []), at: 31).isEmpty)
        var broken = ready
        broken.isReady = false
        broken.conditions[0].isTrue = false
        let changed = bench.step(.rolesChecked([broken], addresses: []), at: 32)
        guard case .send(.status(let second)) = changed.first else {
            Issue.record("no report of the change")
            return
        }
        #expect(first.roles[0].conditions[0].since == Bench.time(0).wall)
        #expect(second.roles[0].conditions[0].since == Bench.time(32).wall)
    }

    @Test func metricsFollowTheSettingsAndStopWithoutAStream() {
        var bench = opened()
        #expect(bench.step(.tick, at: 7).contains(.collectMetrics))
        let sample = MetricsReport.Sample(name: "up", value: 1)
        let report = MetricsReport(time: Bench.time(8).wall, samples: [sample])
        #expect(bench.step(.metricsCollected([sample]), at: 8) == [.send(.metrics(report))])
        _ = bench.step(.disconnected("gone"), at: 9)
        #expect(!bench.step(.tick, at: 14).contains(.collectMetrics))
    }

    @Test func theCertificateIsRenewedAfterAThirdOfItsLife() {
        var bench = opened()
        #expect(!bench.step(.tick, at: 28_700).contains(.prepareRenewal))
        #expect(bench.step(.tick, at: 28_860).contains(.prepareRenewal))
        #expect(bench.step(.renewalReady(signingRequest: "csr"), at: 28_860) == [.send(.renew(signingRequest: "csr"))])
        #expect(!bench.step(.tick, at: 28_890).contains(.prepareRenewal))
        #expect(bench.step(.tick, at: 28_920).contains(.prepareRenewal))
        let reply = EnrolmentReply(certificateChain: "pem", notAfter: Bench.time(200_000).wall)
        #expect(bench.step(.received(.certificate(reply)), at: 28_921) == [.installCertificate(reply)])
        let next = CertificateValidity(notBefore: Bench.time(28_921).wall, notAfter: Bench.time(115_321).wall)
        _ = bench.step(.certificateInstalled(next), at: 57_722)
        #expect(!bench.step(.tick, at: 50_000).contains(.prepareRenewal))
    }

    @Test func aGoodbyeSetsTheTimeOfTheNextAttempt() throws {
        var bench = opened()
        #expect(
            bench.step(.received(.goodbye(message: "later", retryAfterSeconds: 60)), at: 10)
                == [.disconnect("goodbye")])
        let next = try #require(bench.state.retryAt)
        #expect((.seconds(70)...(.seconds(71))).contains(next))
        #expect(bench.step(.disconnected("closed"), at: 11).isEmpty)
        #expect(bench.state.retryAt == next)
    }

    @Test func aClockThatIsOffIsSetToTheConductors() {
        var bench = opened()
        let isClockSet: (AgentEffect) -> Bool = { if case .setClock = $0 { true } else { false } }
        #expect(!bench.step(.received(welcome), at: 2).contains(where: isClockSet))
        for seconds in [-3600, 4] {
            let time = Bench.time(seconds).wall
            let other = ConductorMessage.welcome(
                ConductorWelcome(time: time, conductors: ["a:1", "b:2"], viewIsCurrent: true))
            #expect(bench.step(.received(other), at: 2).contains(.setClock(time)))
        }
    }

    @Test func newConductorsAreKeptAndThePresentOneStaysFirst() {
        var bench = opened()
        let changed = ConductorMessage.welcome(
            ConductorWelcome(
                time: Bench.time(2).wall, conductors: ["c:3", "not an endpoint", "a:1"], viewIsCurrent: true))
        let effects = bench.step(.received(changed), at: 2)
        #expect(effects.contains(.saveConductors(["a:1", "c:3"])))
        #expect(bench.state.identity?.conductors == ["a:1", "c:3"])
    }
}
