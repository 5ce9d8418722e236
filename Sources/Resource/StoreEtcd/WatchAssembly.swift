import Primitives
import ResourceModel

/// Makes whole batches of what an etcd watch sends, as a pure step.
///
/// An answer may hold many revisions, and a revision may come in fragments: a revision is whole once a higher one has
/// begun, or the answer is not said to go on.
struct WatchAssembly {
    /// All up to here has been given out.
    private(set) var position: Revision
    private var revision = Revision.zero
    private var changes: [WatchBatch.Change] = []
    private let keys: EtcdKeys

    init(after position: Revision, keys: EtcdKeys) {
        self.position = position
        self.keys = keys
    }

    /// The batches that became whole; one without changes says that the store has come so far.
    mutating func take(_ response: Etcdserverpb_WatchResponse) -> [WatchBatch] {
        var batches: [WatchBatch] = []
        for event in response.events {
            let found = keys.revision(event.kv.modRevision)
            // A stream that was opened anew may begin with what is known.
            guard found > position else { continue }
            if found != revision { finish(&batches) }
            revision = found
            if event.type == .delete {
                if let key = keys.key(event.kv.key) { changes.append(.deleted(key)) }
            } else if let document = keys.document(event.kv) {
                changes.append(.put(document))
            }
        }
        if !response.fragment { finish(&batches) }
        return batches
    }

    private mutating func finish(_ batches: inout [WatchBatch]) {
        guard revision > position else { return }
        position = revision
        batches.append(WatchBatch(revision: revision, changes: changes))
        changes = []
    }
}
