import FoundationEssentials
import Primitives
import ResourceModel

/// A transaction in etcd's words: all in one request, whose refusal says which condition failed.
struct EtcdTransaction {
    let request: Etcdserverpb_TxnRequest
    private let conditions: [Transaction.Condition]
    private let keys: EtcdKeys

    /// Operations and conditions that etcd takes by default (`--max-txn-ops`), each.
    static let countMax = 128

    init(_ transaction: Transaction, keys: EtcdKeys) {
        conditions = transaction.conditions
        self.keys = keys
        var request = Etcdserverpb_TxnRequest()
        request.compare = transaction.conditions.map { Self.compare($0, keys) }
        request.success = transaction.operations.map { operation in
            var part = Etcdserverpb_RequestOp()
            switch operation {
            case .put(let key, let value, let lease):
                part.requestPut.key = keys.data(key)
                part.requestPut.value = Data(value)
                if let lease { part.requestPut.lease = lease.number }
            case .delete(let key):
                part.requestDeleteRange.key = keys.data(key)
            }
            return part
        }
        // What a refusal is told by: the keys of the conditions, as they were at that moment.
        request.failure = transaction.conditions.map { condition in
            var part = Etcdserverpb_RequestOp()
            part.requestRange.key = keys.data(condition.key)
            part.requestRange.keysOnly = true
            return part
        }
        self.request = request
    }

    /// The key of the first condition that did not hold, from the refusal; nil when the answer makes no sense.
    func conflict(in response: Etcdserverpb_TxnResponse) -> ResourceKey? {
        zip(conditions, response.responses).first { condition, part in
            !condition.holds(for: part.responseRange.kvs.first.flatMap(keys.document))
        }?.0.key
    }

    private static func compare(_ condition: Transaction.Condition, _ keys: EtcdKeys) -> Etcdserverpb_Compare {
        var compare = Etcdserverpb_Compare()
        compare.key = keys.data(condition.key)
        switch condition {
        case .absent:
            compare.target = .create
            compare.result = .equal
            compare.createRevision = 0
        case .exists:
            compare.target = .create
            compare.result = .greater
            compare.createRevision = 0
        case .unchanged(_, let revision) where keys.revision(revision) == 0:
            // No document is of such a revision, but to etcd a key that is not there is: this never holds.
            compare.target = .create
            compare.result = .less
            compare.createRevision = 0
        case .unchanged(_, let revision):
            compare.target = .mod
            compare.result = .equal
            compare.modRevision = keys.revision(revision)
        }
        return compare
    }
}
