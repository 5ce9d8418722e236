import CatalogIdentity
import Identity
import Primitives
import ResourceModel
import Synchronization

/// Parts of answers as JSON text, encoded once for as long as nothing of them changes.
final class EncodedAnswers: Sendable {
    /// The most tokens whose answers are kept.
    static let tokenCountMax = 20_000

    /// A token as somebody is shown it.
    struct TokenForm: Hashable {
        var text: String
        var base: String
        var hasCatalog: Bool
    }

    private struct Tokens {
        var revision = Revision.zero
        var texts: [TokenForm: [UInt8]] = [:]
    }

    private let lists = Mutex<[String: any Sendable]>([:])
    private let tokens = Mutex(Tokens())

    /// The entries of the noun at `path`.
    func entries<Spec: IdentitySpec>(of type: Spec.Type, _ path: String) -> EncodedEntries<Spec> {
        lists.withLock { lists in
            if let known = lists[path] as? EncodedEntries<Spec> { return known }
            let made = EncodedEntries<Spec>()
            lists[path] = made
            return made
        }
    }

    /// The answer about a token as of `revision`, which `make` is asked for when it is not known.
    func token(_ form: TokenForm, at revision: Revision, _ make: () -> [UInt8]) -> [UInt8] {
        let known = tokens.withLock { $0.revision == revision ? $0.texts[form] : nil }
        if let known { return known }
        let text = make()
        tokens.withLock { tokens in
            if tokens.revision < revision || tokens.texts.count >= Self.tokenCountMax {
                tokens = Tokens(revision: max(revision, tokens.revision))
            }
            if tokens.revision == revision { tokens.texts[form] = text }
        }
        return text
    }
}

/// The entries of one noun as elements of lists; each is encoded anew once it is not the same any more.
final class EncodedEntries<Spec: IdentitySpec>: Sendable {
    typealias Entry = IdentityEntry<Spec>

    /// The most entries that are kept.
    static var entryCountMax: Int { 50_000 }

    private struct State {
        /// The service's address in the texts.
        var base = ""
        var texts: [String: (entry: Entry, text: [UInt8])] = [:]
    }

    private let state = Mutex(State())

    /// `frame`, in which the first empty array gets the `entries`; `encode` is asked for those that are not known.
    func fill(_ frame: [UInt8], with entries: some Sequence<Entry>, base: String, _ encode: (Entry) -> [UInt8])
        -> [UInt8]
    {
        // A string cannot hold it: its quotes would be escaped.
        guard let place = frame.firstRange(of: Array("\":[".utf8))?.upperBound else { return frame }
        return state.withLock { state in
            if state.base != base || state.texts.count >= Self.entryCountMax { state = State(base: base) }
            var list = Array(frame[..<place])
            var isFirst = true
            for entry in entries {
                if !isFirst { list.append(UInt8(ascii: ",")) }
                isFirst = false
                if let known = state.texts[entry.id], known.entry == entry {
                    list += known.text
                } else {
                    let text = encode(entry)
                    state.texts[entry.id] = (entry, text)
                    list += text
                }
            }
            return list + frame[place...]
        }
    }
}
