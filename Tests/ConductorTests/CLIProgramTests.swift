import AgentProtocol
import CatalogBareMetal
import CatalogIdentity
import FleetContract
import Primitives
import TestSupport
import Testing

@testable import CLICommands

/// Commands as a whole, by their exit codes.
@Suite(.serialized) @MainActor struct CLIProgramTests {
    static let failures: [(arguments: [String], code: Int32)] = [
        (["node", "aprove"], 2), (["node", "set", "n1"], 2), (["node", "power", "n1", "explode"], 2),
        (["node", "watch", "--until", "active"], 2), (["--help"], 0), (["node", "approve", "--help"], 0),
        (["site", "validate", "/nonexistent/site.yaml"], 1),
        (["node", "list", "--api", "http://127.0.0.1:1", "--token-file", "/nonexistent"], 2),
        (["version", "--api", "http://127.0.0.1:1"], 5), (["node", "list", "--api", "ftp://x"], 2),
        (["node", "list", "--netns", "no-such-namespace"], 2),
    ]

    @Test func failuresHaveTheirExitCodes() async {
        for (arguments, code) in Self.failures { #expect(await Muster.run(arguments) == code, "\(arguments)") }
    }

    @Test func siteFilesAreCheckedWithoutAConductor() async throws {
        let directory = try TemporaryDirectory("site")
        let good = "site: { name: lab }\nbmcs:\n  - { name: b, address: http://x, username: u, passwordFile: pw }\n"
        let path = try directory.write("site.yaml", Array(good.utf8))
        #expect(await Muster.run(["site", "validate", path]) == 2)
        try directory.write("pw", Array("geheim\n".utf8))
        #expect(await Muster.run(["site", "validate", path]) == 0)
        #expect(await Muster.run(["site", "validate", path, "--json"]) == 0)
    }

    @Test func commandsTalkToAConductor() async throws {
        let directory = try TemporaryDirectory("cli")
        try await withFleet { fleet in
            try await fleet.addNode("n1", number: 1) { $0.status.state = .active }
            try await fleet.addImage()
            let token = try directory.write("token", Array(((fleet.tokens[.member] ?? "") + "\n").utf8))
            let options = ["--api", fleet.api, "--token-file", token]
            func run(_ arguments: String...) async -> Int32 { await Muster.run(arguments + options) }
            #expect(await run("node", "list") == 0)
            #expect(await run("node", "show", "n1", "--json") == 0)
            #expect(await run("node", "show", "none") == 3)
            #expect(await run("node", "why", "n1") == 0)
            #expect(await run("node", "approve", "n1") == 4)
            #expect(await run("node", "approve", "n1", "--role", "network") == 0)
            #expect(await run("node", "set", "n1", "--maintenance", "on") == 0)
            #expect(await run("node", "deploy", "n1") == 4)
            #expect(await run("node", "watch", "n1", "--until", "active") == 0)
            #expect(await run("node", "watch", "n1", "--until", "enroll", "--timeout", "1") == 1)
            #expect(await run("node", "ssh", "n1") == 3)
            #expect(await run("audit", "list") == 4)
            #expect(await run("image", "list") == 0)
            #expect(await run("bmc", "list") == 0)
            #expect(await run("event", "list") == 0)
        }
    }
}
