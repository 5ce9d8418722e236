import AgentProtocol
import CatalogBareMetal
import FleetContract
import Primitives
import ResourceModel
import Testing

@testable import Dashboard

@Suite struct MarkupTests {
    @Test func textsAndAttributesAreEscaped() {
        let text = #"<b> & "two" 'three'"# + "\u{202E}\u{0}\u{7}é✓"
        let escaped = "&lt;b&gt; &amp; &quot;two&quot; &#39;three&#39;\u{FFFD}\u{FFFD}\u{FFFD}é✓"
        #expect(Markup(text).html == escaped)
        #expect(
            tag("p", ["class": text, "id": nil, "hidden": ""]) { text }.html
                == "<p class=\"\(escaped)\" hidden>\(escaped)</p>")
        #expect(tag("input", ["value": "1"]).html == "<input value=\"1\">")
    }

    @Test func commandsStandOut() {
        let cases = [
            ("muster node deploy n1", "<code>muster node deploy n1</code>"),
            ("then 'muster site apply' again", "then <code>muster site apply</code> again"),
            ("the node's state", "the node&#39;s state"), ("'x' and 'muster a", "&#39;x&#39; and &#39;muster a"),
            ("", ""),
        ]
        for (text, html) in cases { #expect(PageWords.advice(text).html == html, "\(text)") }
    }

    @Test func agesAreShort() {
        for (seconds, text) in [(-5, "0s"), (119, "119s"), (120, "2m"), (7199, "119m"), (7200, "2h"), (172_800, "2d")] {
            #expect(PageWords.duration(.seconds(seconds)) == text)
        }
        let now = Timestamp(millisecondsSinceEpoch: 1_767_225_600_000)
        for extreme in [Int64.min, .max] {
            let time = Timestamp(millisecondsSinceEpoch: extreme)
            #expect(PageWords(now: now).age(time).html.contains("data-age"))
            #expect(PageWords(now: now).due(time).html.contains("data-due"))
        }
    }

    @Test func progressThatCannotBeIsShownAsSomething() {
        for (done, total, percent) in [(1, 2, 50), (.max, 1, 100), (.min, 3, 0), (5, 0, 0), (1, -4, 0), (3, 2, 100)] {
            let bar = PageWords.bar(Node.Progress(done: done, total: total, bytes: 0)).html
            #expect(bar.contains("value=\"\(percent)\""), "\(done) of \(total)")
        }
    }

    @Test func partsAreTheSameUntilMoreThanAgesChanges() throws {
        let now = Timestamp(millisecondsSinceEpoch: 1_767_225_600_000)
        var node = Node(
            metadata: Metadata(name: "00000000-0000-4000-8000-000000000001", schemaVersion: 1, created: now),
            spec: .init(name: "n1"), status: .init(state: .available, since: now, identity: MachineIdentity()))
        func marks(_ seconds: Int) throws -> [String: String] {
            let detail = try #require(NodeDetail(node, time: now))
            let why = WhyReply(node: detail.node, time: now, headline: "h", causes: [], conditions: [], events: [])
            let facts = NodePageFacts(detail: detail, why: why, logs: LogReply(sources: [], lines: []))
            let page = NodePage(facts, words: PageWords(now: now.advanced(by: .seconds(seconds))))
            return Dictionary(uniqueKeysWithValues: page.parts.map { ($0.name, $0.mark) })
        }
        let before = try marks(0)
        #expect(try marks(500) == before)
        node.status.state = .deployFailed
        let after = try marks(0)
        #expect(after.filter { before[$0.key] != $0.value }.map(\.key) == ["status"])
    }
}
