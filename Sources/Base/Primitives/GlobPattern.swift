/// A pattern for a whole text: `*` is any run of characters, `?` any one, `[a-z]` one of a set and `[!a-z]` one that is
/// not; `\` takes the next character as it is. Matching takes at most pattern × text steps, whatever the pattern.
public struct GlobPattern: Hashable, Sendable {
    private enum Token: Hashable {
        case one(Unicode.Scalar)
        case any
        case run
        case set([ClosedRange<Unicode.Scalar>], isNegated: Bool)
    }

    /// The most bytes of a pattern.
    public static let lengthMax = 200

    private let tokens: [Token]

    /// Reads `text`; throws `InvalidValue` for a set that does not end, is empty or runs backwards.
    public init(_ text: String) throws(InvalidValue) {
        let wrong = InvalidValue(
            "pattern", text,
            expected: "1 to \(Self.lengthMax) bytes, in which * is any run, ? any character and [a-z] a set")
        guard (1...Self.lengthMax).contains(text.utf8.count) else { throw wrong }
        var tokens: [Token] = []
        var rest = Array(text.unicodeScalars)[...]
        while let next = rest.popFirst() {
            switch next {
            case "*": if tokens.last != .run { tokens.append(.run) }
            case "?": tokens.append(.any)
            case "[":
                guard let set = Self.set(&rest) else { throw wrong }
                tokens.append(set)
            case "\\":
                guard let escaped = rest.popFirst() else { throw wrong }
                tokens.append(.one(escaped))
            default: tokens.append(.one(next))
            }
        }
        self.tokens = tokens
    }

    /// The set after its `[`; nil when it is not one.
    private static func set(_ rest: inout ArraySlice<Unicode.Scalar>) -> Token? {
        let isNegated = rest.first == "!"
        if isNegated { rest.removeFirst() }
        var ranges: [ClosedRange<Unicode.Scalar>] = []
        while let low = rest.popFirst() {
            if low == "]" { return ranges.isEmpty ? nil : .set(ranges, isNegated: isNegated) }
            guard rest.first == "-", let high = rest.dropFirst().first, high != "]" else {
                ranges.append(low...low)
                continue
            }
            guard low <= high else { return nil }
            rest.removeFirst(2)
            ranges.append(low...high)
        }
        return nil
    }

    /// Whether the whole of `text` fits.
    public func matches(_ text: String) -> Bool {
        let scalars = Array(text.unicodeScalars)
        var (position, token) = (0, 0)
        // Only the last run is ever taken longer: an earlier one that is taken longer gains nothing by it.
        var lastRun: (token: Int, position: Int)?
        while position < scalars.count {
            if token < tokens.count, tokens[token] == .run {
                lastRun = (token, position)
                token += 1
            } else if token < tokens.count, Self.fits(scalars[position], tokens[token]) {
                position += 1
                token += 1
            } else if let run = lastRun {
                lastRun = (run.token, run.position + 1)
                (position, token) = (run.position + 1, run.token + 1)
            } else {
                return false
            }
        }
        return tokens[token...].allSatisfy { $0 == .run }
    }

    private static func fits(_ scalar: Unicode.Scalar, _ token: Token) -> Bool {
        switch token {
        case .one(let wanted): scalar == wanted
        case .any: true
        case .run: false
        case .set(let ranges, let isNegated): ranges.contains { $0.contains(scalar) } != isNegated
        }
    }
}
