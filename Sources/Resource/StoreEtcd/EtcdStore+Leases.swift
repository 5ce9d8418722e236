import GRPCCore
import Primitives
import ResourceModel

extension EtcdStore {
    public func grantLease(timeToLive: Duration) async throws(StoreError) -> LeaseID {
        guard timeToLive > .zero else { throw .invalid("a lease lives longer than no time at all") }
        guard try await leaseCount() < StoreLimits.leaseCountMax else {
            throw .limitExceeded("there are \(StoreLimits.leaseCountMax) leases already; end one first")
        }
        var request = Etcdserverpb_LeaseGrantRequest()
        // A number of our own: a grant whose answer was lost is asked for again, and found there.
        request.id = Int64.random(in: 1...Int64.max)
        request.ttl = timeToLive.components.seconds + (timeToLive.components.attoseconds > 0 ? 1 : 0)
        let message = request
        do throws(EtcdFailure) {
            _ = try await connections.call(repeatable: true) { client in
                try await Etcdserverpb_Lease.Client(wrapping: client).leaseGrant(
                    request: ClientRequest(message: message, metadata: EtcdLink.needsLeader),
                    options: EtcdLink.callOptions)
            }
        } catch {
            guard case .refused(.leaseExists) = error else { throw StoreError(error) }
        }
        return LeaseID(message.id)
    }

    public func renewLease(_ lease: LeaseID) async throws(StoreError) {
        var request = Etcdserverpb_LeaseKeepAliveRequest()
        request.id = lease.number
        let message = request
        let left = try await connections.told { () throws(EtcdFailure) in
            try await connections.call(repeatable: true) { client in
                try await Etcdserverpb_Lease.Client(wrapping: client).leaseKeepAlive(
                    metadata: EtcdLink.needsLeader, options: EtcdLink.callOptions
                ) { writer in
                    try await writer.write(message)
                } onResponse: { response in
                    for try await answer in response.messages { return answer.ttl }
                    throw EtcdFailure.unknown("the member ended the renewal")
                }
            }
        }
        // etcd does not call it an error.
        guard left > 0 else { throw .leaseEnded(lease) }
    }

    public func revokeLease(_ lease: LeaseID) async throws(StoreError) {
        var request = Etcdserverpb_LeaseRevokeRequest()
        request.id = lease.number
        let message = request
        do throws(EtcdFailure) {
            _ = try await connections.call(repeatable: true) { client in
                try await Etcdserverpb_Lease.Client(wrapping: client).leaseRevoke(
                    request: ClientRequest(message: message, metadata: EtcdLink.needsLeader),
                    options: EtcdLink.callOptions)
            }
        } catch {
            guard case .refused(.leaseNotFound) = error else { throw StoreError(error) }
            throw .leaseEnded(lease)
        }
    }

    /// The lease for which etcd has refused a transaction.
    func endedLease(of transaction: Transaction) async throws(StoreError) -> LeaseID {
        var leases: [LeaseID] = []
        for case .put(_, _, let lease?) in transaction.operations where !leases.contains(lease) { leases.append(lease) }
        for lease in leases.dropLast() where try await isEnded(lease) { return lease }
        guard let last = leases.last else { throw .unavailable("etcd misses a lease that nothing was tied to") }
        return last
    }

    private func isEnded(_ lease: LeaseID) async throws(StoreError) -> Bool {
        var request = Etcdserverpb_LeaseTimeToLiveRequest()
        request.id = lease.number
        let message = request
        let answer = try await connections.told { () throws(EtcdFailure) in
            try await connections.call(repeatable: true) { client in
                try await Etcdserverpb_Lease.Client(wrapping: client).leaseTimeToLive(
                    request: ClientRequest(message: message, metadata: EtcdLink.needsLeader),
                    options: EtcdLink.callOptions)
            }
        }
        return answer.ttl <= 0
    }

    private func leaseCount() async throws(StoreError) -> Int {
        try await connections.told { () throws(EtcdFailure) in
            try await connections.call(repeatable: true) { client in
                try await Etcdserverpb_Lease.Client(wrapping: client).leaseLeases(
                    request: ClientRequest(message: Etcdserverpb_LeaseLeasesRequest(), metadata: EtcdLink.needsLeader),
                    options: EtcdLink.callOptions)
            }
        }.leases.count
    }
}
