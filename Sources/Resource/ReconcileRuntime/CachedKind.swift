import FoundationEssentials
import Primitives
import ResourceModel

/// A decoded document; a class, so that inserting moves pointers only.
final class CacheEntry<R: Resource>: AnyCacheEntry {
    let document: Document
    let value: R

    init(_ document: Document) throws(StoreError) {
        self.document = document
        do {
            value = try JSONDecoder().decode(R.self, from: Data(document.value))
        } catch {
            throw .undecodable(document.key, "\(error)".printable(limit: 300))
        }
    }
}

/// A decoded document of any kind.
protocol AnyCacheEntry: AnyObject, Sendable {
    var document: Document { get }
}

/// All resources of one kind in order of their names.
struct CachedKind<R: Resource>: CachedKindStorage {
    private var entries: [CacheEntry<R>] = []

    var all: [R] { entries.map(\.value) }
    var count: Int { entries.count }
    var revisions: [ResourceKey: Revision] {
        Dictionary(entries.map { ($0.document.key, $0.document.revision) }) { first, _ in first }
    }

    func value(_ name: String) -> R? { entry(name)?.value }
    func document(_ name: String) -> Document? { entry(name)?.document }

    func decode(_ document: Document) throws(StoreError) -> any AnyCacheEntry { try CacheEntry<R>(document) }

    mutating func insert(_ entry: any AnyCacheEntry) {
        guard let entry = entry as? CacheEntry<R> else { return }
        let index = position(of: entry.document.key.name)
        if index < entries.count, entries[index].document.key == entry.document.key {
            entries[index] = entry
        } else {
            entries.insert(entry, at: index)
        }
    }

    mutating func remove(_ name: String) {
        let index = position(of: name)
        guard index < entries.count, entries[index].document.key.name == name else { return }
        entries.remove(at: index)
    }

    private func entry(_ name: String) -> CacheEntry<R>? {
        let index = position(of: name)
        guard index < entries.count, entries[index].document.key.name == name else { return nil }
        return entries[index]
    }

    private func position(of name: String) -> Int {
        var low = 0
        var high = entries.count
        while low < high {
            let middle = (low + high) / 2
            if entries[middle].document.key.name < name { low = middle + 1 } else { high = middle }
        }
        return low
    }
}

/// What a cache does with a kind without knowing its type.
protocol CachedKindStorage: Sendable {
    var count: Int { get }
    var revisions: [ResourceKey: Revision] { get }
    func decode(_ document: Document) throws(StoreError) -> any AnyCacheEntry
    mutating func insert(_ entry: any AnyCacheEntry)
    mutating func remove(_ name: String)
}

extension Resource {
    static var emptyCache: any CachedKindStorage { CachedKind<Self>() }
}
