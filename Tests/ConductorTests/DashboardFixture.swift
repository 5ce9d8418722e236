import AsyncHTTPClient
import CatalogIdentity
import Foundation
import NIOCore
import NIOHTTP1
import Primitives
import TestSupport
import Testing

/// One event of a stream.
struct SentEvent: Sendable, Hashable {
    var name = ""
    var id: String?
    var data = ""
}

extension FleetFixture {
    struct Answer {
        let status: Int
        let headers: HTTPHeaders
        let body: String
    }

    /// GET as a browser with this cookie does it.
    func page(_ path: String, cookie: String? = nil) async throws -> Answer {
        var request = HTTPClientRequest(url: api + path)
        if let cookie { request.headers.add(name: "Cookie", value: "other=1; \(cookie)") }
        return try await answer(request)
    }

    /// POST of a form.
    func submit(
        _ path: String, _ body: String, cookie: String? = nil, headers: [(String, String)] = []
    ) async throws -> Answer {
        var request = HTTPClientRequest(url: api + path)
        request.method = .POST
        if let cookie { request.headers.add(name: "Cookie", value: cookie) }
        request.headers.add(name: "Content-Type", value: "application/x-www-form-urlencoded")
        request.headers.add(contentsOf: headers)
        request.body = .bytes(ByteBuffer(string: body))
        return try await answer(request)
    }

    private func answer(_ request: HTTPClientRequest) async throws -> Answer {
        // Redirects are what is looked at.
        let client = HTTPClient(configuration: .init(redirectConfiguration: .disallow))
        do {
            let response = try await client.execute(request, timeout: .seconds(20))
            let body = String(buffer: try await response.body.collect(upTo: 4 << 20))
            try await client.shutdown()
            return Answer(status: Int(response.status.code), headers: response.headers, body: body)
        } catch {
            try await client.shutdown()
            throw error
        }
    }

    /// Signs in and returns the cookie.
    func signIn(_ role: OperatorRole) async throws -> String {
        let answer = try await submit("/sign-in", "token=\(tokens[role] ?? "")")
        let header = try #require(answer.headers.first(name: "set-cookie"))
        return String(header.prefix { $0 != ";" })
    }

    /// The first events of a stream, without beats: `count`, or those to the one named `end`. `body` runs after the
    /// first; then the connection is closed.
    func events(
        _ path: String, cookie: String, count: Int = .max, until end: String? = nil, lastEventID: String? = nil,
        _ body: () async throws -> Void = {}
    ) async throws -> [SentEvent] {
        let client = HTTPClient(configuration: .init(redirectConfiguration: .disallow))
        do {
            var request = HTTPClientRequest(url: api + path)
            request.headers.add(name: "Cookie", value: cookie)
            if let lastEventID { request.headers.add(name: "Last-Event-ID", value: lastEventID) }
            let response = try await client.execute(request, timeout: .seconds(60))
            #expect(response.headers.first(name: "content-type") == "text/event-stream; charset=utf-8")
            var events: [SentEvent] = []
            var text = ""
            reading: for try await part in response.body {
                text += String(buffer: part)
                while let range = text.range(of: "\n\n") {
                    let event = Self.event(String(text[..<range.lowerBound]))
                    text.removeSubrange(..<range.upperBound)
                    guard let event, event.name != "beat" else { continue }
                    events.append(event)
                    if events.count == 1 { try await body() }
                    if events.count >= count || event.name == end { break reading }
                }
            }
            try await client.shutdown()
            return events
        } catch {
            try await client.shutdown()
            throw error
        }
    }

    private static func event(_ text: String) -> SentEvent? {
        var event = SentEvent()
        var data: [String] = []
        for line in text.split(separator: "\n", omittingEmptySubsequences: false) {
            if line.hasPrefix("event: ") { event.name = String(line.dropFirst(7)) }
            if line.hasPrefix("id: ") { event.id = String(line.dropFirst(4)) }
            if line.hasPrefix("data: ") { data.append(String(line.dropFirst(6))) }
        }
        event.data = data.joined(separator: "\n")
        return event.name.isEmpty ? nil : event
    }
}

/// Checks that HTML has no element and no attribute but those that pages are made of.
enum HTMLShape {
    private static let elements: Set<String> = [
        "html", "head", "meta", "title", "link", "script", "body", "a", "main", "footer", "header", "img", "span",
        "form", "button", "section", "h1", "h2", "h3", "p", "code", "div", "dl", "dt", "dd", "ol", "ul", "li", "nav",
        "table", "caption", "thead", "tbody", "tr", "th", "td", "time", "label", "input", "progress", "pre", "details",
        "summary", "article", "svg", "rect",
    ]
    private static let attributes: Set<String> = [
        "lang", "charset", "name", "content", "rel", "href", "type", "src", "defer", "class", "id", "role", "alt",
        "width", "height", "method", "action", "value", "for", "autocomplete", "required", "autofocus", "maxlength",
        "spellcheck", "placeholder", "hidden", "readonly", "title", "datetime", "max", "scope", "tabindex", "viewBox",
        "preserveAspectRatio", "x", "y",
    ]

    static func check(_ html: String, _ what: String) throws {
        let tags = html.matches(of: /<(\/?)([a-zA-Z][a-zA-Z0-9]*)((?:[^>"']|"[^"]*"|'[^']*')*)>/)
        #expect(!tags.isEmpty, "\(what)")
        for tag in tags {
            #expect(elements.contains(String(tag.output.2)), "\(what): <\(tag.output.2)>")
            var rest = String(tag.output.3)
            rest = rest.replacing(/"[^"]*"/, with: "")
            for part in rest.split(whereSeparator: { $0 == " " || $0 == "=" }) {
                let isKnown = attributes.contains(String(part)) || part.hasPrefix("data-") || part.hasPrefix("aria-")
                #expect(isKnown, "\(what): \(part) in <\(tag.output.2)>")
            }
        }
        // Every '<' begins one of those, and scripts have no text of their own.
        let rest = html.replacing(/<(\/?)([a-zA-Z][a-zA-Z0-9]*)((?:[^>"']|"[^"]*"|'[^']*')*)>/, with: "")
        #expect(!rest.replacing("<!doctype html>", with: "").contains("<"), "\(what)")
        #expect(html.matches(of: /<script[^>]*>[^<]+/).isEmpty, "\(what)")
        for link in html.matches(of: /(href|src|action)="([^"]*)"/) {
            #expect(link.output.2.hasPrefix("/") && !link.output.2.hasPrefix("//") || link.output.2 == "#content")
        }
        #expect(!html.unicodeScalars.contains { $0 == "\u{202E}" || $0 == "\u{0}" }, "\(what)")
    }
}
