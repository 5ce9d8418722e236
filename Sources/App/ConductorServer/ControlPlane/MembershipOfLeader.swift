import AgentProtocol
import ControlPlane
import Primitives

/// The store's members as the conductor that leads may change them: the store refuses what an older leader writes, but does
/// not know whose changes of its members these are, so that it is asked just before each.
struct MembershipOfLeader: StoreMembership {
    private let all: any StoreMembership
    private let isLeading: @Sendable () -> Bool

    /// `membership`, changed only while `isLeading`.
    init(_ membership: any StoreMembership, isLeading: @escaping @Sendable () -> Bool) {
        all = membership
        self.isLeading = isLeading
    }

    func members() async throws -> [StoreMember] { try await all.members() }

    func addLearner(_ peer: SocketAddress) async throws {
        try checkTerm()
        try await all.addLearner(peer)
    }

    func promote(_ id: UInt64) async throws {
        try checkTerm()
        try await all.promote(id)
    }

    func remove(_ id: UInt64) async throws {
        try checkTerm()
        try await all.remove(id)
    }

    func moveLeader(to id: UInt64) async throws {
        try checkTerm()
        try await all.moveLeader(to: id)
    }

    /// Throws `CancellationError`, as the end of the term itself does.
    private func checkTerm() throws {
        guard isLeading() else { throw CancellationError() }
    }
}
