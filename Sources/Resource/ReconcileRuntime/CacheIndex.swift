import ResourceModel

/// Finds the cached resources of one type by something else than their names, at a cost that does not grow with them.
///
/// The cache has to be made with it. Changing a resource costs its own keys only.
public struct CacheIndex<R: Resource>: Sendable {
    /// Tells the indexes of one type apart.
    public let name: String
    /// The keys under which a resource is found; any number, also none.
    let keys: @Sendable (R) -> [String]

    /// An index by `keys`.
    public init(_ name: String, keys: @escaping @Sendable (R) -> [String]) {
        self.name = name
        self.keys = keys
    }
}

/// An index of any type, for the cache that is made with it.
public struct AnyCacheIndex: Sendable {
    let install: @Sendable (inout [String: any CachedKindStorage]) -> Void

    /// `index`, whatever its type is.
    public init<R: Resource>(_ index: CacheIndex<R>) {
        install = { kinds in
            guard var kind = kinds[R.kind] as? CachedKind<R> else {
                preconditionFailure("the cache was not made with \(R.kind), but with an index of it")
            }
            kind.install(index)
            kinds[R.kind] = kind
        }
    }
}

/// An index with what is in it.
struct IndexTable<R: Resource>: Sendable {
    let index: CacheIndex<R>
    var entries = OrderedEntries<R>()

    /// Takes `new` in, in place of `old`.
    mutating func replace(_ old: CacheEntry<R>?, by new: CacheEntry<R>?) {
        let oldKeys = old.map { index.keys($0.value) } ?? []
        let newKeys = new.map { index.keys($0.value) } ?? []
        if let old, oldKeys != newKeys { for key in oldKeys { entries.remove(old.document.key.name, at: key) } }
        if let new { for key in newKeys { entries.insert(new, at: key) } }
    }
}
