import APISupport
import HTTPTypes
import Hummingbird
import NIOCore
import Primitives

extension ServiceConformance {
    static var inputChecks: [Check] {
        [
            Check("bodies that are no JSON, no object, too deep or of another type are refused, and leave nothing") {
                bench in
                let before = try await bench.count()
                let deep = String(repeating: "[", count: 600) + String(repeating: "]", count: 600)
                let deepMap = String(repeating: "{\"a\":", count: 600) + "1" + String(repeating: "}", count: 600)
                for text in ["", "{", "[]", "7", "null", "\"x\"", "\u{FEFF}nonsense", "{\"a\":1}x", deep, deepMap] {
                    let answer = try await bench.post(text)
                    try expect(answer.status, is: 400, "a body of '\(text.prefix(20))'")
                    try expect(bench.isError(answer.json), answer.text)
                }
                for type in ["text/xml", "text/plain", "application/x-www-form-urlencoded", "application/jsonx"] {
                    let answer = try await bench.post(String(decoding: bench.body.text, as: UTF8.self), type)
                    try expect(answer.status, is: 415, type)
                    try expect(bench.isError(answer.json), answer.text)
                }
                try expect(try await bench.count(), is: before, "what is there afterwards")
            },
            Check("a body of JSON is taken with its character set, and without a content type") { bench in
                let text = String(decoding: bench.body.text, as: UTF8.self)
                try expect(
                    try await bench.post(text, "application/json; charset=utf-8").status, is: 201, "with a charset")
                let untyped = try await bench.post(text, nil)
                try expect([201, 409].contains(untyped.status), "without a content type: \(untyped.text)")
            },
            Check("bodies that are too large are refused, whether their length is said or not") { bench in
                let large = "{\"x\":\"\(String(repeating: "x", count: 2_000_000))\"}"
                let told = try await bench.post(large)
                try expect(told.status, is: 413, "a large body")
                try expect(bench.isError(told.json), told.text)
                var headers = bench.headers(bench.admin, "application/json")
                headers[.contentLength] = "99999999999"
                let announced = try await bench.client().send(.post, bench.collection, headers)
                try expect(announced.status, is: 413, "a body that is said to be large")
                try expect(bench.isError(announced.json), announced.text)
                let chunks = RequestBody(asyncSequence: Chunks(count: 2000))
                let endless = try await bench.client().send(
                    .post, bench.collection, chunks, bench.headers(bench.admin, "application/json"))
                try expect(endless.status, is: 413, "a body without a length")
                try expect(bench.isError(endless.json), endless.text)
            },
            Check("queries that say a thing twice, wrongly or too often are answered, not obeyed") { bench in
                let (client, headers) = (bench.client(), bench.headers(bench.admin))
                let many = (0..<100).map { "a\($0)=1" }.joined(separator: "&")
                for query in ["name=%zz", "name=%ff", "name=%", "limit=x", "limit=-1", "marker=none", many] {
                    let answer = try await client.send(.get, "\(bench.collection)?\(query)", headers)
                    try expect(answer.status, is: 400, "?\(query)")
                    try expect(bench.isError(answer.json), answer.text)
                }
                for query in ["limit=1&limit=2", "&&&", "=", "=x", "limit=1&", "sort_dir=asc&sort_dir=desc"] {
                    let answer = try await client.send(.get, "\(bench.collection)?\(query)", headers)
                    try expect([200, 400].contains(answer.status), "?\(query): \(answer.status) \(answer.text)")
                }
            },
            Check("paths with anything in them are not found, and no more") { bench in
                for path in [
                    "/%2e%2e/%2e%2e/etc/passwd", "/\(String(repeating: "x", count: 5000))", "/%00", "/%ff", "/ä",
                ] {
                    let answer = try await bench.client().send(
                        .get, bench.collection + path, bench.headers(bench.admin))
                    try expect(
                        [400, 404].contains(answer.status), "\(path.prefix(20)): \(answer.status) \(answer.text)")
                    try expect(bench.isError(answer.json), answer.text)
                }
            },
            Check("who has no token or a bad one is told so, and how to get one") { bench in
                for token in [nil, "", "garbage", String(repeating: "a", count: 10_000), "a, b"] as [String?] {
                    for method in [HTTPRequest.Method.get, .post] {
                        let answer = try await bench.client().send(method, bench.collection, bench.headers(token))
                        try expect(answer.status, is: 401, "the token '\((token ?? "(none)").prefix(20))'")
                        try expect(bench.isError(answer.json), answer.text)
                        let way = answer.headers[.wwwAuthenticate] ?? ""
                        try expect(
                            way.hasPrefix("Keystone uri=\"https://cloud.example:9443/"), "WWW-Authenticate: \(way)")
                        try expect(token.map { $0.isEmpty || !answer.text.contains($0) } ?? true, "the token is shown")
                    }
                }
            },
        ]
    }
}

/// A body without a stated length.
private struct Chunks: AsyncSequence, Sendable {
    let count: Int

    struct Iterator: AsyncIteratorProtocol {
        var left: Int
        mutating func next() async throws -> ByteBuffer? {
            guard left > 0 else { return nil }
            left -= 1
            return ByteBuffer(string: String(repeating: " ", count: 1024))
        }
    }

    func makeAsyncIterator() -> Iterator { Iterator(left: count) }
}
