import CatalogBareMetal
import Logging
import Primitives
import ResourceModel

/// Where BMCs' passwords are kept, sealed; see `PasswordSlot`.
public protocol PasswordBook: Sendable {
    /// The password in a slot; nil: it is empty.
    func password(_ slot: PasswordSlot, of bmc: String) async throws -> SecretText?

    /// What writes `password` into a slot in a transaction of the caller's, or empties it (nil); it fails when the slot
    /// was changed since.
    func writing(_ password: SecretText?, into slot: PasswordSlot, of bmc: String) async throws -> Transaction
}

/// Carries out orders to change BMCs' passwords, step by step as `PasswordRotation` says, and ends what a conductor
/// before this one has begun.
public struct PasswordRotator: Sendable {
    private let store: any ResourceStore
    private let book: any PasswordBook
    private let driver: @Sendable (BMC, SecretText) throws -> any BMCDriver
    private let bmcs: @Sendable () -> [BMC]
    private let record: @Sendable (BMC, Outcome) throws -> [Transaction.Operation]
    private let turns: BMCTurns
    private let clock: any WallClock
    private let random: RandomSource
    private let logger: Logger

    /// How an order has ended.
    public struct Outcome: Sendable, Hashable {
        /// The order.
        public var order: BMC.PasswordOrder
        /// Why it was given up; nil: it was done.
        public var failure: String?
    }

    /// The most steps of one look at a BMC: each password is tried once before and once after it was told.
    private static let stepCountMax = 16

    /// A rotator of all `bmcs`.
    /// - Parameters:
    ///   - driver: opens a BMC with a password that may not be the one in use.
    ///   - record: the operations that tell how an order has ended, in the transaction that ends it.
    public init(
        store: any ResourceStore, book: any PasswordBook, bmcs: @escaping @Sendable () -> [BMC],
        driver: @escaping @Sendable (BMC, SecretText) throws -> any BMCDriver,
        record: @escaping @Sendable (BMC, Outcome) throws -> [Transaction.Operation], turns: BMCTurns,
        clock: any WallClock, random: RandomSource = .system, logger: Logger
    ) {
        self.store = store
        self.book = book
        self.bmcs = bmcs
        self.driver = driver
        self.record = record
        self.turns = turns
        self.clock = clock
        self.random = random
        self.logger = logger
    }

    /// Carries the open order of `bmc` out, if there is one, and gives the BMC as it is stored then; nil: there is none.
    ///
    /// Throws `BMCError` when the BMC cannot be asked now, `PasswordUnknown` when it takes none of its passwords, and
    /// `StoreError` when its specification has changed meanwhile; it goes on with the next call.
    func settle(_ bmc: BMC) async throws -> BMC? {
        guard bmc.openPasswordOrder != nil else { return nil }
        return try await turns.alone(bmc.metadata.name) { () async throws in try await work(bmc.metadata.name) }
    }

    private func work(_ name: String) async throws -> BMC? {
        guard var bmc = try await store.fetch(BMC.self, name)?.value else { return nil }
        var found = PasswordRotation.Findings()
        for _ in 0..<Self.stepCountMax {
            try Task.checkCancellation()
            let status = bmc.status.password ?? BMC.PasswordStatus()
            found.held = []
            for slot in PasswordSlot.allCases where try await book.password(slot, of: name) != nil {
                found.held.insert(slot)
            }
            let step = PasswordRotation.next(status, order: bmc.spec.passwordOrder, found)
            switch step {
            case .rest: return bmc
            case .probe(let slot): found.isTaken[slot] = try await isTaken(slot, bmc)
            case .tell:
                found.told = try await tell(bmc)
                // What was found before says nothing of what it takes now.
                found.isTaken = [:]
            case .prepare: bmc = try await prepare(bmc)
            case .fail(.locked), .wait:
                bmc = try await commit(step, bmc)
                // Nobody tries the same again at once: some BMCs lock the user.
                throw PasswordUnknown(message: bmc.status.password?.failure ?? "")
            case .retry, .fail, .takeBack:
                bmc = try await commit(step, bmc)
                found.isTaken[.next] = nil
            case .adopt(let slot):
                bmc = try await commit(step, bmc)
                found.isTaken = [.current: true]
                if slot == .next { found.told = nil }
            }
        }
        throw PasswordUnknown(message: PasswordRotation.Reason.noneTaken.text(of: name))
    }

    /// Puts the next password into the vault, or ends the order when there is none that the BMC would take.
    private func prepare(_ bmc: BMC) async throws -> BMC {
        let next: SecretText
        do { next = try await nextPassword(bmc) } catch let error as BMCError {
            guard error.isAnswer else { throw error }
            return try await commit(.fail(.refused(error.publicMessage)), bmc)
        }
        return try await commit(.prepare, bmc, next: next)
    }

    // MARK: What is asked of the BMC

    /// Whether a login with the password in `slot` is taken; one that is not there is not.
    private func isTaken(_ slot: PasswordSlot, _ bmc: BMC) async throws -> Bool {
        guard let password = try await book.password(slot, of: bmc.metadata.name) else { return false }
        do {
            try await driver(bmc, password).proveLogin()
            return true
        } catch BMCError.badCredentials {
            return false
        }
    }

    /// The password that the order gives it, made as the BMC wants them or as the site file says.
    private func nextPassword(_ bmc: BMC) async throws -> SecretText {
        let name = bmc.metadata.name
        if let other = bmcs().first(where: { $0.sharesAccount(with: bmc) }) {
            throw BMCError.unusable(
                "'\(other.metadata.name)' is reached as the same user of the same BMC; give each a user of its own.")
        }
        guard let current = try await book.password(.current, of: name) else {
            throw BMCError.unusable("There is no password of '\(name)'; set it in the site file and apply that.")
        }
        var rule = try await driver(bmc, current).passwordRule()
        if case .ipmi? = try? ConsoleAddress(of: bmc.spec) { rule = rule.atMost(PasswordRule.lengthOfIPMI) }
        if bmc.spec.passwordOrder?.source == .site, let given = try await book.password(.given, of: name) {
            guard PasswordRule.canBeSent(given), given.revealed.utf8.count <= rule.lengthMax else {
                let most = min(rule.lengthMax, PasswordRule.lengthMost)
                throw BMCError.unusable(
                    "The site file's password cannot be one of this BMC: it has to be printable ASCII without spaces, at most "
                        + "\(most) characters.")
            }
            return given
        }
        var random = random
        return StrongPassword.make(length: try rule.length(), using: &random)
    }

    private func tell(_ bmc: BMC) async throws -> PasswordRotation.Told {
        let name = bmc.metadata.name
        guard let current = try await book.password(.current, of: name),
            let next = try await book.password(.next, of: name)
        else { return .refused("one of its passwords is not in the vault any more") }
        do {
            try await driver(bmc, current).setPassword(next)
            logger.info("\(name): it was told of another password")
            return .done
        } catch let error as BMCError {
            guard error.isAnswer else { throw error }
            return .refused(Self.masking(next, in: error.publicMessage))
        }
    }

    /// There are services that repeat what they refuse, and messages are cut anywhere: what is as long as `maskedLength` and
    /// stands in the password too is masked.
    private static func masking(_ password: SecretText, in text: String) -> String {
        let secret = Array(password.revealed)
        var (rest, masked) = (Array(text)[...], "")
        while let first = rest.first {
            let same = secret.indices.map { zip(rest, secret[$0...]).prefix { $0 == $1 }.count }.max() ?? 0
            if same >= min(maskedLength, secret.count) {
                masked += "•••"
                rest = rest.dropFirst(same)
            } else {
                masked.append(first)
                rest = rest.dropFirst()
            }
        }
        return masked
    }

    private static let maskedLength = 5

    // MARK: What is written

    /// Writes what `step` makes of the passwords and of the status, in one transaction; throws when the BMC is reached
    /// elsewhere by now: what it answered says nothing of another.
    private func commit(_ step: PasswordRotation.Step, _ bmc: BMC, next: SecretText? = nil) async throws -> BMC {
        let name = bmc.metadata.name
        let before = bmc.status.password ?? BMC.PasswordStatus()
        for attempt in 0..<StoreContention.attemptCountMax {
            guard var stored = try await store.fetch(BMC.self, name),
                stored.value.status.password ?? BMC.PasswordStatus() == before,
                stored.value.spec.address == bmc.spec.address, stored.value.spec.username == bmc.spec.username
            else { throw StoreError.conflict(BMC.key(name)) }
            var held: [PasswordSlot: SecretText] = [:]
            for slot in PasswordSlot.allCases { held[slot] = try await book.password(slot, of: name) }
            let after = PasswordRotation.after(
                step, before, order: bmc.spec.passwordOrder, name: name, at: clock.now)
            var transaction = Transaction()
            let writings = PasswordRotation.writings(
                step, before, held: Set(held.keys), isGivenNext: held[.given] == held[.next])
            for (slot, writing) in writings {
                let password: SecretText? =
                    switch writing {
                    case .new: next
                    case .copy(let slot): held[slot]
                    case .nothing: nil
                    }
                let written = try await book.writing(password, into: slot, of: name)
                transaction.conditions += written.conditions
                transaction.operations += written.operations
            }
            guard after != before || !transaction.operations.isEmpty else { return stored.value }
            stored.value.status.password = after
            transaction.conditions.append(stored.unchanged)
            transaction.operations.append(try stored.put())
            if let order = bmc.openPasswordOrder, after.orderSeen != before.orderSeen {
                transaction.operations += try record(stored.value, Outcome(order: order, failure: after.failure))
            }
            do throws(StoreError) {
                _ = try await store.commit(transaction)
                return stored.value
            } catch {
                guard case .conflict = error else { throw error }
                await StoreContention.giveWay(after: attempt)
            }
        }
        throw StoreError.conflict(BMC.key(name))
    }
}

extension BMCError {
    /// Whether the BMC has said so, and would say so again.
    fileprivate var isAnswer: Bool {
        switch self {
        case .refused, .privilege, .unsupported, .protocolViolation, .badCredentials, .passwordChangeRequired,
            .unusable,
            .notFound, .systemNotNamed, .manual:
            true
        case .unreachable, .timeout, .busy, .cancelled, .tlsUntrusted, .cipherRefused, .noProgram, .passwordPending:
            false
        }
    }
}

/// A BMC takes none of the passwords that it may have.
struct PasswordUnknown: UserFacingError, Hashable {
    var message: String
    var publicMessage: String { message }
}
