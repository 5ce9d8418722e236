import Primitives

/// What a node notes of its network on the state partition, `muster/network.json`; the deployment writes the first.
///
/// A new configuration is on trial until the conductor was reached over it. Only then is it kept and used at the next
/// boot: a power cut in the middle brings the old one back by itself.
public struct NetworkRecord: Codable, Sendable, Hashable {
    /// Where it is on the state partition.
    public static let path = "muster/network.json"

    /// The configuration that has proved itself; nil: none has, and the node asks by DHCP on every card.
    public var kept: UnitSet?
    /// The configuration on trial.
    public var trial: Trial?
    /// The configuration that failed last; it is not tried again.
    public var rejected: Rejection?

    /// A configuration on trial.
    public struct Trial: Codable, Sendable, Hashable {
        /// The configuration.
        public var units: UnitSet
        /// Seconds that it has.
        public var seconds: Int
        /// The boot (the kernel's identifier) in which it began; nil: it begins with the next start of the agent.
        public var bootID: String?
        /// When it ends: seconds since that boot.
        public var deadline: Int
        /// Set when the configuration before it failed: nothing is well again until this one is kept.
        public var followsFailure: Bool?

        /// A trial.
        public init(
            units: UnitSet, seconds: Int, bootID: String? = nil, deadline: Int = 0, followsFailure: Bool? = nil
        ) {
            self.units = units
            self.seconds = seconds
            self.bootID = bootID
            self.deadline = deadline
            self.followsFailure = followsFailure
        }
    }

    /// A configuration that failed.
    public struct Rejection: Codable, Sendable, Hashable {
        /// The configuration.
        public var units: UnitSet
        /// Why, for people.
        public var cause: String
        /// When.
        public var at: Timestamp

        /// A failure.
        public init(units: UnitSet, cause: String, at: Timestamp) {
            self.units = units
            self.cause = cause
            self.at = at
        }
    }

    /// A record.
    public init(kept: UnitSet? = nil, trial: Trial? = nil, rejected: Rejection? = nil) {
        self.kept = kept
        self.trial = trial
        self.rejected = rejected
    }
}
