import AgentProtocol
import StoreMemory
import Identity
import CatalogIdentity
import CatalogBareMetal
import FleetAPI
import Foundation
import Primitives
import ResourceModel
import TestSupport
import Testing

/// The pages in a real browser, on a site as it may look on a working day.
@Suite(.serialized) struct DashboardBrowserTests {
    private static let now = SystemWallClock().now

    /// Runs `body` with a browser that has signed in, and ends it.
    private func withBrowser(
        _ fleet: FleetFixture, width: Int, height: Int, isDark: Bool = false,
        _ body: (Chromium) async throws -> Void
    ) async throws {
        let browser = try Chromium()
        do {
            try await browser.open(width: width, height: height, isDark: isDark)
            try await browser.go(fleet.api + "/")
            #expect(try await browser.evaluate("location.pathname") == "/sign-in")
            #expect(try await browser.evaluate("document.activeElement.id") == "token")
            let token = try #require(fleet.tokens[.reader])
            try await browser.leave(
                by: "(document.getElementById('token').value = '\(token)', document.querySelector('.primary').click())")
            #expect(try await browser.evaluate("location.pathname") == "/")
            #expect(try await browser.evaluate("document.cookie") == "", "scripts cannot read the session")
            try await body(browser)
            let complaints = await browser.complaints
            #expect(complaints.isEmpty, "\(complaints)")
        } catch {
            await browser.close()
            throw error
        }
        await browser.close()
    }

    /// Saves what the browser shows below MUSTER_SCREENSHOTS, else in a folder that goes with the test.
    private func save(_ browser: Chromium, _ name: String, in directory: TemporaryDirectory) async throws {
        let png = try await browser.screenshot()
        #expect(png.count > 10_000, "\(name)")
        let kept = ProcessInfo.processInfo.environment["MUSTER_SCREENSHOTS"]
        try Data(png).write(to: URL(filePath: "\(kept ?? directory.path)/\(name).png"))
    }

    private func expectNoSideways(_ browser: Chromium, _ what: Comment) async throws {
        let scroll = try await browser.evaluate(
            "document.documentElement.scrollWidth <= document.documentElement.clientWidth")
        #expect(scroll == "true", what)
    }

    private static let live = LiveNodeData(
        progress: { _ in Node.Progress(done: 5_120, total: 12_288, bytes: 41_000_000) },
        logSources: ["discovery-agent"],
        logs: { node, source, _ in LogPage(lines: node.raw.hasSuffix("31") ? FleetScene.lines(now) : []) })

    @Test(arguments: [(1440, 900, false), (390, 844, false), (1440, 900, true), (390, 844, true)])
    func `pages are whole at both widths, in light and dark`(width: Int, height: Int, isDark: Bool) async throws {
        let directory = try TemporaryDirectory("screenshots")
        let suffix = "\(width)-\(isDark ? "dark" : "light")"
        try await withFleet(live: Self.live, clock: ManualWallClock(Self.now)) { fleet in
            try await FleetScene(fleet: fleet).fill()
            try await withBrowser(fleet, width: width, height: height, isDark: isDark) { browser in
                try await browser.wait(for: "document.getElementById('live').textContent === 'Live'")
                #expect(try await browser.evaluate("document.querySelectorAll('#nodes tr').length") == "17")
                #expect(
                    try await browser.evaluate("document.querySelector('[data-show=bad] .count').textContent") == "2")
                try await expectNoSideways(browser, "fleet \(suffix)")
                try await save(browser, "fleet-\(suffix)", in: directory)
                try await browser.leave(
                    by: "document.querySelector('#n-00000000-0000-4000-8000-000000000031 a').click()")
                try await browser.wait(for: "document.getElementById('live').textContent === 'Live'")
                #expect(try await browser.evaluate("document.querySelectorAll('.timeline li').length") == "7")
                #expect(try await browser.evaluate("document.querySelectorAll('.disk').length") == "2")
                try await expectNoSideways(browser, "node \(suffix)")
                try await save(browser, "node-\(suffix)", in: directory)
            }
        }
    }

    @Test func `changes arrive without being asked for`() async throws {
        try await withFleet(live: Self.live, clock: ManualWallClock(Self.now)) { fleet in
            try await FleetScene(fleet: fleet).fill()
            try await withBrowser(fleet, width: 1440, height: 900) { browser in
                try await browser.wait(for: "document.getElementById('live').textContent === 'Live'")
                let row = "document.getElementById('n-00000000-0000-4000-8000-000000000022')"
                #expect(try await browser.evaluate("\(row).dataset.group") == "busy")
                let id = "00000000-0000-4000-8000-000000000022"
                func change(_ state: NodeState) async throws {
                    try await fleet.store.update(Node.self, id) { stored in
                        var stored = stored
                        stored?.value.status.state = state
                        stored?.value.status.wait = nil
                        return stored
                    }
                }
                try await change(.active)
                try await browser.wait(for: "\(row).dataset.group === 'ok'")
                try await fleet.addNode("aaa", number: 0x61)
                try await browser.wait(for: "document.querySelector('#nodes tr').textContent.includes('aaa')")
                _ = try await fleet.store.commit(Transaction(operations: [.delete(Node.key(id))]))
                try await browser.wait(for: "\(row) === null")
                // The search and the filters hold for what comes later as well.
                _ = try await browser.evaluate("document.querySelector('[data-show=wait]').click()")
                #expect(
                    try await browser.evaluate("document.querySelectorAll('#nodes tr:not([hidden])').length") == "3")
                try await fleet.addNode("bbb", number: 0x62)
                try await browser.wait(for: "document.querySelectorAll('#nodes tr:not([hidden])').length === 4")
                _ = try await browser.evaluate("document.querySelector('[data-sort=name]').click()")
                let first = "[...document.querySelectorAll('#nodes tr')][0].querySelector('.c-name').textContent"
                #expect(try await browser.evaluate(first) == "spare-01")

                try await browser.go(fleet.api + "/nodes/net-11")
                try await browser.wait(for: "document.getElementById('live').textContent === 'Live'")
                #expect(
                    try await browser.evaluate("document.querySelector('.steps .current').textContent.trim()")
                        == "writing the image")
                try await fleet.store.update(Node.self, "00000000-0000-4000-8000-000000000021") { stored in
                    var stored = stored
                    stored?.value.status.state = .deploying(.bootingDisk)
                    return stored
                }
                try await browser.wait(
                    for: "document.querySelector('.steps .current').textContent.trim() === 'booting the disk'")
                try await browser.leave(by: "document.querySelector('.quiet').click()")
                #expect(try await browser.evaluate("location.pathname") == "/sign-in")
            }
        }
    }

    @Test func `a hostile machine runs nothing in the browser`() async throws {
        let live = LiveNodeData(
            logSources: ["discovery-agent"],
            logs: { _, _, _ in LogPage(lines: ["2026-01-01T00:00:00Z info \(HostileMachine.text)"]) })
        try await withFleet(live: live, clock: ManualWallClock(Self.now)) { fleet in
            try await HostileMachine.add(to: fleet)
            try await withBrowser(fleet, width: 1440, height: 900) { browser in
                try await browser.wait(for: "document.getElementById('live').textContent === 'Live'")
                for path in ["/", "/nodes/00000000-0000-4000-8000-000000000066"] {
                    try await browser.go(fleet.api + path)
                    try await browser.wait(for: "document.getElementById('live').textContent === 'Live'")
                    #expect(try await browser.evaluate("window.owned") == "undefined")
                    #expect(try await browser.evaluate("document.scripts.length") == "1")
                    #expect(
                        try await browser.evaluate(
                            "document.querySelectorAll('iframe, object, img:not([src^=\"/assets/\"])').length") == "0")
                    let text = try await browser.evaluate("document.body.textContent.includes('<script>window.owned')")
                    #expect(text == "true", "it is shown as what it is: \(path)")
                }
            }
        }
    }

    @Test func `the keyboard reaches everything`() async throws {
        try await withFleet(clock: ManualWallClock(Self.now)) { fleet in
            try await fleet.addNode("n1", number: 1)
            try await withBrowser(fleet, width: 1440, height: 900) { browser in
                try await browser.press("/")
                #expect(try await browser.evaluate("document.activeElement.id") == "q")
                _ = try await browser.evaluate("document.activeElement.blur()")
                var reached: [String] = []
                for _ in 0..<25 {
                    try await browser.press("Tab")
                    reached.append(
                        try await browser.evaluate("document.activeElement.textContent.trim().replace(/ +[0-9]+$/, '')")
                    )
                }
                for wanted in ["Skip to the content", "Sign out", "All", "Failed", "State", "n1"] {
                    #expect(reached.contains(wanted), "\(wanted): \(reached)")
                }
                let unnamed = """
                    [...document.querySelectorAll('a, button, input')].filter((it) => !(it.textContent.trim() \
                    || it.labels?.length || it.type === 'hidden')).length
                    """
                #expect(try await browser.evaluate(unnamed) == "0", "controls without a name")
            }
        }
    }
}
