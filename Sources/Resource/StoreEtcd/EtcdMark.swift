import FoundationEssentials
import Primitives
import ResourceModel

/// The key that the store keeps for itself: which store it is, and since when.
struct EtcdMark: Sendable {
    let identity: String
    /// The store's first revision.
    let created: Revision
    /// The revision at which it was written last.
    let revision: Revision

    /// Makes the mark if there is none, and writes it: the event of that write begins the caller's watch.
    static func take(_ keys: EtcdKeys, _ connections: EtcdConnections) async throws(StoreError) -> EtcdMark {
        var random = SystemRandomNumberGenerator()
        var request = Etcdserverpb_TxnRequest()
        var absent = Etcdserverpb_Compare()
        absent.key = keys.mark
        absent.target = .create
        absent.result = .equal
        absent.createRevision = 0
        request.compare = [absent]
        request.success = [put(UUIDText.random(using: &random), keys), get(keys)]
        request.failure = [get(keys)]
        let message = request
        let response = try await connections.told { () throws(EtcdFailure) in
            try await connections.transact(message, repeatable: true)
        }
        let mark = try read(response)
        return response.succeeded ? mark : try await write(mark.identity, keys, connections)
    }

    /// Writes the mark anew.
    static func write(
        _ identity: String, _ keys: EtcdKeys, _ connections: EtcdConnections
    ) async throws(StoreError) -> EtcdMark {
        var request = Etcdserverpb_TxnRequest()
        request.success = [put(identity, keys), get(keys)]
        let message = request
        return try read(
            try await connections.told { () throws(EtcdFailure) in
                try await connections.transact(message, repeatable: true)
            })
    }

    private static func put(_ identity: String, _ keys: EtcdKeys) -> Etcdserverpb_RequestOp {
        var part = Etcdserverpb_RequestOp()
        part.requestPut.key = keys.mark
        part.requestPut.value = Data(identity.utf8)
        return part
    }

    private static func get(_ keys: EtcdKeys) -> Etcdserverpb_RequestOp {
        var part = Etcdserverpb_RequestOp()
        part.requestRange.key = keys.mark
        return part
    }

    private static func read(_ response: Etcdserverpb_TxnResponse) throws(StoreError) -> EtcdMark {
        guard let pair = response.responses.last?.responseRange.kvs.first else {
            throw .unavailable("etcd gave no answer that makes sense; check its version")
        }
        return EtcdMark(
            identity: String(decoding: pair.value, as: UTF8.self), created: Revision(etcd: pair.createRevision),
            revision: Revision(etcd: pair.modRevision))
    }
}
