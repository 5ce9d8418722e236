import FoundationEssentials
import Primitives
import ResourceModel

/// The chosen resources as of one revision; a value that does not change.
public struct CacheSnapshot: Sendable {
    /// All commits up to this one are in it.
    public internal(set) var revision = Revision.zero
    /// Whether the store has been read once.
    public internal(set) var isLoaded = false
    /// Documents that this version cannot read, with the reason; they are left out.
    public internal(set) var undecodable: [ResourceKey: StoreError] = [:]
    var kinds: [String: any CachedKindStorage]
    private var lastChanges: [String: Revision] = [:]

    init(kinds: [any Resource.Type], indexes: [AnyCacheIndex] = []) {
        self.kinds = Dictionary(kinds.map { ($0.kind, $0.emptyCache) }) { first, _ in first }
        for index in indexes { index.install(&self.kinds) }
    }

    /// All resources of a type in order of their names; the type must be one that the cache was made with.
    public func all<R: Resource>(_ type: R.Type) -> [R] { cached(type).all }

    /// How many resources of a type there are.
    public func count<R: Resource>(_ type: R.Type) -> Int { cached(type).count }

    /// The resource `name`, nil when there is none.
    public func get<R: Resource>(_ type: R.Type, _ name: String) -> R? { cached(type).value(name) }

    /// The newest revision that changed anything of these kinds; while it is the same, all of them are.
    public func lastChange(of kinds: [String]) -> Revision {
        kinds.reduce(.zero) { max($0, lastChanges[$1] ?? .zero) }
    }

    /// Calls `body` with each resource of a type in order of their names, without an array of them all.
    public func forEach<R: Resource>(_ type: R.Type, _ body: (R) throws -> Void) rethrows {
        try cached(type).forEach(body)
    }

    /// The resources that `index` has under `key`, in order of their names.
    public func all<R: Resource>(_ index: CacheIndex<R>, _ key: String) -> [R] {
        cached(R.self).table(index).entries(at: key).map(\.value)
    }

    /// The first of the resources that `index` has under `key`.
    public func first<R: Resource>(_ index: CacheIndex<R>, _ key: String) -> R? {
        all(index, key).first
    }

    /// Whether `index` has anything under `key`.
    public func contains<R: Resource>(_ index: CacheIndex<R>, _ key: String) -> Bool {
        cached(R.self).table(index).hasEntries(at: key)
    }

    /// The first `limit` resources that `isWanted` with the revisions of their documents, in the order of `index` and of
    /// their names, of those after the one with this key and name; nil: from the first on.
    public func page<R: Resource>(
        _ index: CacheIndex<R>, after last: (key: String, name: String)?, limit: Int,
        where isWanted: (R) -> Bool = { _ in true }
    ) -> [(value: R, revision: Revision)] {
        cached(R.self).table(index).entries(after: last, limit: limit, isWanted).map {
            ($0.value, $0.document.revision)
        }
    }

    /// How often a key of `index` has come to have nothing or something else under it; while it is the same, what was
    /// there still is.
    public func freedCount<R: Resource>(_ index: CacheIndex<R>) -> UInt64 { cached(R.self).table(index).removalCount }

    /// How many places `index` has; that of an index with one key at most, how many resources.
    public func count<R: Resource>(_ index: CacheIndex<R>) -> Int { cached(R.self).table(index).count }

    /// The resource `name` with all its stored fields, to be changed and written back; nil when there is none.
    public func stored<R: Resource>(_ type: R.Type, _ name: String) -> Stored<R>? {
        cached(type).document(name).flatMap { try? Stored<R>($0) }
    }

    /// A change that is decoded and can be applied quickly.
    enum Change: Sendable {
        case insert(any AnyCacheEntry)
        case undecodable(ResourceKey, StoreError)
        case remove(ResourceKey)
    }

    /// Decodes what a commit changed of the cache's kinds.
    func prepare(_ changes: [WatchBatch.Change]) -> [Change] {
        let decoder = JSONDecoder()
        return changes.compactMap { prepare($0, decoder) }
    }

    private func prepare(_ change: WatchBatch.Change, _ decoder: JSONDecoder) -> Change? {
        switch change {
        case .deleted(let key): return kinds[key.kind] == nil ? nil : .remove(key)
        case .put(let document):
            guard let storage = kinds[document.key.kind] else { return nil }
            do {
                return .insert(try storage.decode(document, decoder))
            } catch {
                return .undecodable(document.key, error)
            }
        }
    }

    /// Applies prepared changes and returns their keys.
    mutating func apply(_ changes: [Change], at newRevision: Revision) -> Set<ResourceKey> {
        var keys: Set<ResourceKey> = []
        for change in changes {
            let key: ResourceKey
            switch change {
            case .insert(let entry):
                key = entry.document.key
                kinds[key.kind]?.insert(entry)
                undecodable[key] = nil
            case .undecodable(let failed, let error):
                key = failed
                kinds[key.kind]?.remove(key.name)
                undecodable[key] = error
            case .remove(let removed):
                key = removed
                kinds[key.kind]?.remove(key.name)
                undecodable[key] = nil
            }
            keys.insert(key)
            lastChanges[key.kind] = newRevision
        }
        revision = max(revision, newRevision)
        return keys
    }

    /// The keys whose documents are not the same as in `other`.
    func keys(differingFrom other: CacheSnapshot) -> Set<ResourceKey> {
        var keys: Set<ResourceKey> = []
        for (kind, storage) in kinds {
            let new = storage.revisions
            let old = other.kinds[kind]?.revisions ?? [:]
            for (key, revision) in new where old[key] != revision { keys.insert(key) }
            for key in old.keys where new[key] == nil { keys.insert(key) }
        }
        return keys
    }

    private func cached<R: Resource>(_ type: R.Type) -> CachedKind<R> {
        guard let storage = kinds[R.kind] as? CachedKind<R> else {
            preconditionFailure("the cache was not made with \(R.kind)")
        }
        return storage
    }
}

/// Which resources have changed since the last change was taken.
public struct CacheChange: Sendable, Hashable {
    /// The changed, new and deleted ones; empty when `isEverything`.
    public var keys: Set<ResourceKey>
    /// The cache has at least this revision.
    public var revision: Revision
    /// Look at everything: the first change, or too many to name them.
    public var isEverything: Bool

    /// A change.
    public init(keys: Set<ResourceKey>, revision: Revision, isEverything: Bool = false) {
        self.keys = keys
        self.revision = revision
        self.isEverything = isEverything
    }
}
