import Synchronization

/// The names that machines are just being given, so that those of one moment do not all try for one number.
///
/// The marks in the store are what keeps two machines from having one name; this only spares tries that would fail.
final class NamesUnderWay: Sendable {
    private let names = Mutex<[String: Int]>([:])

    /// A name that is under way for as long as this is held.
    final class Hold: Sendable {
        private let owner: NamesUnderWay
        private let name: String

        init(_ owner: NamesUnderWay, _ name: String) {
            self.owner = owner
            self.name = name
        }

        deinit { owner.release(name) }
    }

    /// Chooses a name while nobody else does; `choice` asks which names are under way.
    func choose(_ choice: ((String) -> Bool) -> NodeNaming.Outcome) -> (NodeNaming.Outcome, Hold) {
        let outcome = names.withLock { names in
            let known = names
            let outcome = choice { known[$0] != nil }
            names[outcome.name, default: 0] += 1
            return outcome
        }
        return (outcome, Hold(self, outcome.name))
    }

    private func release(_ name: String) {
        names.withLock { names in
            let left = (names[name] ?? 1) - 1
            names[name] = left > 0 ? left : nil
        }
    }
}
