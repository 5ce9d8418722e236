import APISupport
import HTTPTypes
import Primitives
import TestSupport

extension ServiceConformance {
    static var answerChecks: [Check] {
        [
            Check("what there is not is 404, what there is otherwise 405 with what is allowed") { bench in
                let client = bench.client()
                let missing = try await client.send(.get, "/nothing/at/all", bench.headers(bench.admin))
                try expect(missing.status, is: 404, "an unknown path")
                try expect(bench.isError(missing.json), missing.text)
                for method in [HTTPRequest.Method.put, .patch, .delete, .options] {
                    let wrong = try await client.send(method, bench.collection, bench.headers(bench.admin))
                    try expect(wrong.status, is: 405, "\(method) of a collection")
                    try expect(wrong.headers[.allow] ?? "", is: "GET, HEAD, POST", "Allow")
                    try expect(bench.isError(wrong.json), wrong.text)
                }
            },
            Check("HEAD is GET without the body, of errors too") { bench in
                let client = bench.client()
                for (path, token) in [
                    (bench.collection, bench.admin), (bench.collection, nil), ("/nothing", bench.admin),
                ] {
                    let get = try await client.send(.get, path, bench.headers(token))
                    let head = try await client.send(.head, path, bench.headers(token))
                    try expect(head.status, is: get.status, "HEAD \(path)")
                    try expect(head.bytes.isEmpty, "a body: \(head.text)")
                    let own: [HTTPField.Name] = [.contentLength, HTTPField.Name("X-Openstack-Request-Id")!, .requestID]
                    for field in get.headers where !own.contains(field.name) {
                        try expect(head.headers[field.name] ?? "", is: field.value, "\(field.name)")
                    }
                    if get.status == 200 {
                        try expect(head.headers[.contentLength] ?? "", is: "\(get.bytes.count)", "the length")
                    }
                }
            },
            Check("every answer has its request's name and says what it varies by") { bench in
                for (method, path) in [
                    (HTTPRequest.Method.get, bench.collection), (.get, "/nothing"), (.put, bench.collection),
                ] {
                    var headers = bench.headers(bench.admin)
                    headers[.requestID] = "abc-1"
                    let answer = try await bench.client().send(method, path, headers)
                    try expect(
                        answer.headers[HTTPField.Name("X-Openstack-Request-Id")!] ?? "", is: "req-abc-1", "the name")
                    try expect(answer.headers[.vary]?.contains("X-Auth-Token") == true, "Vary")
                }
            },
            Check("versions are chosen by either header, and refused by what they are") { bench in
                let service = bench.service(bench.door)
                guard let rules = service.microversions else { return }
                let client = bench.client()
                let standard = HTTPField.Name("OpenStack-API-Version")!
                let newest = rules.range.upperBound
                let later = Microversion(newest.major, newest.minor + 1)
                func call(_ name: HTTPField.Name, _ value: String) async throws -> SeenAnswer {
                    var headers: HTTPFields = [name: value]
                    headers[HTTPField.Name("X-Auth-Token")!] = bench.admin
                    return try await client.send(.get, bench.collection, headers)
                }
                for (name, prefix) in [(rules.header, ""), (standard, "compute 2.1, \(rules.serviceName) ")] {
                    for asked in ["\(newest)", "latest"] {
                        let answer = try await call(name, prefix + asked)
                        try expect(answer.status, is: 200, "\(name): \(prefix)\(asked)")
                        try expect(answer.headers[rules.header] ?? "", is: "\(newest)", "the version")
                        try expect(answer.headers[standard] ?? "", is: "\(rules.serviceName) \(newest)", "the version")
                        let vary = answer.headers[.vary] ?? ""
                        try expect(vary.contains("\(standard)") && vary.contains("\(rules.header)"), "Vary: \(vary)")
                    }
                    let late = try await call(name, "\(prefix)\(later)")
                    try expect(late.status, is: 406, "\(later)")
                    try expect(bench.isError(late.json), late.text)
                    for text in ["\(later)", "\(rules.range.lowerBound)", "\(newest)"] {
                        try expect(late.text.contains(text), "\(text) in \(late.text)")
                    }
                    for wrong in ["x", "1", "1.2.3", "-1.2", "1.", "99999999999.1"] {
                        try expect(try await call(name, prefix + wrong).status, is: 400, "the version '\(wrong)'")
                    }
                }
                let other = try await call(standard, "compute 2.1")
                try expect(
                    other.headers[rules.header] ?? "", is: "\(rules.unasked)", "the version of who asks another's")
            },
            Check("the OpenAPI document tells all routes, each with its own schemas") { bench in
                let service = bench.service(bench.door)
                let document = try await bench.client().send(.get, "/openapi.json", [:])
                try expect(document.status, is: 200, "openapi.json")
                let paths = document.json["paths"]
                for route in service.routes {
                    let operation = try need(
                        paths?[route.path.isEmpty ? "/" : route.path]?[
                            route.method.rawValue.lowercased()], "\(route.method) \(route.path)")
                    let content = operation["responses"]?["\(route.status.code)"]?["content"]
                    try expect(
                        content?["application/json"]?["schema"] == route.response?.document,
                        "\(route.method) \(route.path): the answer's schema")
                }
            },
            Check("the log says who called and where, why a token was refused, and no token") { bench in
                let log = LogLines()
                let client = bench.client(log: log)
                for token in [bench.reader, "a-wrong-token"] {
                    _ = try await client.send(.get, bench.collection, bench.headers(token))
                }
                let lines = log.all
                try expect(
                    lines.contains { $0.contains("status=200") && $0.contains(#/who=user:[^/ ]+.*\/system/#) },
                    "the reader's call: \(lines)")
                try expect(
                    lines.contains { $0.hasPrefix("info token refused cause=") }, "why the token was refused: \(lines)")
                try expect(
                    lines.contains { $0.contains("status=401") && $0.contains("who=anonymous") }, "who: \(lines)")
                try expect(!lines.contains { $0.contains("a-wrong-token") }, "a token is in the log")
                try expect(!lines.contains { $0.contains(bench.reader) }, "a token is in the log")
            },
            Check("an answer that is not as its route declares is noticed") { bench in
                let service = bench.service(bench.door)
                let list = try await bench.client().send(.get, bench.collection, bench.headers(bench.admin))
                try expect(service.fault(in: list, to: .get, bench.collection) == nil, "a true answer is refused")
                let empty = SeenAnswer(status: 200, bytes: Array("{}".utf8), headers: list.headers)
                try expect(service.fault(in: empty, to: .get, bench.collection) != nil, "an empty object is taken")
                let name = String(bench.collection.split(separator: "/").last ?? "")
                let wrong = JSONValue.object([name: [7], "links": ["self": "https://x"]])
                let element = SeenAnswer(status: 200, bytes: wrong.text, headers: list.headers)
                try expect(service.fault(in: element, to: .get, bench.collection) != nil, "a wrong element is taken")
                try expect(service.fault(in: list, to: .get, "/nothing") != nil, "an answer of no route is taken")
            },
        ]
    }
}
