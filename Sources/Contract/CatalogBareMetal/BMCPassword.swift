import Primitives
import ResourceModel

/// The passwords that the vault may hold of a BMC, each a secret of its own.
public enum PasswordSlot: String, Sendable, Hashable, CaseIterable {
    /// The one that the BMC takes, as far as is known.
    case current = "bmc"
    /// The one that it is being given.
    case next = "bmc-next"
    /// The one that the site file gave last, when that is another than the current one.
    case given = "bmc-given"

    /// The name of the secret for the BMC `name`.
    public func secretName(of name: String) -> String { "\(rawValue).\(name)" }

    /// The slot and the BMC of a secret of this name; nil: it is no BMC's password.
    public static func parse(_ secretName: String) -> (slot: PasswordSlot, bmc: String)? {
        guard let dot = secretName.firstIndex(of: "."), let slot = PasswordSlot(rawValue: String(secretName[..<dot]))
        else { return nil }
        return (slot, String(secretName[secretName.index(after: dot)...]))
    }
}

extension BMC {
    /// An order to give the BMC's account another password. Orders are numbered from 1.
    public struct PasswordOrder: Codable, Sendable, Hashable {
        /// Rises with each order.
        public var number: UInt64
        /// Where the password comes from.
        public var source: PasswordSource
        /// Who asked, as audit events have it.
        public var by: String
        /// When.
        public var at: Timestamp

        /// An order.
        public init(number: UInt64, source: PasswordSource, by: String, at: Timestamp) {
            self.number = number
            self.source = source
            self.by = by
            self.at = at
        }
    }

    /// Where a BMC's password comes from.
    public enum PasswordSource: String, Codable, Sendable, Hashable, CaseIterable {
        /// The conductor makes it, and nobody else knows it.
        case conductor
        /// The site file gives it.
        case site
    }

    /// How far the change of a password is.
    public enum PasswordState: Codable, Sendable, Hashable {
        /// The current one is in use and there is no other.
        case settled
        /// The next one is in the vault too, and the BMC has been told of it up to `tries` times: it takes one of the two.
        case pending(PasswordOrder, since: Timestamp, tries: Int)
    }

    /// What is known of a BMC's password, never the password itself.
    public struct PasswordStatus: Codable, Sendable, Hashable {
        /// How far its change is.
        public var state: PasswordState
        /// Where the current one comes from.
        public var source: PasswordSource
        /// The newest order that has ended, well or not; nil: none.
        public var orderSeen: UInt64?
        /// When the BMC was last given another one and took it at a login; nil: never.
        public var rotated: Timestamp?
        /// Why the newest order could not be carried out yet, or was given up, and what to do; nil: it was done.
        public var failure: String?

        /// The site file's password, never changed.
        public init() {
            state = .settled
            source = .site
        }
    }
}

extension BMC {
    /// The order that is still to be carried out; nil: none is.
    public var openPasswordOrder: PasswordOrder? {
        if case .pending(let order, _, _) = status.password?.state { return order }
        guard let order = spec.passwordOrder, order.number > status.password?.orderSeen ?? 0 else { return nil }
        return order
    }

    /// Whether two passwords are in the vault and it is not known which one the BMC takes.
    public var isPasswordPending: Bool {
        if case .pending = status.password?.state { true } else { false }
    }

    /// Whether both are reached at the same address as the same user, and so have one password.
    public func sharesAccount(with other: BMC) -> Bool {
        spec.address == other.spec.address && spec.username == other.spec.username
            && metadata.name != other.metadata.name
    }
}
