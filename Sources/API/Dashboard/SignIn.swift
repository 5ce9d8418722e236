import APISupport
import CatalogIdentity
import FleetContract
import HTTPTypes
import Hummingbird
import Identity
import Logging
import NIOCore
import Primitives
import ResourceModel

extension WebPages {
    func signInPage(_ request: Request, _ context: FleetRequestContext) -> Response {
        let next = Self.target(request.uri.queryParameters["next"].map(String.init))
        if caller(request) != nil { return .seeOther(next) }
        return .page(signInForm(next: next, problem: nil))
    }

    /// Opens a session for the token of the form. The token itself never reaches the browser again.
    func signIn(_ request: Request, _ context: FleetRequestContext) async throws -> Response {
        try Self.requireSameOrigin(request)
        let body: ByteBuffer
        do { body = try await request.wholeBody(upTo: Self.formSizeMax) } catch is NIOTooManyBytesError {
            throw APIError(.contentTooLarge, "too_large", "The form is too large.")
        }
        let form = Form(String(buffer: body))
        let next = Self.target(form["next"])
        let token = (form["token"] ?? "").filter { !$0.isWhitespace }
        guard let (cookie, caller) = sessions.open(token: token) else {
            context.logger.warning("sign-in refused", metadata: ["from": .string(context.remoteAddress ?? "-")])
            let problem =
                "This is not a valid operator's token. The conductor's first one is in the file operator.token of its "
                + "state directory."
            return .page(signInForm(next: next, problem: problem), status: .forbidden)
        }
        context.caller = caller
        try await audit.record(
            AuditEventSpec(
                who: context.principal.description, from: context.remoteAddress, requestID: context.requestID,
                verb: "sign in", resource: OperatorToken.key(caller.name), outcome: .ok, summary: "with a browser"))
        if let former = BrowserSessions.cookie(in: request.headers[.cookie]) { sessions.close(cookie: former) }
        var response = Response.seeOther(next)
        response.headers[.setCookie] = BrowserSessions.setCookie(cookie)
        return response
    }

    func signOut(_ request: Request) throws -> Response {
        try Self.requireSameOrigin(request)
        if let cookie = BrowserSessions.cookie(in: request.headers[.cookie]) { sessions.close(cookie: cookie) }
        var response = Response.seeOther("/sign-in")
        response.headers[.setCookie] = BrowserSessions.setCookie("")
        return response
    }

    /// Refuses forms that another site's page has sent (Fetch Metadata, and RFC 6454 section 7).
    private static func requireSameOrigin(_ request: Request) throws {
        let site = request.headers[.fetchSite]
        let origin = request.headers[.origin].map { $0.split(separator: "/").last.map(String.init) ?? "" }
        let isSameSite = site == nil || site == "same-origin" || site == "none"
        guard isSameSite, origin == nil || origin == request.head.authority else {
            throw APIError(.forbidden, "other_origin", "This form came from another site; open the page itself.")
        }
    }

    /// Where to go after signing in: a page of this server and nothing else.
    static func target(_ wanted: String?) -> String {
        guard let wanted, wanted.hasPrefix("/nodes/") else { return "/" }
        let name = wanted.dropFirst("/nodes/".count)
        let isPlain = name.utf8.allSatisfy { byte in
            switch byte {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "."):
                true
            default: false
            }
        }
        return isPlain && (1...64).contains(name.utf8.count) ? wanted : "/"
    }

    private func signInForm(next: String, problem: String?) -> Page {
        let content = tag("section", ["class": "panel narrow"]) {
            tag("h1") { "Sign in" }
            if let problem { tag("p", ["class": "problem", "role": "alert", "id": "problem"]) { problem } }
            tag("form", ["method": "post", "action": "/sign-in", "class": "sign-in"]) {
                tag("input", ["type": "hidden", "name": "next", "value": next])
                // For password managers, which keep a token under a name.
                tag(
                    "input",
                    [
                        "type": "text", "name": "username", "value": "operator", "autocomplete": "username",
                        "hidden": "", "readonly": "",
                    ])
                tag("label", ["for": "token"]) { "Operator's token" }
                tag(
                    "input",
                    [
                        "id": "token", "name": "token", "type": "password", "autocomplete": "current-password",
                        "required": "", "autofocus": "", "maxlength": "256", "spellcheck": "false",
                        "aria-describedby": problem == nil ? "hint" : "problem hint",
                    ])
                tag("p", ["class": "hint", "id": "hint"]) {
                    "The first one is in "
                    tag("code") { "operator.token" }
                    " in the conductor's state directory."
                }
                tag("button", ["type": "submit", "class": "primary"]) { "Sign in" }
            }
        }
        return Page(title: "Sign in", kind: "plain", version: version, content: content)
    }
}

/// The fields of a form (WHATWG URL, section 5.1); of two with one name the first counts.
struct Form {
    private var fields: [String: String] = [:]

    init(_ body: String) {
        for pair in body.split(separator: "&").prefix(16) {
            let parts = pair.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
            let name = Self.decoded(parts[0])
            if fields[name] == nil { fields[name] = parts.count > 1 ? Self.decoded(parts[1]) : "" }
        }
    }

    subscript(name: String) -> String? { fields[name] }

    private static func decoded(_ text: Substring) -> String {
        var bytes: [UInt8] = []
        var rest = Array(text.utf8)[...]
        while let byte = rest.popFirst() {
            if byte == UInt8(ascii: "%"), rest.count >= 2,
                let value = Hex.decode(String(decoding: rest.prefix(2), as: UTF8.self)), value.count == 1
            {
                bytes += value
                rest = rest.dropFirst(2)
            } else {
                bytes.append(byte == UInt8(ascii: "+") ? UInt8(ascii: " ") : byte)
            }
        }
        return String(decoding: bytes, as: UTF8.self)
    }
}
