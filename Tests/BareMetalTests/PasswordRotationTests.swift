import CatalogBareMetal
import Primitives
import TestSupport
import Testing

@testable import BareMetal

@Suite struct PasswordRotationTests {
    private typealias Step = PasswordRotation.Step
    private typealias Findings = PasswordRotation.Findings

    private static let now = ManualWallClock().now

    private static func order(
        _ number: UInt64 = 1, _ source: BMC.PasswordSource = .conductor
    ) -> BMC.PasswordOrder { BMC.PasswordOrder(number: number, source: source, by: "operator:ann", at: now) }

    private static func status(
        pending tries: Int? = nil, _ source: BMC.PasswordSource = .conductor, seen: UInt64? = nil
    ) -> BMC.PasswordStatus {
        var status = BMC.PasswordStatus()
        status.orderSeen = seen
        if let tries { status.state = .pending(order(1, source), since: now, tries: tries) }
        return status
    }

    private static func found(
        _ isTaken: [PasswordSlot: Bool] = [:], told: PasswordRotation.Told? = nil, held: Set<PasswordSlot> = [.current]
    ) -> Findings { Findings(isTaken: isTaken, told: told, held: held) }

    /// Every transition: what it is and what was found, and what follows.
    private static let table: [(BMC.PasswordStatus, BMC.PasswordOrder?, Findings, Step)] = [
        // Nothing is asked for.
        (status(), nil, found(), .rest),
        (status(seen: 1), order(1), found(), .rest),
        // The conductor makes one.
        (status(), order(), found(), .probe(.current)),
        (status(seen: 1), order(2), found(), .probe(.current)),
        (status(), order(), found([.current: true]), .prepare),
        (status(), order(), found([.current: false]), .fail(.locked)),
        (status(), order(), found([.current: false], held: [.current, .given]), .probe(.given)),
        (status(), order(), found([.current: false, .given: true], held: [.current, .given]), .adopt(.given)),
        (status(), order(), found([.current: false, .given: false], held: [.current, .given]), .fail(.locked)),
        (status(), order(), found([.current: false], held: [.current, .next]), .probe(.next)),
        (status(), order(), found([.current: false, .next: true], held: [.current, .next]), .adopt(.next)),
        (status(), order(), found([.current: false, .next: false], held: Set(PasswordSlot.allCases)), .probe(.given)),
        // The site file gives one.
        (status(), order(1, .site), found(), .fail(.nothingGiven)),
        (status(), order(1, .site), found(held: [.current, .given]), .probe(.given)),
        (status(), order(1, .site), found([.given: true], held: [.current, .given]), .adopt(.given)),
        (status(), order(1, .site), found([.given: false], held: [.current, .given]), .probe(.current)),
        (status(), order(1, .site), found([.given: false, .current: true], held: [.current, .given]), .prepare),
        (
            status(), order(1, .site), found([.given: false, .current: false], held: [.current, .given]),
            .wait(.noneTaken)
        ),
        // It was just prepared, or a conductor has ended and nobody knows.
        (status(pending: 1), order(), found([.current: true]), .tell),
        (status(pending: 1), order(), found(), .probe(.next)),
        (status(pending: 1), order(2), found(), .probe(.next)),
        (status(pending: 1), order(), found([.next: true]), .adopt(.next)),
        (status(pending: 1), order(), found([.next: false]), .probe(.current)),
        (status(pending: 1), order(), found([.next: false, .current: true]), .retry),
        (status(pending: 2), order(), found([.next: false, .current: true]), .retry),
        (status(pending: 3), order(), found([.next: false, .current: true]), .takeBack(.neverAnswered)),
        (status(pending: 1), order(), found([.next: false, .current: false]), .wait(.noneTaken)),
        // It said that it has it.
        (status(pending: 1), order(), found(told: .done), .probe(.next)),
        (status(pending: 1), order(), found([.next: true], told: .done), .adopt(.next)),
        (status(pending: 1), order(), found([.next: false], told: .done), .probe(.current)),
        (status(pending: 1), order(), found([.next: false, .current: true], told: .done), .takeBack(.notKept)),
        (status(pending: 1), order(), found([.next: false, .current: false], told: .done), .wait(.noneTaken)),
        // It said that it will not, which need not be true.
        (status(pending: 1), order(), found(told: .refused("x")), .probe(.current)),
        (status(pending: 1), order(), found([.current: true], told: .refused("x")), .takeBack(.refused("x"))),
        (status(pending: 1), order(), found([.current: false], told: .refused("x")), .probe(.next)),
        (status(pending: 1), order(), found([.current: false, .next: true], told: .refused("x")), .adopt(.next)),
        (
            status(pending: 1), order(), found([.current: false, .next: false], told: .refused("x")),
            .wait(.noneTaken)
        ),
    ]

    @Test func `every transition`() {
        for (status, order, found, expected) in Self.table {
            let step = PasswordRotation.next(status, order: order, found)
            #expect(step == expected, "\(status.state) \(order?.source.rawValue ?? "-") \(found)")
        }
    }

    @Test func `what a step leaves behind`() {
        func after(_ step: Step, _ status: BMC.PasswordStatus, _ order: BMC.PasswordOrder) -> BMC.PasswordStatus {
            PasswordRotation.after(step, status, order: order, name: "r1", at: Self.now)
        }
        let order = Self.order()
        let prepared = after(.prepare, Self.status(), order)
        #expect(prepared.state == .pending(order, since: Self.now, tries: 1) && prepared.orderSeen == nil)
        #expect(after(.retry, prepared, order).state == .pending(order, since: Self.now, tries: 2))
        // A newer order does not take the place of the one that is under way.
        let done = after(.adopt(.next), prepared, Self.order(2))
        #expect(done.state == .settled && done.orderSeen == 1 && done.rotated == Self.now && done.failure == nil)
        #expect(done.source == .conductor)
        let back = after(.takeBack(.refused("too weak")), prepared, order)
        #expect(back.state == .settled && back.orderSeen == 1 && back.rotated == nil && back.source == .site)
        #expect(back.failure == "The password of 'r1' was not changed, and the one before is good: too weak")
        let waiting = after(.wait(.noneTaken), prepared, order)
        #expect(waiting.state == prepared.state && waiting.failure?.contains("every 15 minutes") == true)
        // A reset BMC takes the site file's: that is noted, and the order goes on.
        let reset = after(.adopt(.given), done, Self.order(2))
        #expect(reset.source == .site && reset.orderSeen == 1)
        let own = after(.adopt(.given), done, Self.order(2, .site))
        #expect(own.source == .site && own.orderSeen == 2)
        for step in [Step.rest, .probe(.next), .tell] { #expect(after(step, prepared, order) == prepared) }
        for reason: PasswordRotation.Reason in [.notKept, .neverAnswered, .locked, .noneTaken, .nothingGiven] {
            #expect(reason.text(of: "r1").contains("'r1'"))
        }
    }

    // MARK: All ways that it can go

    /// A BMC, the vault beside it, and what has happened.
    private struct Bed: Hashable {
        /// The password that the BMC takes, and those in the vault, by a number each.
        var taken = 0
        var vault: [PasswordSlot: Int] = [.current: 0]
        var status = BMC.PasswordStatus()
        var wrongLoginCount = 0
        var crashCount = 0
    }

    /// How a BMC answers the order to change its password.
    private enum Manner: CaseIterable {
        case does, pretends, refuses, refusesButDoes, isSilentAndDoes, isSilent
    }

    /// Follows every way from `bed` on: each order to the BMC in every manner, and a crash before and after each step, as
    /// long as there are any left. Gives the beds at the end.
    private func walk(_ bed: Bed, _ order: BMC.PasswordOrder, crashes: Int) -> Set<Bed> {
        var ends: Set<Bed> = []
        var seen: Set<String> = []
        var waiting = [(bed, Findings())]
        while let (bed, found) = waiting.popLast() {
            guard seen.insert("\(bed)\(found)").inserted else { continue }
            var found = found
            found.held = Set(bed.vault.keys)
            #expect(bed.vault.values.contains(bed.taken), "what the BMC takes is in the vault")
            if bed.crashCount < crashes, found.isTaken.isEmpty == false || found.told != nil {
                var crashed = bed
                crashed.crashCount += 1
                waiting.append((crashed, Findings()))
            }
            let step = PasswordRotation.next(bed.status, order: order, found)
            switch step {
            case .rest:
                #expect(bed.vault[.current] == bed.taken && bed.vault[.next] == nil)
                ends.insert(bed)
            case .wait: Issue.record("the BMC takes one of them: \(bed)")
            case .probe(let slot):
                var next = bed
                found.isTaken[slot] = bed.vault[slot] == bed.taken
                if found.isTaken[slot] == false { next.wrongLoginCount += 1 }
                waiting.append((next, found))
            case .tell:
                #expect(bed.vault[.current] == bed.taken, "the BMC is told by whom it lets in")
                waiting += Manner.allCases.compactMap { tell(bed, $0, crashes: crashes) }
            case .prepare, .retry, .adopt, .takeBack, .fail:
                let next = carriedOut(step, bed, order)
                if step == .prepare || step == .adopt(.given) { found.isTaken = [.current: true] }
                if step == .retry { found.isTaken[.next] = nil }
                if step == .adopt(.next) { found = Findings(isTaken: [.current: true]) }
                waiting.append((next, found))
            }
        }
        return ends
    }

    private func tell(_ bed: Bed, _ manner: Manner, crashes: Int) -> (Bed, Findings)? {
        var bed = bed
        if [.does, .refusesButDoes, .isSilentAndDoes].contains(manner) { bed.taken = bed.vault[.next] ?? -1 }
        switch manner {
        case .does, .pretends: return (bed, Findings(told: .done))
        case .refuses, .refusesButDoes: return (bed, Findings(told: .refused("no")))
        // The look ends there, and the next one knows nothing.
        case .isSilentAndDoes, .isSilent: return (bed, Findings())
        }
    }

    private func carriedOut(_ step: Step, _ bed: Bed, _ order: BMC.PasswordOrder) -> Bed {
        var bed = bed
        let writings = PasswordRotation.writings(
            step, bed.status, held: Set(bed.vault.keys), isGivenNext: bed.vault[.given] == bed.vault[.next])
        let before = bed.vault
        for (slot, writing) in writings {
            switch writing {
            case .new: bed.vault[slot] = order.source == .site ? before[.given] : 9
            case .copy(let other): bed.vault[slot] = before[other]
            case .nothing: bed.vault[slot] = nil
            }
        }
        bed.status = PasswordRotation.after(step, bed.status, order: order, name: "r1", at: Self.now)
        return bed
    }

    @Test func `whatever the BMC answers and wherever a conductor ends, the vault has what the BMC takes`() {
        var (changedCount, keptCount) = (0, 0)
        for bed in walk(Bed(), Self.order(), crashes: 3) {
            #expect(bed.status.orderSeen == 1)
            if bed.taken == 9 {
                #expect(bed.vault == [.current: 9, .given: 0] && bed.status.failure == nil)
                changedCount += 1
            } else {
                #expect(bed.vault == [.current: 0] && bed.status.failure != nil)
                keptCount += 1
            }
            // One that asks, and for each time that nobody knew two more.
            #expect(bed.wrongLoginCount <= 2 + 2 * (bed.crashCount + PasswordRotation.triesMax))
        }
        #expect(changedCount > 3 && keptCount > 3)
    }

    @Test func `a site file that is changed wins, whether the BMC has its password or has to be given it`() {
        for taken in [0, 5] {
            var bed = Bed(taken: taken, vault: [.current: 0, .given: 5])
            bed.status.source = .conductor
            let ends = walk(bed, Self.order(1, .site), crashes: 2)
            #expect(ends.contains { $0.taken == 5 && $0.vault == [.current: 5] && $0.status.source == .site })
            for end in ends where end.taken == 0 {
                // It would not have it: what it takes stays, and what the file says is kept as no news.
                #expect(end.vault == [.current: 0, .given: 5] && end.status.failure != nil)
                #expect(taken == 0)
            }
        }
    }

    @Test func `a BMC that was reset to the site file's password is found again by an order`() {
        var bed = Bed(taken: 5, vault: [.current: 0, .given: 5])
        bed.status.source = .conductor
        let ends = walk(bed, Self.order(), crashes: 1)
        #expect(ends.contains { $0.taken == 9 && $0.vault == [.current: 9, .given: 5] })
        #expect(ends.allSatisfy { $0.vault[.current] == $0.taken })
    }

    // MARK: Passwords

    @Test func `passwords are long, of all kinds, and none is like another`() throws {
        var random = RandomSource.seeded(7)
        for length in [12, 16, 20, 64] {
            var seen: Set<String> = []
            for _ in 0..<300 {
                let password = StrongPassword.make(length: length, using: &random)
                let text = password.revealed
                #expect(text.utf8.count == length && seen.insert(text).inserted && PasswordRule.canBeSent(password))
                #expect(text.first?.isLetter == true)
                #expect(text.contains { $0.isLowercase } && text.contains { $0.isUppercase })
                #expect(text.contains { $0.isNumber } && text.contains { "-_.".contains($0) })
            }
            let letters = Set(seen.flatMap { $0.dropFirst() })
            #expect(letters.count == 60, "each is drawn from the whole alphabet")
        }
        var again = RandomSource.seeded(7)
        var other = RandomSource.seeded(7)
        #expect(
            StrongPassword.make(length: 20, using: &again) == StrongPassword.make(length: 20, using: &other))
    }

    @Test func `a BMC's rule is kept as far as it is good`() throws {
        #expect(try PasswordRule().length() == 20)
        #expect(try PasswordRule(lengthMin: 8, lengthMax: 16).length() == 16)
        #expect(try PasswordRule(lengthMin: 24).length() == 24)
        #expect(try PasswordRule(lengthMin: 8, lengthMax: 0).length() == 20, "0 is no limit")
        #expect(try PasswordRule(lengthMin: -4, lengthMax: -9).length() == 20)
        #expect(try PasswordRule(lengthMax: 40).atMost(16).length() == 16)
        for rule in [
            PasswordRule(lengthMax: 8), PasswordRule(lengthMin: 65), PasswordRule(lengthMin: .max),
            PasswordRule(lengthMin: 18, lengthMax: 14),
        ] {
            #expect(throws: BMCError.self) { try rule.length() }
        }
    }

    @Test(arguments: [
        "", " ", "with space", "tab\there", "new\nline", "nul\0", "über-alles-1A", "\u{202E}abcdefghij", "\u{7F}",
        String(repeating: "x", count: 65), String(repeating: "x", count: 100_000),
    ])
    func `what one BMC or another would keep differently is never sent`(text: String) {
        #expect(!PasswordRule.canBeSent(SecretText(text)))
    }

    @Test func `names of secrets are those of their BMCs and no others`() {
        for slot in PasswordSlot.allCases {
            for name in ["r1", "r1.next", "bmc"] {
                let parsed = PasswordSlot.parse(slot.secretName(of: name))
                #expect(parsed?.slot == slot && parsed?.bmc == name)
            }
        }
        for name in ["media", "rescue.x", "bmc", "bmcs.r1", "authority-1"] { #expect(PasswordSlot.parse(name) == nil) }
    }
}
