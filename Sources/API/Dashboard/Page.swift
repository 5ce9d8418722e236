import HTTPTypes
import Hummingbird
import NIOCore
import Primitives

/// The frame of every page.
struct Page: Sendable {
    var title: String
    /// Tells the script what to do: `fleet`, `node` or `plain`.
    var kind: String
    /// Where the page's changes come from.
    var live: String?
    /// Who looks at it; nil: nobody has signed in.
    var operatorName: String?
    var version: String
    var content: Markup

    var markup: Markup {
        .document(
            tag("html", ["lang": "en"]) {
                tag("head") {
                    tag("meta", ["charset": "utf-8"])
                    tag("meta", ["name": "viewport", "content": "width=device-width, initial-scale=1"])
                    tag("meta", ["name": "color-scheme", "content": "light dark"])
                    tag("title") { "\(title) · Muster" }
                    tag("link", ["rel": "icon", "href": Asset.icon.path, "type": Asset.icon.contentType])
                    tag("link", ["rel": "stylesheet", "href": Asset.stylesheet.path])
                    tag("script", ["src": Asset.script.path, "defer": ""])
                }
                tag("body", ["data-page": kind, "data-live": live]) {
                    tag("a", ["class": "skip", "href": "#content"]) { "Skip to the content" }
                    header
                    tag("main", ["id": "content"]) { content }
                    tag("footer") { "Muster \(version) · times are UTC" }
                }
            })
    }

    private var header: Markup {
        tag("header", ["class": "top"]) {
            tag("a", ["class": "brand", "href": "/"]) {
                tag("img", ["src": Asset.icon.path, "alt": "", "width": "20", "height": "20"])
                "Muster"
            }
            if let operatorName {
                if live != nil {
                    tag("span", ["id": "live", "class": "live", "role": "status"]) { "Not live" }
                }
                tag("span", ["class": "who"]) { operatorName }
                tag("form", ["method": "post", "action": "/sign-out"]) {
                    tag("button", ["type": "submit", "class": "quiet"]) { "Sign out" }
                }
            }
        }
    }
}

extension Response {
    /// What every answer of the pages says to browsers: nothing from elsewhere, nothing inline, no frame, no memory.
    static let pageHeaders: HTTPFields = [
        .contentSecurityPolicy:
            "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
            + "form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
        .xContentTypeOptions: "nosniff",
        .referrerPolicy: "same-origin",
        .crossOriginOpenerPolicy: "same-origin",
        .crossOriginResourcePolicy: "same-origin",
        .permissionsPolicy: "camera=(), geolocation=(), microphone=()",
        .cacheControl: "no-store",
    ]

    /// A page.
    static func page(_ page: Page, status: HTTPResponse.Status = .ok) -> Response {
        var headers = pageHeaders
        headers[.contentType] = "text/html; charset=utf-8"
        return Response(
            status: status, headers: headers, body: ResponseBody(byteBuffer: ByteBuffer(string: page.markup.html)))
    }

    /// Go there with GET (RFC 9110 section 15.4.4).
    static func seeOther(_ path: String) -> Response {
        var headers = pageHeaders
        headers[.location] = path
        return Response(status: .seeOther, headers: headers)
    }

    /// A text without a page around it.
    static func plain(_ text: String, status: HTTPResponse.Status) -> Response {
        var headers = pageHeaders
        headers[.contentType] = "text/plain; charset=utf-8"
        return Response(status: status, headers: headers, body: ResponseBody(byteBuffer: ByteBuffer(string: text)))
    }
}

extension HTTPField.Name {
    static let referrerPolicy = HTTPField.Name("Referrer-Policy")!
    static let crossOriginOpenerPolicy = HTTPField.Name("Cross-Origin-Opener-Policy")!
    static let permissionsPolicy = HTTPField.Name("Permissions-Policy")!
    static let fetchSite = HTTPField.Name("Sec-Fetch-Site")!
    static let lastEventID = HTTPField.Name("Last-Event-ID")!
}

/// A file that pages ask for; its name carries its digest, so that browsers may keep it.
struct Asset: Sendable {
    let path: String
    let contentType: String
    let bytes: [UInt8]

    static let stylesheet = Asset("dashboard", "css", "text/css; charset=utf-8", PackageResources.dashboard_css)
    static let script = Asset("dashboard", "js", "text/javascript; charset=utf-8", PackageResources.dashboard_js)
    static let icon = Asset("icon", "svg", "image/svg+xml", PackageResources.icon_svg)
    static let all = [stylesheet, script, icon]

    private init(_ name: String, _ suffix: String, _ contentType: String, _ bytes: [UInt8]) {
        // Tells one release's file from the next; nothing relies on it.
        path = "/assets/\(name)-\(String(StableHash.of(bytes), radix: 16)).\(suffix)"
        self.contentType = contentType
        self.bytes = bytes
    }

    var response: Response {
        var headers = Response.pageHeaders
        headers[.contentType] = contentType
        headers[.cacheControl] = "public, max-age=31536000, immutable"
        return Response(status: .ok, headers: headers, body: ResponseBody(byteBuffer: ByteBuffer(bytes: bytes)))
    }
}
