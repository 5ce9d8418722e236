import Primitives

/// HTML that is safe to send: it can only be made of elements that this module names and of texts that are escaped.
struct Markup: Sendable, Hashable {
    /// The HTML.
    private(set) var html: String

    /// Nothing.
    static let empty = Markup(html: "")

    private init(html: String) { self.html = html }

    /// `text` as people shall see it, whatever is in it.
    init(_ text: String) { html = Self.escaped(text) }

    /// An element; an attribute without a value is left out, one with an empty value stands alone.
    init(
        _ name: StaticString, _ attributes: KeyValuePairs<StaticString, String?> = [:], content: Markup = .empty
    ) {
        var html = "<\(name)"
        for (attribute, value) in attributes {
            guard let value else { continue }
            html += value.isEmpty ? " \(attribute)" : " \(attribute)=\"\(Self.escaped(value))\""
        }
        html += ">"
        if !Self.voids.contains("\(name)") { html += "\(content.html)</\(name)>" }
        self.html = html
    }

    /// A document of HTML (WHATWG HTML, section 13.1).
    static func document(_ content: Markup) -> Markup { Markup(html: "<!doctype html>\n" + content.html + "\n") }

    static func + (left: Markup, right: Markup) -> Markup { Markup(html: left.html + right.html) }

    /// The elements that have no end tag.
    private static let voids: Set<String> = ["br", "hr", "img", "input", "link", "meta"]

    /// Escapes what has a meaning in texts and in quoted attributes; what cannot be seen becomes U+FFFD, so that no
    /// name can turn the direction of what stands beside it.
    private static func escaped(_ text: String) -> String {
        var result = ""
        result.reserveCapacity(text.utf8.count)
        for scalar in text.unicodeScalars {
            switch scalar {
            case "&": result += "&amp;"
            case "<": result += "&lt;"
            case ">": result += "&gt;"
            case "\"": result += "&quot;"
            case "'": result += "&#39;"
            case "\n", "\t": result.unicodeScalars.append(scalar)
            default:
                let isSeen = scalar.value >= 0x20 && scalar.value < 0x7F || String(scalar).hasOnlyPrintableScalars
                result.unicodeScalars.append(isSeen ? scalar : "\u{FFFD}")
            }
        }
        return result
    }
}

/// Joins elements and texts.
@resultBuilder
enum MarkupBuilder {
    static func buildExpression(_ markup: Markup) -> Markup { markup }
    static func buildExpression(_ markup: Markup?) -> Markup { markup ?? .empty }
    static func buildExpression(_ text: String) -> Markup { Markup(text) }
    static func buildBlock(_ parts: Markup...) -> Markup { parts.reduce(.empty, +) }
    static func buildOptional(_ part: Markup?) -> Markup { part ?? .empty }
    static func buildEither(first part: Markup) -> Markup { part }
    static func buildEither(second part: Markup) -> Markup { part }
    static func buildArray(_ parts: [Markup]) -> Markup { parts.reduce(.empty, +) }
}

/// An element with what is in it.
func tag(
    _ name: StaticString, _ attributes: KeyValuePairs<StaticString, String?> = [:],
    @MarkupBuilder _ content: () -> Markup = { .empty }
) -> Markup { Markup(name, attributes, content: content()) }

/// Elements and texts one after the other.
func group(@MarkupBuilder _ content: () -> Markup) -> Markup { content() }
