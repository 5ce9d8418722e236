import ResourceModel

/// Decoded documents in order of a key, then of their names; see `OrderedPieces`.
struct OrderedEntries<R: Resource>: Sendable {
    private var pieces = OrderedPieces()

    var count: Int { pieces.count }
    /// How many entries have been taken out.
    var removalCount: UInt64 { pieces.removalCount }

    /// Puts `entry` under `key`, in place of the one that has its name there.
    mutating func insert(_ entry: CacheEntry<R>, at key: String) {
        pieces.insert(OrderedPieces.Item(key: key, name: entry.document.key.name, thing: entry))
    }

    /// Takes the entry with this name out from under `key`; nothing happens when there is none.
    mutating func remove(_ name: String, at key: String) { pieces.remove(name, at: key) }

    /// The entry with this name under `key`.
    func entry(_ name: String, at key: String) -> CacheEntry<R>? {
        guard let found = pieces.item(at: pieces.place(key, name)), found.key == key, found.name == name else {
            return nil
        }
        return entry(of: found)
    }

    /// All entries under `key`, in order of their names.
    func entries(at key: String) -> [CacheEntry<R>] {
        var found: [CacheEntry<R>] = []
        var place = pieces.place(key, "")
        while let item = pieces.item(at: place), item.key == key {
            found.append(entry(of: item))
            place = pieces.place(after: place)
        }
        return found
    }

    /// Whether there is an entry under `key`.
    func hasEntries(at key: String) -> Bool { pieces.item(at: pieces.place(key, "")).map { $0.key == key } ?? false }

    /// The first `limit` entries that `isWanted`, of those after the one with this key and name; nil: from the first on.
    func entries(after last: (key: String, name: String)?, limit: Int, _ isWanted: (R) -> Bool) -> [CacheEntry<R>] {
        var found: [CacheEntry<R>] = []
        var place = last.map { pieces.place($0.key, $0.name) } ?? OrderedPieces.Place(piece: 0, item: 0)
        if let last, let item = pieces.item(at: place), item.key == last.key, item.name == last.name {
            place = pieces.place(after: place)
        }
        while found.count < limit, let item = pieces.item(at: place) {
            let entry = entry(of: item)
            if isWanted(entry.value) { found.append(entry) }
            place = pieces.place(after: place)
        }
        return found
    }

    /// Calls `body` with each entry in order.
    func forEach(_ body: (CacheEntry<R>) throws -> Void) rethrows { try pieces.forEach { try body(entry(of: $0)) } }

    private func entry(of item: OrderedPieces.Item) -> CacheEntry<R> {
        // SAFETY: `insert` alone puts things in, and only entries of this type.
        unsafeDowncast(item.thing, to: CacheEntry<R>.self)
    }
}

/// Things in order of a key, then of their names, in pieces of bounded length.
///
/// A change finds its place in logarithmic time and touches one piece, also when somebody else holds a copy: the copy
/// keeps all other pieces in common. So neither a change nor a snapshot costs more the more things there are. What they
/// are is not known here: code for one type finds a place several times as fast as code for any.
private struct OrderedPieces: Sendable {
    struct Item: Sendable {
        let key: String
        let name: String
        let thing: any AnyObject & Sendable
    }

    /// In order; none is empty.
    private var pieces: [[Item]] = []
    private(set) var count = 0
    /// How many things have been taken out.
    private(set) var removalCount: UInt64 = 0

    /// The most things of a piece; a longer one is cut in two.
    private static var pieceCountMax: Int { 128 }

    /// Where a thing is or would be.
    struct Place {
        var piece: Int
        var item: Int
    }

    /// Puts `item` in the place of the one that has its key and name.
    mutating func insert(_ item: Item) {
        guard !pieces.isEmpty else {
            pieces = [[item]]
            count = 1
            return
        }
        var place = place(item.key, item.name)
        if let found = self.item(at: place), found.key == item.key, found.name == item.name {
            pieces[place.piece][place.item] = item
            return
        }
        if place.piece == pieces.count { place = Place(piece: pieces.count - 1, item: pieces[pieces.count - 1].count) }
        pieces[place.piece].insert(item, at: place.item)
        count += 1
        let length = pieces[place.piece].count
        guard length > Self.pieceCountMax else { return }
        let rest = Array(pieces[place.piece][(length / 2)...])
        pieces[place.piece].removeLast(rest.count)
        pieces.insert(rest, at: place.piece + 1)
    }

    /// Takes the thing with this name out from under `key`; nothing happens when there is none.
    mutating func remove(_ name: String, at key: String) {
        let place = place(key, name)
        guard let found = item(at: place), found.key == key, found.name == name else { return }
        pieces[place.piece].remove(at: place.item)
        if pieces[place.piece].isEmpty { pieces.remove(at: place.piece) }
        count -= 1
        removalCount += 1
    }

    /// Calls `body` with each thing in order.
    func forEach(_ body: (Item) throws -> Void) rethrows {
        for piece in pieces { for item in piece { try body(item) } }
    }

    func item(at place: Place) -> Item? {
        guard place.piece < pieces.count, place.item < pieces[place.piece].count else { return nil }
        return pieces[place.piece][place.item]
    }

    func place(after place: Place) -> Place {
        let isLast = place.item + 1 == pieces[place.piece].count
        return isLast ? Place(piece: place.piece + 1, item: 0) : Place(piece: place.piece, item: place.item + 1)
    }

    /// The first place whose key and name are not before these.
    func place(_ key: String, _ name: String) -> Place {
        let piece = Self.first(in: pieces.count) { !Self.isBefore(pieces[$0][pieces[$0].count - 1], key, name) }
        guard piece < pieces.count else { return Place(piece: piece, item: 0) }
        let items = pieces[piece]
        return Place(
            piece: piece, item: Self.first(in: items.count) { !Self.isBefore(items[$0], key, name) })
    }

    private static func isBefore(_ item: Item, _ key: String, _ name: String) -> Bool {
        item.key != key ? item.key < key : item.name < name
    }

    /// The first number below `count` that is `isReached`, else `count`; numbers after a reached one are reached too.
    private static func first(in count: Int, _ isReached: (Int) -> Bool) -> Int {
        var (low, high) = (0, count)
        while low < high {
            let middle = (low + high) / 2
            if isReached(middle) { high = middle } else { low = middle + 1 }
        }
        return low
    }
}
