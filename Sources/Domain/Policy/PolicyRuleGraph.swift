/// The references between rules, walked once at load to find missing ones, circles, and rules too large to decide.
struct PolicyRuleGraph {
    /// Levels of a rule with those that it refers to written out.
    static let heightMax = 256
    /// Comparisons of a rule with those that it refers to written out: what one decision costs at most.
    static let costMax = 10_000

    /// What deciding a check takes.
    private struct Size {
        var height: Int
        var cost: Int
    }

    private let rules: [String: PolicyRule]
    /// Sizes of the rules that were walked to their end.
    private var sizes: [String: Size] = [:]
    /// The rules being walked, outermost first.
    private var path: [String] = []

    /// Throws `PolicyError` for the first rule, by name, that cannot be decided in bounds.
    static func check(_ rules: [String: PolicyRule]) throws(PolicyError) {
        var graph = PolicyRuleGraph(rules: rules)
        for name in rules.keys.sorted() { _ = try graph.size(ofRule: name, depth: 0) }
    }

    private init(rules: [String: PolicyRule]) { self.rules = rules }

    private mutating func size(ofRule name: String, depth: Int) throws(PolicyError) -> Size {
        if let start = path.firstIndex(of: name) {
            throw PolicyError(rule: name, .circle(path[start...] + [name]))
        }
        guard let rule = rules[name] else { throw PolicyError(rule: path.last, .unknownReference(name)) }
        if let known = sizes[name] { return known }
        path.append(name)
        let size = try size(of: rule.check, depth: depth)
        path.removeLast()
        sizes[name] = size
        return size
    }

    private mutating func size(of check: PolicyCheck, depth: Int) throws(PolicyError) -> Size {
        // Also what keeps this walk itself from going too deep.
        guard depth < Self.heightMax else { throw tooHigh }
        var size = Size(height: 0, cost: 0)
        switch check {
        case .always, .never, .role, .same: size.cost = 1
        case .rule(let name): size = try self.size(ofRule: name, depth: depth + 1)
        case .not(let inner): size = try self.size(of: inner, depth: depth + 1)
        case .all(let checks), .any(let checks):
            for check in checks {
                let inner = try self.size(of: check, depth: depth + 1)
                size.height = max(size.height, inner.height)
                size.cost += inner.cost
            }
        }
        size.height += 1
        guard size.height <= Self.heightMax else { throw tooHigh }
        guard size.cost <= Self.costMax else {
            throw PolicyError(rule: path.last, .tooLarge("\(Self.costMax) comparisons, references included"))
        }
        return size
    }

    private var tooHigh: PolicyError {
        PolicyError(rule: path.last, .tooLarge("\(Self.heightMax) levels, references included"))
    }
}
