import EtcdBed
import Primitives
import ResourceModel
import StoreEtcd
import TestSupport
import Testing

@testable import struct StoreEtcd.EtcdAddress
@testable import struct StoreEtcd.EtcdReach

/// When a conductor tells its callers to ask another one: soon when it is cut off, and not while leaders change.
@Suite(.serialized) struct EtcdReachTests {
    private let start = ContinuousClock.now

    private func member(_ number: Int) -> EtcdAddress { try! EtcdAddress("http://10.0.0.\(number + 1):2379") }

    /// What is said every 100 ms while members answer as `answers` has it: number, whether it has a leader.
    private func said(
        members: Int = 3, seconds: Double, _ answers: (Double) -> [(member: Int, hasLeader: Bool)]
    ) -> [(time: Double, isReachable: Bool)] {
        var reach = EtcdReach((0..<members).map(member), at: start)
        return (0..<Int(seconds * 10)).map { step in
            let time = Double(step) / 10
            let now = start + .milliseconds(step * 100)
            for answer in answers(time) { reach.note(member(answer.member), hasLeader: answer.hasLeader, at: now) }
            return (time, reach.isReachable(at: now))
        }
    }

    @Test func `who hears only its own member is cut off, also while that one believes in its leader`() throws {
        let all = said(seconds: 6) { time in
            (time < 1 ? [0, 1, 2] : [0]).map { (member: $0, hasLeader: true) }
        }
        let first = try #require(all.first { !$0.isReachable })
        #expect(first.time > 2 && first.time < 2.7)
        #expect(all.filter { $0.time > 2.7 }.allSatisfy { !$0.isReachable })
    }

    @Test func `a lost member, an election of two seconds and a probe that is late are no reason`() {
        #expect(said(seconds: 6) { _ in [(1, true), (2, true)] }.allSatisfy { $0.isReachable })
        let election = said(seconds: 6) { time in (1...2).map { (member: $0, hasLeader: time < 1 || time > 3) } }
        #expect(election.allSatisfy { $0.isReachable })
        let late = said(seconds: 6) { time in time > 2 && time < 3 ? [] : (0...2).map { (member: $0, hasLeader: true) }
        }
        #expect(late.allSatisfy { $0.isReachable })
    }

    @Test func `without a leader for three seconds nobody is sent here, and one that is back is believed at once`() {
        let all = said(seconds: 8) { time in (0...2).map { (member: $0, hasLeader: time < 1 || time > 6) } }
        #expect(all.filter { $0.time > 4 && $0.time < 6 }.allSatisfy { !$0.isReachable })
        #expect(all.filter { $0.time < 3.8 || $0.time > 6.1 }.allSatisfy { $0.isReachable })
        #expect(!said(members: 5, seconds: 3) { _ in [(0, true), (1, true)] }.allSatisfy { $0.isReachable })
        #expect(said(members: 1, seconds: 3) { _ in [(0, true)] }.allSatisfy { $0.isReachable })
    }

    @Test func `what a majority has just done counts more than who answers`() {
        var reach = EtcdReach((0..<3).map(member), at: start)
        reach.noteWork(at: start + .seconds(10))
        #expect(reach.isReachable(at: start + .seconds(11)))
        #expect(!reach.isReachable(at: start + .seconds(12)))
        #expect(reach.isSilent(member(1), at: start + .seconds(2)))
        #expect(!reach.isSilent(member(1), at: start + .seconds(1)))
    }

    @Test func `who is silent is given more time with each connection, ten seconds at most, until it answers`() {
        var reach = EtcdReach((0..<2).map(member), at: start)
        #expect(reach.patience(of: member(0), at: start) == .seconds(2))
        reach.noteSilence(member(0), at: start)
        var now = start + .seconds(2)
        var given: [Duration] = []
        for _ in 0..<6 {
            given.append(reach.patience(of: member(0), at: now))
            now += given[given.count - 1]
            reach.noteSilence(member(0), at: now)
        }
        #expect(given == [1, 2, 4, 8, 10, 10].map { .seconds($0) })
        #expect(reach.patience(of: member(1), at: now) == .seconds(1))
        reach.note(member(0), hasLeader: false, at: now)
        #expect(reach.patience(of: member(0), at: now) == .seconds(2))
        #expect(reach.patience(of: member(0), at: now + .seconds(2)) == .seconds(1))
    }

    @Test func `a connection that is slow is given up at once for another member, and else when it had ten seconds`() {
        var pair = EtcdReach([member(0), member(1)], at: start)
        let later = start + .seconds(2)
        pair.note(member(1), hasLeader: true, at: later)
        #expect(pair.givesUp(member(0), at: later))
        pair.note(member(1), hasLeader: true, isLearner: true, at: later)
        #expect(!pair.givesUp(member(0), at: later), "who learns answers nobody")
        var now = start + .seconds(60)
        #expect(!pair.givesUp(member(0), at: now), "both are silent")
        for _ in 0..<4 {
            #expect(!pair.givesUp(member(0), at: now))
            pair.noteSilence(member(0), at: now)
            now += .seconds(10)
        }
        #expect(pair.givesUp(member(0), at: now))

        var returns: [Bool] = [pair.noteReturn(member(0))]
        pair.noteAbsence(member(0))
        returns += [pair.noteReturn(member(0)), pair.noteReturn(member(0))]
        pair.noteAbsence(member(0))
        pair.note(member(0), hasLeader: true, at: now)
        returns.append(pair.noteReturn(member(0)))
        #expect(returns == [false, true, false, false], "never away, away, back, and has answered since")
    }

    @Test func `who comes counts once it votes, and who goes counts no more`() {
        var reach = EtcdReach([member(0)], at: start)
        func note(_ number: Int, isLearner: Bool = false, _ seconds: Int) {
            reach.note(member(number), hasLeader: true, isLearner: isLearner, at: start + .seconds(seconds))
        }
        func isReachable(_ seconds: Int) -> Bool { reach.isReachable(at: start + .seconds(seconds)) }
        reach.follow([member(0), member(1), member(2)], at: start)
        note(0, 5)
        #expect(isReachable(5), "the others have not been started")
        note(0, 7)
        note(1, isLearner: true, 7)
        #expect(isReachable(7))
        note(0, 10)
        #expect(isReachable(10), "one that learns is not needed")
        for number in 0...2 { note(number, 12) }
        note(0, 15)
        #expect(!isReachable(15), "one of three that vote")
        reach.follow([member(0)], at: start + .seconds(15))
        #expect(isReachable(15))
        note(2, 17)
        #expect(!isReachable(17), "what one says that is none any more counts for nothing")
        var learner = EtcdReach([member(0), member(1)], at: start)
        learner.note(member(0), hasLeader: true, at: start + .seconds(3))
        #expect(!learner.isReachable(at: start + .seconds(3)), "who was named at the start is taken to vote")
        learner.note(member(1), hasLeader: true, isLearner: true, at: start + .seconds(3))
        learner.note(member(0), hasLeader: true, at: start + .seconds(6))
        #expect(learner.isReachable(at: start + .seconds(6)), "until it says that it does not")
    }

    @Test func `two of three members that stand still are noticed within two seconds and a half`() async throws {
        let scene = try await EtcdScene(members: 3)
        let store = try await scene.store()
        #expect(store.isReachable)
        for member in [1, 2] { scene.cluster.pause(member) }
        let began = ContinuousClock.now
        try await waitUntil { !store.isReachable }
        #expect(ContinuousClock.now - began < .milliseconds(2500))
        for member in [1, 2] { scene.cluster.resume(member) }
        try await waitUntil { store.isReachable }
    }
}
