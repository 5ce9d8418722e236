import CatalogBareMetal
import Primitives

/// The change of a BMC's password as a pure step: what to do next, given how far it is and what the BMC has answered.
///
/// The next password is in the vault before the BMC is told of it, and the one before leaves the vault after a login
/// with the next one. Whenever a conductor ends between two steps, the one that comes after it asks the BMC which of the
/// two it takes, and finishes or takes back.
enum PasswordRotation {
    /// How often a BMC is told of one password before that is given up.
    static let triesMax = 3

    /// What to do next.
    enum Step: Hashable {
        /// Nothing.
        case rest
        /// Log in with this one.
        case probe(PasswordSlot)
        /// Make the next one, or take the site file's as it, and put it into the vault.
        case prepare
        /// Note that the BMC is told once more.
        case retry
        /// Tell the BMC, logged in with the current one.
        case tell
        /// This one is the current one from now on.
        case adopt(PasswordSlot)
        /// Forget the next one: the BMC takes the current one. The order is over.
        case takeBack(Reason)
        /// The order is over, and nothing has changed.
        case fail(Reason)
        /// The BMC takes none of them now; ask again later.
        case wait(Reason)
    }

    /// Why it did not go well.
    enum Reason: Hashable {
        /// The BMC would not, and said this.
        case refused(String)
        /// It said that it has the new one, and takes only the one before.
        case notKept
        /// It was told `triesMax` times and never answered.
        case neverAnswered
        /// It takes neither the current one nor the site file's.
        case locked
        /// It takes none of those that it may have.
        case noneTaken
        /// The site file's password is not in the vault.
        case nothingGiven
    }

    /// What the BMC said to the order to change it.
    enum Told: Hashable {
        /// It has it.
        case done
        /// It will not, and why.
        case refused(String)
    }

    /// What was found out since the conductor began to look.
    struct Findings: Hashable {
        /// Whether a login with each was taken; those that were not tried are missing.
        var isTaken: [PasswordSlot: Bool] = [:]
        /// What it said; nil: it was not told.
        var told: Told?
        /// Which are in the vault.
        var held: Set<PasswordSlot> = [.current]
    }

    /// The next step for a BMC with this status and this newest order.
    static func next(_ status: BMC.PasswordStatus, order: BMC.PasswordOrder?, _ found: Findings) -> Step {
        switch (status.state, found.told) {
        case (.settled, _):
            guard let order, order.number > status.orderSeen ?? 0 else { return .rest }
            return order.source == .site ? takeOver(found) : begin(found)
        case (.pending(_, _, let tries), nil): return resume(found, tries: tries)
        case (.pending, .done):
            return confirm(found, first: .next, otherwise: .takeBack(.notKept))
        case (.pending, .refused(let message)):
            return confirm(found, first: .current, otherwise: .takeBack(.refused(message)))
        }
    }

    /// What the status is once `step` is done at `now`, for the BMC `name`; steps that only look leave it as it is.
    static func after(
        _ step: Step, _ status: BMC.PasswordStatus, order: BMC.PasswordOrder?, name: String, at now: Timestamp
    ) -> BMC.PasswordStatus {
        var next = status
        let open: BMC.PasswordOrder? = if case .pending(let pending, _, _) = status.state { pending } else { order }
        func end(_ failure: String?) {
            (next.state, next.orderSeen, next.failure) = (.settled, open?.number ?? status.orderSeen, failure)
        }
        switch step {
        case .rest, .probe, .tell: break
        case .prepare:
            if let order { next.state = .pending(order, since: now, tries: 1) }
            next.failure = nil
        case .retry:
            if case .pending(let order, let since, let tries) = status.state {
                next.state = .pending(order, since: since, tries: tries + 1)
            }
        case .adopt(.given):
            next.source = .site
            // An order for another one goes on from here.
            if open?.source == .site { end(nil) }
        case .adopt:
            guard case .pending(let order, _, _) = status.state else {
                next.source = .conductor
                break
            }
            (next.source, next.rotated) = (order.source, now)
            end(nil)
        case .takeBack(let reason), .fail(let reason): end(reason.text(of: name))
        case .wait(let reason): next.failure = reason.text(of: name)
        }
        return next
    }

    /// What is written into a slot of the vault.
    enum Writing: Hashable {
        /// The password that was just made or chosen.
        case new
        /// What stands in this slot now.
        case copy(PasswordSlot)
        /// Nothing: the slot is emptied.
        case nothing
    }

    /// What becomes of the passwords in the vault by `step`; `held` are there, and `isGivenNext` says whether the site
    /// file's is the next one.
    static func writings(
        _ step: Step, _ status: BMC.PasswordStatus, held: Set<PasswordSlot>, isGivenNext: Bool
    ) -> [PasswordSlot: Writing] {
        switch step {
        case .rest, .probe, .retry, .tell, .fail, .wait: return [:]
        case .prepare: return [.next: .new]
        case .takeBack: return [.next: .nothing]
        case .adopt(.given): return [.current: .copy(.given), .given: .nothing]
        case .adopt:
            var writings: [PasswordSlot: Writing] = [.current: .copy(.next), .next: .nothing]
            guard case .pending(let order, _, _) = status.state else { return writings }
            switch order.source {
            // The file may have changed again meanwhile.
            case .site: if isGivenNext { writings[.given] = .nothing }
            // What the site file says is no news when it is applied again.
            case .conductor: if !held.contains(.given) { writings[.given] = .copy(.current) }
            }
            return writings
        }
    }

    /// The first steps to a password that the conductor makes: nothing is changed at a BMC that lets nobody in.
    private static func begin(_ found: Findings) -> Step {
        guard let current = found.isTaken[.current] else { return .probe(.current) }
        if current { return .prepare }
        // It may have left the site in the middle of a change, or been replaced, or reset to what the site file says.
        for slot in [PasswordSlot.next, .given] where found.held.contains(slot) {
            guard let isTaken = found.isTaken[slot] else { return .probe(slot) }
            if isTaken { return .adopt(slot) }
        }
        return .fail(.locked)
    }

    /// The first steps to a password that the site file gives: whoever changed the file may have changed the BMC.
    private static func takeOver(_ found: Findings) -> Step {
        guard found.held.contains(.given) else { return .fail(.nothingGiven) }
        guard let given = found.isTaken[.given] else { return .probe(.given) }
        if given { return .adopt(.given) }
        guard let current = found.isTaken[.current] else { return .probe(.current) }
        return current ? .prepare : .wait(.noneTaken)
    }

    /// The BMC may have been told of the next one, or not.
    private static func resume(_ found: Findings, tries: Int) -> Step {
        switch (found.isTaken[.next], found.isTaken[.current]) {
        case (true, _): .adopt(.next)
        case (nil, true): .tell
        case (nil, _): .probe(.next)
        case (false, nil): .probe(.current)
        case (false, true): tries < triesMax ? .retry : .takeBack(.neverAnswered)
        case (false, false): .wait(.noneTaken)
        }
    }

    /// The BMC has answered; which of the two does it take?
    private static func confirm(_ found: Findings, first: PasswordSlot, otherwise: Step) -> Step {
        if found.isTaken[.next] == true { return .adopt(.next) }
        if found.isTaken[.current] == true { return otherwise }
        let second: PasswordSlot = first == .next ? .current : .next
        for slot in [first, second] where found.isTaken[slot] == nil { return .probe(slot) }
        return .wait(.noneTaken)
    }
}

extension PasswordRotation.Reason {
    /// What is the matter with the password of the BMC `name`, and what to do.
    func text(of name: String) -> String {
        switch self {
        case .refused(let message):
            "The password of '\(name)' was not changed, and the one before is good: \(message)"
        case .notKept:
            "The password of '\(name)' was not changed: the BMC said that it has the new one, but takes only the one "
                + "before. Look at its log and its rules for passwords, then: muster bmc rotate-password \(name)"
        case .neverAnswered:
            "The password of '\(name)' was not changed: the BMC was told \(PasswordRotation.triesMax) times and never "
                + "answered. Restart the BMC, then: muster bmc rotate-password \(name)"
        case .locked:
            "The password of '\(name)' was not changed: the BMC takes the one in use no more, nor the site file's. Set a "
                + "password at the BMC itself, name it in the site file and apply that."
        case .noneTaken:
            "The BMC '\(name)' takes none of the passwords that it may have; its user may be locked for a while. It is "
                + "asked again every 15 minutes. If this stays so, set one at the BMC itself, name it in the site file "
                + "and apply that."
        case .nothingGiven:
            "The password of '\(name)' was not changed: the site file's is not in the vault. Apply the site file again."
        }
    }
}
