import FoundationEssentials
import GRPCCore
import Primitives
import ResourceModel

/// The calls that the store makes, each on a member that takes it, with the cluster's identity checked.
extension EtcdConnections {
    func range(_ request: Etcdserverpb_RangeRequest) async throws(StoreError) -> Etcdserverpb_RangeResponse {
        let response = try await told { () throws(EtcdFailure) in try await self.rangeOrRefusal(request) }
        return response
    }

    /// As `range`; refusals are told apart.
    func rangeOrRefusal(
        _ request: Etcdserverpb_RangeRequest
    ) async throws(EtcdFailure) -> Etcdserverpb_RangeResponse {
        // A page may be large, and its time is its own.
        let response = try await call(repeatable: true, isLong: request.limit > 1) { client in
            try await Etcdserverpb_KV.Client(wrapping: client).range(
                request: ClientRequest(message: request, metadata: EtcdLink.needsLeader),
                options: EtcdLink.callOptions)
        }
        try checked(response.header)
        if !request.serializable { noteWork() }
        return response
    }

    /// A `repeatable` transaction does the same when it is done twice.
    func transact(
        _ request: Etcdserverpb_TxnRequest, repeatable: Bool
    ) async throws(EtcdFailure) -> Etcdserverpb_TxnResponse {
        let response = try await call(repeatable: repeatable) { client in
            try await Etcdserverpb_KV.Client(wrapping: client).txn(
                request: ClientRequest(message: request, metadata: EtcdLink.needsLeader),
                options: EtcdLink.callOptions)
        }
        try checked(response.header)
        noteWork()
        return response
    }

    /// Forgets the history; `physically`: returns when it is gone from the member's database too.
    func compact(through revision: Int64, physically: Bool = false) async throws(EtcdFailure) {
        var request = Etcdserverpb_CompactionRequest()
        request.physical = physically
        request.revision = revision
        let message = request
        let response = try await call(repeatable: true) { client in
            try await Etcdserverpb_KV.Client(wrapping: client).compact(
                request: ClientRequest(message: message, metadata: EtcdLink.needsLeader),
                options: EtcdLink.callOptions)
        }
        try checked(response.header)
    }

    /// Throws `StoreError.compacted` when commits after `revision` are gone.
    ///
    /// A member lets a watch begin at the very revision that was compacted, where deletions may be gone already; a read as
    /// of the revision before says so.
    func requireHistory(after revision: Revision, _ keys: EtcdKeys) async throws(StoreError) {
        var request = Etcdserverpb_RangeRequest()
        request.key = keys.mark
        request.revision = keys.revision(revision)
        request.countOnly = true
        do throws(EtcdFailure) {
            _ = try await rangeOrRefusal(request)
        } catch {
            guard case .refused(.compacted) = error else { throw StoreError(error) }
            throw .compacted(oldest: await compactionPoint(keys) ?? Revision(revision.number + 1))
        }
    }

    /// The revision that the history has been compacted through; nil: nothing has been.
    func compactionPoint(_ keys: EtcdKeys) async -> Revision? {
        // Only a watch from before it tells.
        let range = EtcdKeys.Range(start: keys.mark, end: keys.mark + [0])
        do {
            try await current.watch(range, after: .zero, keys: keys, until: ContinuousClock.now + patience) { _ in false
            }
            return nil
        } catch StoreError.compacted(let oldest) {
            return oldest
        } catch {
            return nil
        }
    }

    private func checked(_ header: Etcdserverpb_ResponseHeader) throws(EtcdFailure) {
        do { try check(header) } catch { throw .refused(.other(error)) }
    }

    /// What a failure means to whoever uses the store; refusals that mean more have been taken out before.
    func told<Result>(
        _ body: () async throws(EtcdFailure) -> Result
    ) async throws(StoreError) -> Result {
        do throws(EtcdFailure) {
            return try await body()
        } catch {
            throw StoreError(error)
        }
    }
}

extension StoreError {
    /// What a failed call means to whoever uses the store.
    init(_ failure: EtcdFailure) {
        switch failure {
        case .refused(.other(let error)): self = error
        case .refused: self = .unavailable("etcd refuses: \(failure.words)")
        case .notDone(let why):
            self = .unavailable("no member of etcd takes requests now (\(why)); try again")
        case .unknown(let why):
            self = .unavailable(
                "etcd did not answer in time (\(why)); whether a change was made is not known: read before trying again"
            )
        }
    }
}
