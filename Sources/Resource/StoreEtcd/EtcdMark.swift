import FoundationEssentials
import Primitives
import ResourceModel

/// The key that the store keeps for itself: which store it is, since when, and how it counts.
struct EtcdMark: Sendable {
    /// What is written in it: the three values with blanks between them.
    struct Content: Hashable, Sendable {
        /// Names this history of commits.
        var identity: String
        /// What the store's revisions are ahead of etcd's.
        var ahead: UInt64 = 0
        /// etcd's revision at which this history began after another one; 0: it is the first.
        var begun: Int64 = 0

        var data: Data { Data("\(identity) \(ahead) \(begun)".utf8) }

        init(identity: String, ahead: UInt64 = 0, begun: Int64 = 0) {
            self.identity = identity
            self.ahead = ahead
            self.begun = begun
        }

        init?(_ data: Data) {
            let words = String(decoding: data, as: UTF8.self).split(separator: " ")
            guard words.count == 3, let ahead = UInt64(words[1]), let begun = Int64(words[2]) else { return nil }
            self.init(identity: String(words[0]), ahead: ahead, begun: begun)
        }
    }

    let content: Content
    /// etcd's revision of the store's first commit.
    let created: Int64
    /// etcd's revision at which the mark was written last.
    let revision: Int64

    /// Makes the mark if there is none, and writes it: the event of that write begins the caller's watch.
    static func take(_ keys: EtcdKeys, _ connections: EtcdConnections) async throws(StoreError) -> EtcdMark {
        var random = SystemRandomNumberGenerator()
        var request = Etcdserverpb_TxnRequest()
        request.compare = [unchanged(since: 0, keys)]
        request.success = [put(Content(identity: UUIDText.random(using: &random)), keys), get(keys)]
        request.failure = [get(keys)]
        for _ in 0..<takingCountMax {
            let response = try await transact(request, connections)
            let mark = try read(response)
            if response.succeeded { return mark }
            do throws(StoreError) { return try await renew(mark.content, keys, connections) } catch {
                // Another history has begun since it was read: that one is what there is to take.
                guard case .inUse = error else { throw error }
            }
        }
        throw .inUse(place)
    }

    private static let takingCountMax = 5
    private static let place = "etcd's prefix of this store"

    /// Writes the mark anew as it is, for the sake of the event; throws `StoreError.inUse` when another history of the
    /// store has begun, which then stays as it is.
    static func renew(
        _ content: Content, _ keys: EtcdKeys, _ connections: EtcdConnections
    ) async throws(StoreError) -> EtcdMark {
        var compare = Etcdserverpb_Compare()
        compare.key = keys.mark
        compare.target = .value
        compare.result = .equal
        compare.value = content.data
        return try await write(content, if: compare, keys, connections)
    }

    /// Begins another history; throws `StoreError.inUse` when the mark is not the one that it replaces.
    static func begin(
        _ content: Content, replacing old: EtcdMark, _ keys: EtcdKeys, _ connections: EtcdConnections
    ) async throws(StoreError) -> EtcdMark {
        try await write(content, if: unchanged(since: old.revision, keys), keys, connections)
    }

    private static func write(
        _ content: Content, if compare: Etcdserverpb_Compare, _ keys: EtcdKeys, _ connections: EtcdConnections
    ) async throws(StoreError) -> EtcdMark {
        var request = Etcdserverpb_TxnRequest()
        request.compare = [compare]
        request.success = [put(content, keys), get(keys)]
        request.failure = [get(keys)]
        let response = try await transact(request, connections)
        let mark = try read(response)
        // A call whose answer was lost is made again, and refused for what it has done itself.
        guard response.succeeded || mark.content == content else { throw .inUse(place) }
        return mark
    }

    private static func transact(
        _ request: Etcdserverpb_TxnRequest, _ connections: EtcdConnections
    ) async throws(StoreError) -> Etcdserverpb_TxnResponse {
        try await connections.told { () throws(EtcdFailure) in
            try await connections.transact(request, repeatable: true)
        }
    }

    private static func unchanged(since revision: Int64, _ keys: EtcdKeys) -> Etcdserverpb_Compare {
        var compare = Etcdserverpb_Compare()
        compare.key = keys.mark
        compare.target = .mod
        compare.result = .equal
        compare.modRevision = revision
        return compare
    }

    private static func put(_ content: Content, _ keys: EtcdKeys) -> Etcdserverpb_RequestOp {
        var part = Etcdserverpb_RequestOp()
        part.requestPut.key = keys.mark
        part.requestPut.value = content.data
        return part
    }

    private static func get(_ keys: EtcdKeys) -> Etcdserverpb_RequestOp {
        var part = Etcdserverpb_RequestOp()
        part.requestRange.key = keys.mark
        return part
    }

    private static func read(_ response: Etcdserverpb_TxnResponse) throws(StoreError) -> EtcdMark {
        guard let pair = response.responses.last?.responseRange.kvs.first, let content = Content(pair.value) else {
            throw .unavailable("what etcd has under the store's prefix is not a store's; check the prefix")
        }
        return EtcdMark(content: content, created: pair.createRevision, revision: pair.modRevision)
    }
}
