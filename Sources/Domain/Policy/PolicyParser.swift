/// Reads the rule language of OpenStack's policy files (oslo.policy): `and`, `or` and `not` in any case, parentheses,
/// `@`, `!`, and comparisons such as `role:admin` or `user_id:%(target.user.id)s`.
///
/// `not` binds closest, then `and`, then `or`. Words end at white space; an empty text allows. Where oslo.policy makes
/// a rule that it cannot read deny (or fail at the first request), this says what is wrong, where.
struct PolicyParser {
    /// Characters of one check.
    static let lengthMax = 16_384
    /// Parentheses and `not`s in each other.
    static let nestingMax = 64

    private enum Word: Equatable {
        case open, close, and, or, not
        case check(String)
    }

    private let rule: String?
    private var words: [(word: Word, position: Int)] = []
    private var index = 0
    private var nesting = 0
    private let end: Int

    /// Parses `text`, the check of `rule`.
    static func parse(_ text: String, rule: String?) throws(PolicyError) -> PolicyCheck {
        if text.isEmpty { return .always }
        let characters = Array(text.prefix(lengthMax + 1))
        guard characters.count <= lengthMax else {
            throw PolicyError(rule: rule, .tooLarge("\(lengthMax) characters"))
        }
        var parser = PolicyParser(characters, rule: rule)
        let check = try parser.either()
        guard let extra = parser.next else { return check }
        throw parser.error(at: extra.position, "'and', 'or' or the end")
    }

    private init(_ characters: [Character], rule: String?) {
        self.rule = rule
        end = characters.count + 1
        var start = 0
        while start < characters.count {
            guard !characters[start].isWhitespace else {
                start += 1
                continue
            }
            let stop = characters[start...].firstIndex(where: \.isWhitespace) ?? characters.count
            addWords(characters[start..<stop])
            start = stop
        }
    }

    /// Parentheses count at a word's ends only, because `%(name)s` has them within.
    private mutating func addWords(_ run: ArraySlice<Character>) {
        let afterOpening = run.firstIndex { $0 != "(" } ?? run.endIndex
        for position in run.startIndex..<afterOpening { words.append((.open, position + 1)) }
        let core = run[afterOpening...]
        let closing = core.lastIndex { $0 != ")" }.map { $0 + 1 } ?? core.startIndex
        if closing > core.startIndex {
            let text = String(core[..<closing])
            let word: Word =
                switch text.lowercased() {
                case "and": .and
                case "or": .or
                case "not": .not
                default: .check(text)
                }
            words.append((word, core.startIndex + 1))
        }
        for position in closing..<core.endIndex { words.append((.close, position + 1)) }
    }

    private var next: (word: Word, position: Int)? { index < words.count ? words[index] : nil }

    private func error(at position: Int, _ expected: String) -> PolicyError {
        PolicyError(rule: rule, .syntax(position: position, expected: expected))
    }

    private mutating func take(_ word: Word) -> Bool {
        guard next?.word == word else { return false }
        index += 1
        return true
    }

    private mutating func either() throws(PolicyError) -> PolicyCheck {
        var checks = [try both()]
        while take(.or) { checks.append(try both()) }
        return checks.count == 1 ? checks[0] : .any(checks)
    }

    private mutating func both() throws(PolicyError) -> PolicyCheck {
        var checks = [try one()]
        while take(.and) { checks.append(try one()) }
        return checks.count == 1 ? checks[0] : .all(checks)
    }

    private mutating func one() throws(PolicyError) -> PolicyCheck {
        guard let (word, position) = next else {
            throw error(at: end, "a check such as role:admin, or @ to allow everybody")
        }
        index += 1
        switch word {
        case .check(let text):
            return try PolicyWordReader(text, position: position, rule: rule).read()
        case .not:
            return .not(try nested { (parser) throws(PolicyError) in try parser.one() })
        case .open:
            let inner = try nested { (parser) throws(PolicyError) in try parser.either() }
            guard take(.close) else {
                throw error(at: next?.position ?? end, "')' for the '(' at character \(position)")
            }
            return inner
        case .close, .and, .or:
            throw error(at: position, "a check such as role:admin")
        }
    }

    private mutating func nested(
        _ read: (inout PolicyParser) throws(PolicyError) -> PolicyCheck
    ) throws(PolicyError) -> PolicyCheck {
        guard nesting < Self.nestingMax else {
            throw PolicyError(rule: rule, .tooLarge("\(Self.nestingMax) levels of parentheses and 'not'"))
        }
        nesting += 1
        let check = try read(&self)
        nesting -= 1
        return check
    }
}

extension PolicyCheck {
    /// Parses the rule language; throws `PolicyError` with the position of what cannot be read.
    public init(parsing text: String) throws(PolicyError) {
        self = try PolicyParser.parse(text, rule: nil)
    }
}
