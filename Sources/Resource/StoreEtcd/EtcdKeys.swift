import FoundationEssentials
import Primitives
import ResourceModel

/// Where documents are in etcd.
///
/// A document's key is the prefix, its kind, a blank and its name. No kind or name has a blank, and it sorts before all
/// characters that they may have, so that etcd's order of bytes is the contract's: by kind, then by name. With `/`
/// between them `a.b-c/x` would come before `a.b/x`. What the store keeps for itself has an empty kind, which no document
/// has: it lies inside the prefix, so that the one watch sees it, and before all documents.
struct EtcdKeys: Sendable {
    /// Changed to move the store's revision without changing a document; its first revision is the store's first.
    let mark: Data
    /// Held by whoever does the cluster's upkeep.
    let turn: Data
    /// All keys of the store, from the first up to and without the second.
    let everything: Range
    private let documents: Range
    private let prefix: [UInt8]
    /// What the store's revisions are ahead of etcd's: a store that goes on after another one, or after what a restored
    /// copy of etcd lacks, gives no revision twice.
    private let ahead: UInt64

    private static let separator = UInt8(ascii: " ")

    struct Range: Sendable {
        var start: Data
        var end: Data
    }

    init(prefix: String, ahead: UInt64 = 0) {
        self.ahead = ahead
        let bytes = Array(prefix.utf8)
        self.prefix = bytes
        mark = Data(bytes + Array(" mark".utf8))
        turn = Data(bytes + Array(" turn".utf8))
        let end = Data(bytes.dropLast() + [bytes[bytes.count - 1] + 1])
        everything = Range(start: Data(bytes), end: end)
        documents = Range(start: Data(bytes + [Self.separator + 1]), end: end)
    }

    /// The store's revision for one of etcd's, which are positive.
    func revision(_ etcd: Int64) -> Revision { Revision(UInt64(max(0, etcd)) + ahead) }

    /// etcd's revision for one of the store's; 0 for what was before etcd's first.
    func revision(_ revision: Revision) -> Int64 {
        revision.number > ahead ? Int64(clamping: revision.number - ahead) : 0
    }

    func data(_ key: ResourceKey) -> Data {
        var data = Data(capacity: prefix.count + key.kind.utf8.count + key.name.utf8.count + 1)
        data.append(contentsOf: prefix)
        data.append(contentsOf: key.kind.utf8)
        data.append(Self.separator)
        data.append(contentsOf: key.name.utf8)
        return data
    }

    /// Nil for what is not a document's key.
    func key(_ data: Data) -> ResourceKey? {
        let bytes = [UInt8](data)
        guard bytes.starts(with: prefix) else { return nil }
        let rest = bytes[prefix.count...]
        guard let blank = rest.firstIndex(of: Self.separator), blank > rest.startIndex else { return nil }
        return ResourceKey(
            kind: String(decoding: rest[..<blank], as: UTF8.self),
            name: String(decoding: rest[(blank + 1)...], as: UTF8.self))
    }

    /// The keys of `kind`, nil: of all kinds, that come after `after`; nil when there can be none.
    func range(kind: String?, after: ResourceKey?) -> Range? {
        var range = documents
        if let kind {
            let bytes = prefix + Array(kind.utf8)
            range = Range(start: Data(bytes + [Self.separator]), end: Data(bytes + [Self.separator + 1]))
        }
        if let after {
            let next = data(after) + [0]
            if range.start.lexicographicallyPrecedes(next) { range.start = next }
        }
        return range.start.lexicographicallyPrecedes(range.end) ? range : nil
    }

    /// The document in a pair; nil for what is none.
    func document(_ pair: Etcdserverpb_KeyValue) -> Document? {
        key(pair.key).map { key in
            Document(
                key: key, revision: revision(pair.modRevision), value: [UInt8](pair.value),
                lease: pair.lease == 0 ? nil : LeaseID(pair.lease))
        }
    }
}
