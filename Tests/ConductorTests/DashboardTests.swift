import AgentProtocol
import StoreMemory
import Identity
import CatalogIdentity
import AsyncHTTPClient
import CatalogBareMetal
import FleetContract
import FleetAPI
import FoundationEssentials
import NIOCore
import NIOHTTP1
import Primitives
import ResourceModel
import TestSupport
import Testing

@testable import Dashboard

/// The web pages as they leave the conductor.
@Suite struct DashboardTests {
    @Test func strangersAreSentToTheSignIn() async throws {
        try await withFleet { fleet in
            try await fleet.addNode("n1", number: 1)
            for path in ["/", "/nodes/n1", "/nodes/none"] {
                let answer = try await fleet.page(path)
                #expect(answer.status == 303)
                #expect(answer.headers.first(name: "location") == "/sign-in?next=\(path.replacing("/", with: "%2F"))")
                #expect(answer.body.isEmpty)
            }
            for path in ["/live", "/nodes/n1/live", "/session"] {
                #expect(try await fleet.page(path).status == 401, "\(path)")
            }
            #expect(try await fleet.page("/sign-in").status == 200)
            let guessed = try await fleet.page("/", cookie: "__Host-muster=\(String(repeating: "0", count: 64))")
            #expect(guessed.status == 303)
        }
    }

    @Test func aTokenOpensASessionThatScriptsCannotRead() async throws {
        try await withFleet { fleet in
            let token = try #require(fleet.tokens[.reader])
            let answer = try await fleet.submit("/sign-in", "token=\(token)&next=%2Fnodes%2Fn1")
            #expect(answer.status == 303)
            #expect(answer.headers.first(name: "location") == "/nodes/n1")
            let header = try #require(answer.headers.first(name: "set-cookie"))
            let parts = header.split(separator: ";").map { String($0.drop { $0 == " " }) }
            #expect(Array(parts.dropFirst()) == ["Path=/", "Max-Age=43200", "Secure", "HttpOnly", "SameSite=Strict"])
            #expect(parts[0].hasPrefix("__Host-muster="))
            #expect(!header.contains(token), "the token itself stays in the conductor")
            #expect(try await fleet.page("/", cookie: parts[0]).body.contains("operator:test-reader"))
            let audit = try await fleet.audit.events(limit: 10).events
            #expect(audit.map(\.spec.verb) == ["sign in"])
            #expect(audit.first?.spec.who == "operator:test-reader")

            #expect(
                try await fleet.page("/fleet/v1/nodes", cookie: parts[0]).status == 401, "a cookie opens pages only")

            let left = try await fleet.submit("/sign-out", "", cookie: parts[0])
            #expect(left.status == 303)
            #expect(left.headers.first(name: "set-cookie")?.contains("Max-Age=0") == true)
            #expect(try await fleet.page("/", cookie: parts[0]).status == 303)
        }
    }

    @Test func sessionsEndWithTheirTokenAndWithTime() async throws {
        try await withFleet { fleet in
            let first = try await fleet.signIn(.reader)
            fleet.clock.advance(by: .seconds(12 * 3600 - 1))
            #expect(try await fleet.page("/", cookie: first).status == 200)
            fleet.clock.advance(by: .seconds(1))
            #expect(try await fleet.page("/", cookie: first).status == 303)

            let second = try await fleet.signIn(.member)
            #expect(try await fleet.page("/session", cookie: second).status == 200)
            try await fleet.operators.revoke("test-member")
            #expect(try await fleet.page("/session", cookie: second).status == 401)
        }
    }

    @Test func formsOfOtherSitesAndFalseTokensAreRefused() async throws {
        try await withFleet { fleet in
            let token = try #require(fleet.tokens[.admin])
            let own = String(fleet.api.dropFirst("http://".count))
            for (headers, status) in [
                ([("Origin", "https://evil.example")], 403), ([("Sec-Fetch-Site", "cross-site")], 403),
                ([("Sec-Fetch-Site", "same-site")], 403), ([("Origin", "null")], 403),
                ([("Origin", "http://\(own)"), ("Sec-Fetch-Site", "same-origin")], 303),
            ] {
                #expect(try await fleet.submit("/sign-in", "token=\(token)", headers: headers).status == status)
                #expect(try await fleet.submit("/sign-out", "", headers: headers).status == status)
            }
            for body in ["token=wrong", "", "token=", "=&&&%%%", "token=" + String(repeating: "a", count: 3000)] {
                let answer = try await fleet.submit("/sign-in", body)
                #expect(answer.status == 403)
                #expect(answer.headers.first(name: "set-cookie") == nil)
                #expect(answer.body.contains("not a valid operator"))
            }
            #expect(try await fleet.submit("/sign-in", String(repeating: "a", count: 10_000)).status == 413)
        }
    }

    @Test func nobodyIsSentElsewhereAfterSigningIn() {
        let cases: [(String?, String)] = [
            (nil, "/"), ("/", "/"), ("/nodes/n1", "/nodes/n1"), ("//evil.example", "/"), ("https://evil.example", "/"),
            ("/nodes/../x", "/"), ("/nodes//evil", "/"), ("/nodes/a\r\nSet-Cookie: x", "/"), ("/nodes/", "/"),
            ("/nodes/\(String(repeating: "a", count: 65))", "/"), ("/sign-out", "/"),
        ]
        for (wanted, target) in cases { #expect(WebPages.target(wanted) == target, "\(wanted ?? "-")") }
    }

    @Test func everyAnswerForbidsWhatPagesDoNotNeed() async throws {
        try await withFleet { fleet in
            try await fleet.addNode("n1", number: 1)
            let cookie = try await fleet.signIn(.reader)
            let assets = Asset.all.map(\.path)
            for path in ["/", "/nodes/n1", "/nodes/none", "/sign-in", "/session"] + assets {
                let answer = try await fleet.page(path, cookie: path == "/sign-in" ? nil : cookie)
                let policy = answer.headers.first(name: "content-security-policy") ?? ""
                let fields = policy.split(separator: ";").map { $0.drop { $0 == " " } }
                #expect(fields.contains("default-src 'none'") && fields.contains("frame-ancestors 'none'"), "\(path)")
                #expect(!policy.contains("unsafe") && !policy.contains("*") && !policy.contains("http"), "\(path)")
                #expect(answer.headers.first(name: "x-content-type-options") == "nosniff")
                let isAsset = assets.contains(path)
                #expect(answer.headers.first(name: "cache-control")?.contains("immutable") == isAsset, "\(path)")
                #expect(answer.status == (path == "/nodes/none" ? 404 : 200), "\(path)")
            }
        }
    }

    @Test func whatMachinesSayIsShownAndNeverRun() async throws {
        let live = LiveNodeData(
            logSources: ["discovery-agent"],
            logs: { _, _, _ in LogPage(lines: ["2026-01-01T00:00:00Z info \(HostileMachine.text)"]) })
        try await withFleet(live: live) { fleet in
            let id = try await HostileMachine.add(to: fleet)
            let cookie = try await fleet.signIn(.reader)
            for path in ["/", "/nodes/\(id)", "/?q=%22%3E%3Cscript%3E"] {
                let body = try await fleet.page(path, cookie: cookie).body
                #expect(body.contains("&lt;script&gt;"), "\(path)")
                try HTMLShape.check(body, path)
            }
            let lines = try await fleet.events("/live?since=0", cookie: cookie, count: 1)
            try HTMLShape.check(lines[0].data, "/live")
            let parts = try await fleet.events("/nodes/\(id)/live", cookie: cookie, count: 9)
            #expect(Set(parts.map(\.name)) == ["part"])
            for part in parts { try HTMLShape.check(part.data, "/nodes/live") }
        }
    }

    @Test func changesComeFromTheRevisionThatTheBrowserHas() async throws {
        try await withFleet { fleet in
            let id = try await fleet.addNode("n1", number: 1)
            let cookie = try await fleet.signIn(.reader)
            let page = try await fleet.page("/", cookie: cookie).body
            let since = try #require(page.firstMatch(of: /data-live="\/live\?since=([0-9]+)"/)?.output.1)
            try await fleet.addNode("n2", number: 2)
            _ = try await fleet.store.commit(Transaction(operations: [.delete(Node.key(id.raw))]))
            let events = try await fleet.events("/live?since=\(since)", cookie: cookie, count: 2)
            #expect(events.map(\.name) == ["row", "gone"])
            #expect(events[0].data.contains(">n2<") && events[1].data == id.raw)
            // What a browser has seen last counts more than what its page began with.
            let resumed = try await fleet.events(
                "/live?since=\(since)", cookie: cookie, count: 1, lastEventID: events[0].id)
            #expect(resumed.map(\.name) == ["gone"])
            // History that is gone, or of another store: the whole table.
            try await fleet.store.compact(through: try await fleet.store.currentRevision())
            for known in [since.description, "9999999", "nonsense"] {
                let anew = try await fleet.events("/live?since=\(known)", cookie: cookie, count: 1)
                #expect(anew.map(\.name) == ["table"], "\(known)")
                #expect(anew[0].data.contains(">n2<") && !anew[0].data.contains(">n1<"))
            }
        }
    }

    @Test func streamsGiveTheirPlaceBackWhenTheBrowserGoes() async throws {
        try await withFleet { fleet in
            let id = try await fleet.addNode("n1", number: 1)
            let cookie = try await fleet.signIn(.reader)
            @Sendable func places() async throws -> Bool {
                let metrics = try await fleet.raw("GET", "/metrics", token: fleet.tokens[.reader]).body
                return metrics.contains("muster_watches 0\n")
            }
            for path in ["/live", "/nodes/\(id)/live"] {
                // Both have nothing more to say after the first events: nobody writes when the browser goes.
                _ = try await fleet.events(path, cookie: cookie, count: 1) {
                    let isFree = try await places()
                    #expect(!isFree, "\(path)")
                }
                try await waitUntil(.seconds(8)) { try await places() }
            }
        }
    }

    @Test func aStreamEndsWithItsSession() async throws {
        try await withFleet { fleet in
            let id = try await fleet.addNode("n1", number: 1)
            let cookie = try await fleet.signIn(.member)
            let events = try await fleet.events("/nodes/\(id)/live", cookie: cookie, until: "signed-out") {
                try await fleet.operators.revoke("test-member")
            }
            #expect(events.last?.name == "signed-out")
        }
    }

    @Test func manyNodesAreCutAndFound() async throws {
        let nodes = (0..<2_500).map { number in
            let name = "00000000-0000-4000-8000-\(String(1_000_000_000_00 + number))0"
            var node = Node(
                metadata: Metadata(name: name, schemaVersion: 1, created: SystemWallClock().now),
                spec: .init(name: "n\(number)"),
                status: .init(state: .active, since: SystemWallClock().now, identity: MachineIdentity()))
            node.spec.role = .network
            return node
        }
        let summaries = nodes.compactMap { NodeSummary($0) }
        #expect(summaries.count == 2_500)
        let words = PageWords(now: SystemWallClock().now)
        let all = FleetPage(words: words, nodes: summaries, wanted: "").markup.html
        #expect(all.contains("The first 2000 of 2500 machines") && all.contains("data-cut"))
        let found = FleetPage(words: words, nodes: summaries, wanted: "N2499").markup.html
        #expect(found.contains(">n2499<") && !found.contains(">n1<") && !found.contains("data-cut"))
    }
}
