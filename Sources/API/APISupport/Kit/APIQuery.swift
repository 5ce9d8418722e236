import Primitives

/// The parameters of a query in their order; a name may stand there more than once.
public struct APIQuery: Sendable {
    /// The most parameters; more are an error.
    public static let countMax = 64
    /// Names and values, decoded.
    public let items: [(name: String, value: String)]

    /// Parses the part of a URI after the question mark; throws `APIError` 400 for wrong escapes and too many parameters.
    public init(_ text: some StringProtocol) throws(APIError) {
        var items: [(String, String)] = []
        for pair in text.split(separator: "&") {
            let parts = pair.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
            guard let name = parts[0].percentDecoded(plusIsSpace: true),
                let value = parts.count == 2 ? parts[1].percentDecoded(plusIsSpace: true) : ""
            else {
                throw .badRequest(
                    "The query has '\(String(pair).printable(limit: 80))', which is not percent-encoded UTF-8.")
            }
            items.append((name, value))
        }
        guard items.count <= Self.countMax else {
            throw .badRequest("The query has \(items.count) parameters; at most \(Self.countMax) are taken.")
        }
        self.items = items
    }

    /// The first value of `name`; nil: it does not stand there.
    public subscript(name: String) -> String? { items.first { $0.name == name }?.value }

    /// Whether `name` stands there and is not said to be false: `?effective`, `?effective=1`, not `?effective=0`.
    public func flag(_ name: String) -> Bool {
        self[name].map { !["0", "false", "no", "off", "n", "f"].contains($0.lowercased()) } ?? false
    }
}
