import AgentProtocol
import ControlPlane
import EtcdBed
import Logging
import Primitives
import StoreEtcd
import StoreMembers
import Testing

/// The list of members as the plans need it, of a real cluster.
@Suite struct EtcdMembershipTests {
    @Test(
        "One member, a learner that is added twice and promoted, one that dies, the leader that moves and one that goes"
    )
    func life() async throws {
        let cluster = try EtcdTestCluster(members: 1)
        try await cluster.start()
        let tls = cluster.certificates.map {
            EtcdTLS(authority: $0.authority, certificate: $0.certificate, key: $0.key)
        }
        let administration = try EtcdAdministration(
            EtcdConfiguration(endpoints: cluster.endpoints, tls: tls), logger: Logger(label: "test"))
        defer { administration.close() }
        let membership = EtcdMembership(administration)
        let alone = try await membership.members()
        #expect(alone.count == 1 && alone.allSatisfy { $0.isLeader && $0.isHealthy && $0.isCaughtUp && $0.isStarted })

        let number = try cluster.addMember()
        let peer = try SocketAddress(cluster.peers[number].dropFirst("https://".count))
        try await membership.addLearner(peer)
        try await membership.addLearner(peer)
        let added = try #require(try await membership.members().first { $0.isLearner })
        #expect(added.peer == peer && !added.isStarted && !added.isHealthy && !added.isCaughtUp)
        try cluster.startAdded(number, beside: [0])
        try await until { try await membership.members().contains { $0.isLearner && $0.isHealthy && $0.isCaughtUp } }
        try await until {
            do { try await membership.promote(added.id) } catch { return false }
            return true
        }
        #expect(try await membership.members().count { !$0.isLearner && $0.isHealthy } == 2)

        try await membership.moveLeader(to: added.id)
        try await until { try await membership.members().contains { $0.id == added.id && $0.isLeader } }
        try await membership.remove(alone[0].id)
        cluster.kill(0)
        let rest = try EtcdAdministration(
            EtcdConfiguration(endpoints: [cluster.endpoints[number]], tls: tls), logger: Logger(label: "test"))
        defer { rest.close() }
        let last = EtcdMembership(rest)
        try await until { try await last.members().allSatisfy { $0.isHealthy && $0.isLeader } }
        #expect(try await last.members().map(\.id) == [added.id])
    }

    private func until(_ isSo: () async throws -> Bool) async throws {
        for _ in 0..<150 {
            if (try? await isSo()) == true { return }
            try await Task.sleep(for: .milliseconds(100))
        }
        Issue.record("it never came")
    }
}
