/// What a step does to the store's quorum: the voters before it and after it, counted as if every voter that does not
/// answer stayed away.
public struct QuorumProof: Hashable, Sendable, Codable {
    /// Before the step.
    public var before: Voters
    /// After it.
    public var after: Voters

    /// A proof of both counts.
    public init(before: Voters, after: Voters) {
        self.before = before
        self.after = after
    }

    /// Whether the store takes writes before and after.
    public var holds: Bool { before.haveQuorum && after.haveQuorum }

    /// Members that vote; learners do not.
    public struct Voters: Hashable, Sendable, Codable {
        /// All of them.
        public var count: Int
        /// Those that answer.
        public var healthy: Int

        /// Voters.
        public init(count: Int, healthy: Int) {
            self.count = count
            self.healthy = healthy
        }

        /// How many have to agree: more than half.
        public var quorum: Int { count / 2 + 1 }
        /// Whether enough answer.
        public var haveQuorum: Bool { count > 0 && healthy >= quorum }
        /// How many more may fail; negative without quorum.
        public var tolerance: Int { healthy - quorum }
    }
}

extension QuorumProof.Voters: CustomStringConvertible {
    /// For example `3 of 3 vote, 2 are needed, 1 may fail`.
    public var description: String {
        haveQuorum
            ? "\(healthy) of \(count) vote, \(quorum) are needed, \(tolerance) may fail"
            : "\(healthy) of \(count) vote, \(quorum) are needed"
    }
}
