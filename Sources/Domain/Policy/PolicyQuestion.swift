import Primitives

/// One request, asked of checks: who, and what is acted upon.
struct PolicyQuestion {
    let rules: [String: PolicyRule]
    let who: PolicyCredentials
    let target: PolicyTarget

    func holds(_ check: PolicyCheck) -> Bool {
        switch check {
        case .always: return true
        case .never: return false
        case .role(let text): return hasRole(text)
        case .rule(let name):
            guard let rule = rules[name] else { return false }
            return holds(rule.check)
        case .same(let left, let right): return isSame(left, right)
        case .not(let inner): return !holds(inner)
        // Loops, since a closure would copy this question's two dozen references for each check.
        case .all(let checks):
            for inner in checks where !holds(inner) { return false }
            return true
        case .any(let checks):
            for inner in checks where holds(inner) { return true }
            return false
        }
    }

    private func hasRole(_ text: PolicyText) -> Bool {
        guard case .text(let name) = value(of: text) else { return false }
        return who.roles.contains { $0.isEqualIgnoringCase(name) }
    }

    private func isSame(_ left: PolicySubject, _ right: PolicyText) -> Bool {
        guard let right = value(of: right) else { return false }
        switch left {
        case .null: return right == .null
        case .text(let text): return right == .text(text)
        case .attribute(let attribute):
            guard let value = attribute.value(of: who) else { return false }
            if case .array(let elements) = value { return elements.contains { Compared($0) == right } }
            return Compared(value) == right
        }
    }

    /// A right side with the target's members in it; nil when one of them is missing, or is a list or an object.
    func value(of text: PolicyText) -> Compared? {
        switch text {
        case .text(let text): return .text(text)
        case .null: return .null
        case .target(let path): return target[path].flatMap(Compared.init)
        case .joined(let pieces):
            var joined = ""
            for piece in pieces {
                guard let value = value(of: piece) else { return nil }
                joined += value.description
            }
            return .text(joined)
        }
    }

    /// A value as the rule language compares it: null, or text that Python would print for it.
    enum Compared: Hashable, CustomStringConvertible {
        case null
        case text(String)

        init?(_ value: JSONValue) {
            switch value {
            case .null: self = .null
            case .bool(let value): self = .text(value ? "True" : "False")
            case .integer(let value): self = .text(String(value))
            case .unsigned(let value): self = .text(String(value))
            case .number(let value): self = .text(String(value))
            case .string(let value): self = .text(value)
            case .array, .object: return nil
            }
        }

        var description: String {
            switch self {
            case .null: "None"
            case .text(let text): text
            }
        }
    }
}

extension String {
    /// Whether both are the same name but for case; without an allocation when both are ASCII.
    func isEqualIgnoringCase(_ other: String) -> Bool {
        var left = utf8.makeIterator()
        var right = other.utf8.makeIterator()
        while true {
            switch (left.next(), right.next()) {
            case (nil, nil): return true
            case (let one?, let two?) where one < 0x80 && two < 0x80:
                if one.lowercasedASCII != two.lowercasedASCII { return false }
            case (let one, let two):
                if one ?? 0x80 < 0x80, two ?? 0x80 < 0x80 { return false }
                return lowercased() == other.lowercased()
            }
        }
    }
}

extension UInt8 {
    fileprivate var lowercasedASCII: UInt8 { (0x41...0x5A).contains(self) ? self | 0x20 : self }
}
