import APISupport
import AgentProtocol
import CatalogIdentity
import HTTPTypes
import Hummingbird
import Identity
import NIOCore
import Primitives
import ResourceModel

extension ServiceConformance {
    static var limitChecks: [Check] {
        [
            Check("who calls too often is told when to come again, and the others are not held up") { bench in
                let backend = bench.service(bench.door).backend
                let rates = CallRates(perSecond: 2, clock: backend.clock)
                let client = bench.client(rates: rates)
                let burst = 2 * CallRates.burstSeconds
                for number in 0..<burst {
                    let answer = try await client.send(.get, bench.collection, bench.headers(bench.admin))
                    try expect(answer.status, is: 200, "call \(number)")
                }
                let limited = try await client.send(.get, bench.collection, bench.headers(bench.admin))
                try expect(limited.status, is: 429, "a call too many")
                try expect(limited.headers[.retryAfter] ?? "", is: "1", "Retry-After")
                try expect(bench.isError(limited.json), limited.text)
                let other = try await client.send(.get, bench.collection, bench.headers(bench.reader))
                try expect(other.status, is: 200, "somebody else's call")
                bench.pass(.seconds(1))
                for status in [200, 200, 429] {
                    let later = try await client.send(.get, bench.collection, bench.headers(bench.admin))
                    try expect(later.status, is: status, "a second later")
                }
                let sample = client.service.samples.first { $0.name == "muster_api_limited_total" }
                try expect(sample?.value ?? 0, is: 2, "muster_api_limited_total")
            },
            Check("calls without a good token are bounded by their address") { bench in
                let rates = CallRates(perSecond: 1, clock: bench.service(bench.door).backend.clock)
                let client = bench.client(rates: rates)
                func call(_ token: String, from address: String) async throws -> Int {
                    let empty = RequestBody(buffer: ByteBuffer())
                    return try await client.send(
                        .get, bench.collection, empty, bench.headers(token), from: address
                    ).status
                }
                for number in 0..<CallRates.burstSeconds {
                    try expect(try await call("guess \(number)", from: "192.0.2.1"), is: 401, "a guess")
                }
                try expect(try await call("guess", from: "192.0.2.1"), is: 429, "a guess too many")
                try expect(try await call("guess", from: "192.0.2.2"), is: 401, "a guess of another address")
                try expect(try await call(bench.admin, from: "192.0.2.1"), is: 200, "a good token at the same address")
                for number in 0..<CallRates.burstSeconds {
                    try expect(try await call("guess", from: "2001:db8::\(number)"), is: 401, "a guess by IPv6")
                }
                try expect(try await call("guess", from: "2001:db8::ffff"), is: 429, "another address of the network")
                try expect(try await call("guess", from: "2001:db8:0:1::1"), is: 401, "another network")
            },
            Check("a conductor that works on enough already says so in the service's words") { bench in
                let answer = try await bench.client(concurrencyMax: 0)
                    .send(.get, bench.collection, bench.headers(bench.admin))
                try expect(answer.status, is: 503, "one call too many at once")
                try expect(answer.headers[.retryAfter] ?? "", is: "1", "Retry-After")
                try expect(bench.isError(answer.json), answer.text)
            },
            Check("answers are counted by route and status, and by no path that callers make up") { bench in
                let client = bench.client()
                _ = try await client.send(.get, bench.collection, bench.headers(bench.admin))
                _ = try await client.send(.get, bench.collection, bench.headers(bench.admin))
                _ = try await client.send(.get, bench.collection, bench.headers(nil))
                _ = try await client.send(.get, "/nothing/here", bench.headers(bench.admin))
                _ = try await client.send(.delete, bench.collection, bench.headers(bench.admin))
                let samples = client.service.samples
                func count(_ route: String, _ status: String) -> Double? {
                    samples.first {
                        $0.name == "muster_api_requests_total" && $0.labels["route"] == route
                            && $0.labels["status"] == status && $0.labels["service"] == client.service.type
                    }?.value
                }
                try expect(count(bench.collection, "2xx") ?? 0, is: 2, "good answers")
                try expect(count(bench.collection, "4xx") ?? 0, is: 1, "refused ones")
                try expect(count("other", "4xx") ?? 0, is: 2, "what is no route")
                let time = samples.first {
                    $0.name == "muster_api_request_seconds_total" && $0.labels["route"] == bench.collection
                }
                try expect(time.map { $0.value > 0 } == true, "the time of \(bench.collection)")
            },
            Check("a change that is refused leaves one event a minute, a read none") { bench in
                let client = bench.client()
                let audit = client.service.backend.audit
                let before = try await audit.events(limit: 1000).events.count
                func post() async throws -> Int {
                    try await client.send(
                        .post, bench.collection, RequestBody(buffer: ByteBuffer(bytes: bench.body.text)),
                        bench.headers(bench.reader, "application/json")
                    ).status
                }
                for _ in 0..<3 { try expect(try await post(), is: 403, "a reader's change") }
                _ = try await client.send(.get, bench.collection, bench.headers(nil))
                let events = try await audit.events(limit: 1000).events.dropFirst(before)
                try expect(events.count, is: 1, "events of three refusals")
                let event = try need(events.first?.spec, "the event")
                try expect(event.outcome, is: .denied, "the outcome")
                try expect(event.who.hasPrefix("user:"), event.who)
                try expect(
                    event.resource.description, is: "\(client.service.type).call\(bench.collection)",
                    "what it was about")
                bench.pass(.seconds(60))
                try expect(try await post(), is: 403, "a reader's change a minute later")
                try expect(try await audit.events(limit: 1000).events.count, is: before + 2, "events afterwards")
            },
        ]
    }
}
