import AgentProtocol
import ControlPlane
import Primitives
import ResourceModel
import StoreEtcd

/// etcd's list of its members.
public struct EtcdMembership: StoreMembership {
    private let administration: EtcdAdministration

    /// The list of the cluster that `administration` is of.
    public init(_ administration: EtcdAdministration) { self.administration = administration }

    public func members() async throws -> [StoreMember] {
        let found = try await administration.statuses()
        let newest = found.compactMap(\.status?.raftIndex).max() ?? 0
        return found.map { member, status in
            StoreMember(
                id: member.id, peer: member.peerURLs.lazy.compactMap(Self.address).first, isLearner: member.isLearner,
                isStarted: !member.name.isEmpty, isHealthy: status?.leader != nil,
                isCaughtUp: Self.isCaughtUp(status?.raftIndex, newest), isLeader: status?.leader == member.id,
                behind: status.map { newest - $0.raftIndex })
        }
    }

    public func addLearner(_ peer: SocketAddress) async throws {
        // A first try may have succeeded without an answer.
        guard try await !members().contains(where: { $0.peer == peer }) else { return }
        let scheme =
            try await administration.members().contains { $0.peerURLs.contains { $0.hasPrefix("http://") } }
            ? "http" : "https"
        _ = try await administration.addLearner(peerURLs: ["\(scheme)://\(peer)"])
    }

    public func promote(_ id: UInt64) async throws { try await administration.promote(id) }

    public func remove(_ id: UInt64) async throws { try await administration.remove(id) }

    public func moveLeader(to id: UInt64) async throws { try await administration.moveLeader(to: id) }

    /// etcd lets a learner vote once it has nine tenths of the leader's log.
    private static func isCaughtUp(_ index: UInt64?, _ newest: UInt64) -> Bool {
        guard let index else { return false }
        return Double(index) >= 0.9 * Double(newest)
    }

    /// The address of `https://10.0.0.1:2380`; nil for a name.
    private static func address(_ url: String) -> SocketAddress? {
        guard let scheme = ["https://", "http://"].first(where: { url.hasPrefix($0) }) else { return nil }
        return try? SocketAddress(url.dropFirst(scheme.count))
    }
}
