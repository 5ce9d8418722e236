import AgentProtocol
import Primitives

extension Node {
    /// An order to boot an active machine into the rescue ramdisk, or to boot its disk again.
    public struct RescueRequest: Codable, Sendable, Hashable {
        /// Raised by each order.
        public var number: UInt64
        /// Who gave it.
        public var by: String
        /// When.
        public var at: Timestamp
        /// When the one-time password ends; nil: the rescue is to end.
        public var passwordEnds: Timestamp?

        /// An order.
        public init(number: UInt64, by: String, at: Timestamp, passwordEnds: Timestamp?) {
            self.number = number
            self.by = by
            self.at = at
            self.passwordEnds = passwordEnds
        }

        /// How long a password may be good, in hours.
        public static let hours = 1...72
        /// How long it is good when nobody says.
        public static let hoursDefault = 24

        /// The secret that holds the number of the newest order and the crypt(5) hash of its password.
        public static func secretName(_ node: NodeID) -> String { "rescue.\(node.raw)" }
    }

    /// How to log in to a machine in rescue, as its ramdisk told.
    public struct Rescue: Codable, Sendable, Hashable {
        /// Where, and the host key to expect there.
        public var access: RescueAccess
        /// When the password was used; nil: it has not been.
        public var loginAt: Timestamp?
        /// Where the login came from.
        public var loginFrom: String?
        /// Whether the password's time was over before it was used.
        public var hasPasswordEnded: Bool

        /// A machine that nobody has logged in to.
        public init(access: RescueAccess) {
            self.access = access
            hasPasswordEnded = false
        }
    }
}
