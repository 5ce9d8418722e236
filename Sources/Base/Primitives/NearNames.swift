extension Sequence<String> {
    /// The names that are most like `name`, the nearest first: at most `count`, of which each is changed into it by few
    /// letters for its length, or begins with it.
    public func nearest(to name: String, count: Int = 3) -> [String] {
        let wanted = Array(name.lowercased().unicodeScalars.prefix(100))
        guard !wanted.isEmpty else { return [] }
        var found: [(distance: Int, name: String)] = []
        for candidate in self {
            let letters = Array(candidate.lowercased().unicodeScalars.prefix(100))
            let limit = letters.starts(with: wanted) ? Int.max : Swift.max(1, wanted.count / 3)
            guard abs(letters.count - wanted.count) <= limit else { continue }
            let distance = TextDistance.between(letters, wanted)
            if distance <= limit { found.append((distance, candidate)) }
        }
        return found.sorted { ($0.distance, $0.name) < ($1.distance, $1.name) }.prefix(count).map(\.name)
    }
}

/// How far texts are from each other.
public enum TextDistance {
    /// How many letters have to be put in, taken out or changed (Levenshtein).
    public static func between(_ left: [Unicode.Scalar], _ right: [Unicode.Scalar]) -> Int {
        var row = Array(0...right.count)
        for (index, letter) in left.enumerated() {
            var diagonal = row[0]
            row[0] = index + 1
            for column in right.indices {
                let cost = diagonal + (letter == right[column] ? 0 : 1)
                diagonal = row[column + 1]
                row[column + 1] = min(cost, diagonal + 1, row[column] + 1)
            }
        }
        return row[right.count]
    }
}
