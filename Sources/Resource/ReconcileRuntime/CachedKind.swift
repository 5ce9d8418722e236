import FoundationEssentials
import Primitives
import ResourceModel

/// A decoded document; a class, so that inserting moves pointers only.
final class CacheEntry<R: Resource>: AnyCacheEntry {
    let document: Document
    let value: R

    init(_ document: Document, _ decoder: JSONDecoder) throws(StoreError) {
        self.document = document
        do {
            value = try decoder.decode(R.self, from: Data(document.value))
        } catch {
            throw .undecodable(document.key, "\(error)".printable(limit: 300))
        }
    }
}

/// A decoded document of any kind.
protocol AnyCacheEntry: AnyObject, Sendable {
    var document: Document { get }
}

/// All resources of one kind in order of their names, and in the order of each index.
struct CachedKind<R: Resource>: CachedKindStorage {
    private var entries = OrderedEntries<R>()
    private var tables: [IndexTable<R>] = []

    var all: [R] {
        var values: [R] = []
        values.reserveCapacity(count)
        entries.forEach { values.append($0.value) }
        return values
    }
    var count: Int { entries.count }
    var revisions: [ResourceKey: Revision] {
        var revisions: [ResourceKey: Revision] = [:]
        entries.forEach { revisions[$0.document.key] = $0.document.revision }
        return revisions
    }

    func value(_ name: String) -> R? { entries.entry(name, at: name)?.value }
    func document(_ name: String) -> Document? { entries.entry(name, at: name)?.document }
    func forEach(_ body: (R) throws -> Void) rethrows { try entries.forEach { try body($0.value) } }

    /// What is in the index.
    func table(_ index: CacheIndex<R>) -> OrderedEntries<R> {
        guard let table = tables.first(where: { $0.index.name == index.name }) else {
            preconditionFailure("the cache was not made with the index \(index.name) of \(R.kind)")
        }
        return table.entries
    }

    /// Adds an index; what is there already is put into it.
    mutating func install(_ index: CacheIndex<R>) {
        precondition(!tables.contains { $0.index.name == index.name }, "two indexes are called \(index.name)")
        var table = IndexTable(index: index)
        entries.forEach { table.replace(nil, by: $0) }
        tables.append(table)
    }

    func decode(_ document: Document, _ decoder: JSONDecoder) throws(StoreError) -> any AnyCacheEntry {
        try CacheEntry<R>(document, decoder)
    }

    mutating func insert(_ entry: any AnyCacheEntry) {
        guard let entry = entry as? CacheEntry<R> else { return }
        let name = entry.document.key.name
        if !tables.isEmpty {
            let old = entries.entry(name, at: name)
            for index in tables.indices { tables[index].replace(old, by: entry) }
        }
        entries.insert(entry, at: name)
    }

    mutating func remove(_ name: String) {
        guard let old = entries.entry(name, at: name) else { return }
        for index in tables.indices { tables[index].replace(old, by: nil) }
        entries.remove(name, at: name)
    }
}

/// What a cache does with a kind without knowing its type.
protocol CachedKindStorage: Sendable {
    var count: Int { get }
    var revisions: [ResourceKey: Revision] { get }
    func decode(_ document: Document, _ decoder: JSONDecoder) throws(StoreError) -> any AnyCacheEntry
    mutating func insert(_ entry: any AnyCacheEntry)
    mutating func remove(_ name: String)
}

extension Resource {
    static var emptyCache: any CachedKindStorage { CachedKind<Self>() }
}
