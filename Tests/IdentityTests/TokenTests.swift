import AgentProtocol
import CatalogIdentity
import Identity
import Primitives
import ResourceModel
import Testing

@Suite struct EnrolmentTokenTests {
    private let start = Timestamp(millisecondsSinceEpoch: 1_800_000_000_000)

    @Test func isGoodOnce() async throws {
        let tokens = EnrolmentTokens(store: FakeStore())
        let token = try await tokens.make(for: nodeA, generation: Generation(7), now: start)
        #expect(try await tokens.redeem(token.revealed, by: nodeA, now: start) == Generation(7))
        let replay = await #expect(throws: EnrolmentError.alreadyUsed(at: start)) {
            try await tokens.redeem(token.revealed, by: nodeA, now: start.advanced(by: .seconds(5)))
        }
        #expect(replay?.publicMessage.contains("deploy it again") == true)
    }

    @Test func sameKeyMayAskAgainAndNoOther() async throws {
        let tokens = EnrolmentTokens(store: FakeStore())
        let token = try await tokens.make(for: nodeA, generation: Generation(1), now: start).revealed
        let key = Digest(bytes: [UInt8](repeating: 1, count: 32))
        let thief = Digest(bytes: [UInt8](repeating: 2, count: 32))
        _ = try await tokens.redeem(token, by: nodeA, publicKey: key, now: start)
        #expect(try await tokens.redeem(token, by: nodeA, publicKey: key, now: start) == Generation(1))
        for other in [thief, nil] {
            await #expect(throws: EnrolmentError.alreadyUsed(at: start)) {
                try await tokens.redeem(token, by: nodeA, publicKey: other, now: start)
            }
        }
        let late = start.advanced(by: EnrolmentTokens.lifetime)
        await #expect(throws: EnrolmentError.alreadyUsed(at: start)) {
            try await tokens.redeem(token, by: nodeA, publicKey: key, now: late)
        }
    }

    @Test func endsAfterAnHour() async throws {
        let tokens = EnrolmentTokens(store: FakeStore())
        let token = try await tokens.make(for: nodeA, generation: Generation(1), now: start).revealed
        let end = start.advanced(by: .seconds(3600))
        await #expect(throws: EnrolmentError.expired(at: end)) { try await tokens.redeem(token, by: nodeA, now: end) }
        _ = try await tokens.redeem(token, by: nodeA, now: end.advanced(by: .milliseconds(-1)))
    }

    @Test func isBoundToItsNode() async throws {
        let tokens = EnrolmentTokens(store: FakeStore())
        let token = try await tokens.make(for: nodeA, generation: Generation(1), now: start).revealed
        await #expect(throws: EnrolmentError.wrongNode) { try await tokens.redeem(token, by: nodeB, now: start) }
        let forged = nodeB.raw + token.dropFirst(nodeB.raw.count)
        await #expect(throws: EnrolmentError.unknown) { try await tokens.redeem(forged, by: nodeB, now: start) }
        _ = try await tokens.redeem(token, by: nodeA, now: start)
    }

    @Test(arguments: [
        "", ".", "x", "0a000000-0000-4000-8000-000000000001.", "0a000000-0000-4000-8000-000000000001.00",
        "../../etc.passwd", "\u{0}.\n", String(repeating: "a", count: 100_000),
    ])
    func unknownTextsAreUnknown(text: String) async throws {
        let tokens = EnrolmentTokens(store: FakeStore())
        _ = try await tokens.make(for: nodeA, generation: Generation(1), now: start)
        await #expect(throws: EnrolmentError.unknown) { try await tokens.redeem(text, by: nodeA, now: start) }
    }

    @Test func newTokenReplacesTheOld() async throws {
        let tokens = EnrolmentTokens(store: FakeStore())
        let old = try await tokens.make(for: nodeA, generation: Generation(1), now: start).revealed
        let new = try await tokens.make(for: nodeA, generation: Generation(2), now: start).revealed
        await #expect(throws: EnrolmentError.unknown) { try await tokens.redeem(old, by: nodeA, now: start) }
        #expect(try await tokens.redeem(new, by: nodeA, now: start) == Generation(2))
        let third = try await tokens.make(for: nodeA, generation: Generation(3), now: start).revealed
        try await tokens.revoke(nodeA)
        await #expect(throws: EnrolmentError.unknown) { try await tokens.redeem(third, by: nodeA, now: start) }
    }

    @Test func oneOfFiftyAtOnceSucceeds() async throws {
        let start = start
        let tokens = EnrolmentTokens(store: FakeStore())
        let token = try await tokens.make(for: nodeA, generation: Generation(1), now: start).revealed
        let (good, used) = await withTaskGroup(of: Bool?.self) { group in
            for index in 0..<50 {
                group.addTask {
                    let key = Digest(bytes: [UInt8](repeating: UInt8(index), count: 32))
                    do throws(EnrolmentError) {
                        _ = try await tokens.redeem(token, by: nodeA, publicKey: key, now: start)
                        return true
                    } catch {
                        return error == .alreadyUsed(at: start) ? false : nil
                    }
                }
            }
            var counts = (0, 0)
            for await result in group {
                if result == true { counts.0 += 1 }
                if result == false { counts.1 += 1 }
            }
            return counts
        }
        #expect(good == 1)
        #expect(used == 49)
    }

    @Test func failedStoreDoesNotUseItUp() async throws {
        let store = FakeStore()
        let tokens = EnrolmentTokens(store: store)
        let token = try await tokens.make(for: nodeA, generation: Generation(1), now: start).revealed
        await store.fail(with: .unavailable("gone"))
        await #expect(throws: EnrolmentError.store(.unavailable("gone"))) {
            try await tokens.redeem(token, by: nodeA, now: start)
        }
        await store.fail(with: nil)
        _ = try await tokens.redeem(token, by: nodeA, now: start)
    }

    @Test func onlyTheDigestIsStored() async throws {
        let store = FakeStore()
        let token = try await EnrolmentTokens(store: store).make(for: nodeA, generation: Generation(1), now: start)
        let secret = try #require(token.revealed.split(separator: ".").last)
        #expect(secret.count == 64)
        let document = try #require(try await store.get(EnrolmentToken.key(nodeA.raw)))
        #expect(!String(decoding: document.value, as: UTF8.self).contains(secret))
        #expect(!shown(token).contains(secret))
    }
}

@Suite struct OperatorTokenTests {
    @Test func firstStartMakesAFileThatWorks() async throws {
        try await withDirectory { directory in
            let path = "\(directory)/operator.token"
            let store = FakeStore()
            let tokens = OperatorTokens(store: store)
            try await tokens.load()
            try await tokens.ensureFirstOperator(file: path)
            #expect(mode(of: path) == 0o600)
            let text = String(decoding: try #require(try PrivateFile.read(path)), as: UTF8.self)
            let token = String(text.dropLast())
            #expect(tokens.verify(token) == KnownOperator(name: "admin", role: .admin))
            #expect(tokens.verify(text) == nil)
            #expect(tokens.verify("") == nil)
            #expect(tokens.verify(String(token.dropLast())) == nil)
            #expect(tokens.verify(String(repeating: "a", count: 1_000_000)) == nil)
            let document = try #require(try await store.get(OperatorToken.key("admin")))
            #expect(!String(decoding: document.value, as: UTF8.self).contains(token))

            let restarted = OperatorTokens(store: store)
            try await restarted.load()
            let revision = try await store.currentRevision()
            try await restarted.ensureFirstOperator(file: path)
            #expect(try await store.currentRevision() == revision)
            #expect(restarted.verify(token) == KnownOperator(name: "admin", role: .admin))
        }
    }

    @Test func deletedFileGivesANewToken() async throws {
        try await withDirectory { directory in
            let store = FakeStore()
            let tokens = OperatorTokens(store: store)
            try await tokens.ensureFirstOperator(file: "\(directory)/one")
            try await tokens.ensureFirstOperator(file: "\(directory)/two")
            let old = String(decoding: try #require(try PrivateFile.read("\(directory)/one")).dropLast(), as: UTF8.self)
            let new = String(decoding: try #require(try PrivateFile.read("\(directory)/two")).dropLast(), as: UTF8.self)
            #expect(tokens.verify(old) == nil)
            #expect(tokens.verify(new) != nil)
        }
    }

    @Test func damagedFileIsRefused() async throws {
        try await withDirectory { directory in
            try PrivateFile.create("\(directory)/t", Array("short\n".utf8))
            await #expect(throws: OperatorTokenError.self) {
                try await OperatorTokens(store: FakeStore()).ensureFirstOperator(file: "\(directory)/t")
            }
        }
    }

    @Test func endAndRevocationCountAtOnce() async throws {
        let clock = ManualWallClock()
        let store = FakeStore()
        let tokens = OperatorTokens(store: store, clock: clock)
        let reader = try await tokens.make(
            name: "grafana", role: .reader, expires: clock.now.advanced(by: .seconds(60)))
        let member = try await tokens.make(name: "night-shift", role: .member)
        #expect(tokens.verify(reader.revealed) == KnownOperator(name: "grafana", role: .reader))
        clock.advance(by: .seconds(60))
        #expect(tokens.verify(reader.revealed) == nil)
        try await tokens.revoke("night-shift")
        #expect(tokens.verify(member.revealed) == nil)
        let again = try await tokens.make(name: "night-shift", role: .member)
        #expect(tokens.verify(again.revealed) != nil)
        #expect(tokens.verify(member.revealed) == nil)
        await #expect(throws: OperatorTokenError.exists("night-shift")) {
            try await tokens.make(name: "night-shift", role: .admin)
        }
        await #expect(throws: OperatorTokenError.unknown("nobody")) { try await tokens.revoke("nobody") }
        await #expect(throws: OperatorTokenError.self) { try await tokens.make(name: "a\nb", role: .reader) }
    }

    @Test func anotherTokenReplacesTheOneBeforeAtOnceOrAfterAWhile() async throws {
        let clock = ManualWallClock()
        let store = FakeStore()
        let tokens = OperatorTokens(store: store, clock: clock)
        let end = clock.now.advanced(by: .seconds(86_400))
        let first = try await tokens.make(name: "night-shift", role: .member, expires: end).revealed
        let second = try await tokens.rotate("night-shift").revealed
        #expect(tokens.verify(first) == nil && second != first)
        #expect(tokens.verify(second) == KnownOperator(name: "night-shift", role: .member))
        let third = try await tokens.rotate("night-shift", grace: .seconds(60)).revealed
        #expect(tokens.verify(second) != nil && tokens.verify(third) != nil)
        clock.advance(by: .seconds(59))
        #expect(tokens.verify(second) != nil)
        clock.advance(by: .seconds(1))
        #expect(tokens.verify(second) == nil && tokens.verify(third) != nil)
        // Only the one before is taken for a while, never the one before that.
        let fourth = try await tokens.rotate("night-shift", grace: .seconds(600)).revealed
        let fifth = try await tokens.rotate("night-shift", grace: .seconds(600)).revealed
        #expect(tokens.verify(third) == nil && tokens.verify(fourth) != nil && tokens.verify(fifth) != nil)
        let document = try #require(try await store.get(OperatorToken.key("night-shift")))
        for token in [first, second, third, fourth, fifth] {
            #expect(!String(decoding: document.value, as: UTF8.self).contains(token))
        }
        // It has the end of the first, also while another is taken too.
        clock.advance(by: .seconds(86_400))
        #expect(tokens.verify(fifth) == nil && tokens.verify(fourth) == nil)
        await #expect(throws: OperatorTokenError.void("night-shift")) { try await tokens.rotate("night-shift") }
    }

    @Test func aRevokedTokenTakesTheOneBeforeWithIt() async throws {
        let tokens = OperatorTokens(store: FakeStore(), clock: ManualWallClock())
        let first = try await tokens.make(name: "bob", role: .admin).revealed
        let second = try await tokens.rotate("bob", grace: OperatorTokens.graceMax).revealed
        try await tokens.revoke("bob")
        #expect(tokens.verify(first) == nil && tokens.verify(second) == nil)
        await #expect(throws: OperatorTokenError.void("bob")) { try await tokens.rotate("bob") }
        await #expect(throws: OperatorTokenError.unknown("eve")) { try await tokens.rotate("eve") }
        for grace in [Duration.seconds(-1), OperatorTokens.graceMax + .seconds(1)] {
            await #expect(throws: OperatorTokenError.self) { try await tokens.rotate("bob", grace: grace) }
        }
    }

    @Test func aTokenThatWasReplacedOrRevokedDoesNotComeBackByTheFile() async throws {
        try await withDirectory { directory in
            let path = "\(directory)/operator.token"
            let store = FakeStore()
            let tokens = OperatorTokens(store: store)
            #expect(try await tokens.ensureFirstOperator(file: path))
            let old = String(decoding: try #require(try PrivateFile.read(path)).dropLast(), as: UTF8.self)
            let new = try await tokens.rotate("admin").revealed
            let restarted = OperatorTokens(store: store)
            try await restarted.load()
            #expect(try await restarted.ensureFirstOperator(file: path) == false)
            #expect(restarted.verify(old) == nil && restarted.verify(new) != nil)
            // Whoever puts the new one into the file has it there.
            try PrivateFile.create("\(directory)/new", Array((new + "\n").utf8))
            #expect(try await restarted.ensureFirstOperator(file: "\(directory)/new"))
            let newest = try await restarted.rotate("admin").revealed
            #expect(try await restarted.ensureFirstOperator(file: "\(directory)/new") == false)
            #expect(restarted.verify(new) == nil && restarted.verify(newest) != nil)
            // A deleted file gives another one, also after a revocation.
            try await restarted.revoke("admin")
            #expect(try await restarted.ensureFirstOperator(file: "\(directory)/another"))
            #expect(restarted.verify(newest) == nil)
            try await restarted.revoke("admin")
            #expect(try await restarted.ensureFirstOperator(file: "\(directory)/another") == false)
        }
    }

    @Test func changesOfAnotherConductorAreTakenOver() async throws {
        let store = FakeStore()
        let here = OperatorTokens(store: store)
        let there = OperatorTokens(store: store)
        try await here.load()
        let token = try await there.make(name: "bob", role: .member)
        #expect(here.verify(token.revealed) == nil)
        let document = try #require(try await store.get(OperatorToken.key("bob")))
        try here.apply(WatchBatch(revision: document.revision, changes: [.put(document)]))
        #expect(here.verify(token.revealed) != nil)
        try await there.revoke("bob")
        try here.apply(WatchBatch(revision: Revision(9), changes: [.deleted(OperatorToken.key("bob"))]))
        #expect(here.verify(token.revealed) == nil)
    }
}
