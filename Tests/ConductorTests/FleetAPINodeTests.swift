import AgentProtocol
import BlobStore
import CatalogBareMetal
import CatalogIdentity
import ClientSDK
import FleetAPI
import FleetContract
import FoundationEssentials
import Identity
import Primitives
import ResourceModel
import StoreMemory
import TestSupport
import Testing

@Suite struct FleetAPINodeTests {
    @Test func listsArePagedAndFiltered() async throws {
        try await withFleet { fleet in
            for number in UInt8(1)...7 {
                try await fleet.addNode("n\(8 - number)", number: number) { node in
                    node.spec.role = number.isMultiple(of: 2) ? .network : .compute
                    node.status.state = number == 3 ? .deployFailed : .active
                }
            }
            try await fleet.with(.reader) { (client: FleetClient) async throws in
                #expect(try await client.nodes().nodes.map(\.name) == (1...7).map { "n\($0)" })
                #expect(try await client.nodes(NodeFilter(role: "network")).nodes.count == 3)
                #expect(try await client.nodes(NodeFilter(state: "deploy-failed")).nodes.map(\.name) == ["n5"])
                #expect(try await client.nodes(NodeFilter(name: "n7")).nodes.count == 1)
            }
            var names: [String] = []
            var marker: String?
            var pages = 0
            repeat {
                let suffix = marker.map { "&marker=\($0)" } ?? ""
                let path = "/fleet/v1/nodes?limit=3\(suffix)"
                let answer = try await fleet.raw("GET", path, token: fleet.tokens[.reader])
                let page = try JSONDecoder().decode(NodeList.self, from: Data(answer.body.utf8))
                names += page.nodes.map(\.name)
                marker = page.next
                pages += 1
            } while marker != nil
            #expect(names == (1...7).map { "n\($0)" })
            #expect(pages == 3)
        }
    }

    @Test func nodesAreShownWithoutWhatTheyProveThemselvesWith() async throws {
        try await withFleet { fleet in
            let hash = Digest(bytes: [UInt8](repeating: 0xEE, count: 32))
            try await fleet.addNode("n1", number: 1) { node in
                node.status.session = Node.Session(
                    tokenHash: hash, bootID: "boot-1", opened: fleet.clock.now, isTrusted: true)
            }
            let answer = try await fleet.raw("GET", "/fleet/v1/nodes/n1", token: fleet.tokens[.reader])
            #expect(answer.status == 200)
            #expect(!answer.body.contains("boot-1"), "whoever knows a boot can pose as it")
            #expect(!answer.body.contains(hash.hex))
            #expect(answer.body.contains(#""state":"enroll""#))
            #expect(try await fleet.with { try await $0.node("n1") }.session?.isTrusted == true)
        }
    }

    @Test func inventoriesComeWhole() async throws {
        try await withFleet { fleet in
            let inventory = InventoryReport(
                agentVersion: "0.1.0", collectedAt: fleet.clock.now, kernelVersion: "6.1",
                system: .init(serial: "S-1", firmwareMode: .bios),
                cpu: .init(architecture: "x86_64", sockets: 1, cores: 1, threads: 1),
                memory: .init(total: .gibibytes(1)),
                disks: [.init(name: "vda", path: "/dev/vda", serial: "D-1", size: .gibibytes(4))], nics: [])
            let digest = try fleet.blobs.put(Array(try JSONEncoder().encode(inventory)))
            try await fleet.addNode("n1", number: 1) { $0.status.inventory = digest }
            #expect(try await fleet.with(.reader) { try await $0.inventory(of: "n1") } == inventory)
        }
    }

    @Test func whyTellsTheChainOfCauses() async throws {
        try await withFleet { fleet in
            let now = fleet.clock.now
            let id = try await fleet.addNode("n1", number: 1) { node in
                node.spec.bmc = "b1"
                node.spec.role = .network
                node.status.state = .deployFailed
                node.status.lastError = "the disk is too small"
                node.status.wait = Node.Wait(
                    cause: "the deployment failed", owner: .operator, deadline: now.advanced(by: .seconds(3600)),
                    next: "muster node deploy n1")
            }
            var bmc = BMC(
                metadata: Metadata(name: "b1", schemaVersion: 1, created: now),
                spec: .init(address: "http://10.0.0.1", system: nil, username: "u", passwordSecret: "bmc.b1"),
                status: .init())
            bmc.status.checked = now
            bmc.status.lastError = "wrong password"
            try await fleet.put(bmc)
            for number in 1...12 {
                let metadata = Metadata(name: "\(id).\(1_000 + number)", schemaVersion: 1, created: now)
                let time = now.advanced(by: .seconds(number))
                try await fleet.put(
                    NodeEvent(
                        metadata: metadata, spec: .init(node: id, time: time, type: "T", message: "event \(number)")))
            }
            try await fleet.with(.reader) { (client: FleetClient) async throws in
                let why = try await client.why("n1")
                #expect(why.headline == "n1 is deploy failed: the deployment failed. Next: muster node deploy n1.")
                #expect(why.causes.map(\.subject) == ["node", "last error", "approval", "image", "bmc"])
                #expect(why.causes.filter(\.isProblem).count == 5)
                #expect(
                    why.causes.last?.what
                        == "b1 does not answer, so whether the machine is on is not known: wrong password")
                #expect(why.causes[3].next == "muster image push NAME --role network --file FILE")
                #expect(why.events.map(\.message).first == "event 12")
                #expect(why.events.count == 10)
                let newest = ["event 12", "event 11", "event 10"]
                #expect(try await client.events(of: "n1", limit: 3).map(\.message) == newest)
                #expect(try await client.events(limit: 3).map(\.message) == newest)
                #expect(try await client.events(limit: 1).map(\.nodeName) == ["n1"])
            }
        }
    }

    @Test func aBMCThatTheMachineTellsOfIsAHint() async throws {
        try await withFleet { fleet in
            _ = try await fleet.addNode("n1", number: 1) { node in
                node.spec.bmc = nil
                node.status.identity.bmc = nil
                node.status.summary = InventorySummary(
                    model: "R1", processors: 1, memory: .gibibytes(1), disks: [], firmware: "uefi",
                    bmcAddress: IPv4Address(bytes: [10, 9, 0, 7]))
            }
            func cause() async throws -> WhyReply.Cause {
                let why = try await fleet.with(.reader) { (client: FleetClient) async throws in
                    try await client.why("n1")
                }
                return try #require(why.causes.first { $0.subject == "bmc" })
            }
            let unknown = try await cause()
            #expect(unknown.what == "the machine says that its BMC is at 10.9.0.7, which the site does not know")
            #expect(unknown.next?.contains("- { name: n1-bmc, address: https://10.9.0.7, username: USER") == true)
            #expect(!unknown.isProblem)
            try await fleet.put(
                BMC(
                    metadata: Metadata(name: "b7", schemaVersion: 1, created: fleet.clock.now),
                    spec: .init(address: "ipmi://10.9.0.7", system: nil, username: "u", passwordSecret: "bmc.b7"),
                    status: .init()))
            let known = try await cause()
            #expect(known.next == "if that is right: muster node set n1 --bmc b7")
        }
    }

    @Test func aWatchSendsAllNodesThenTheirChanges() async throws {
        try await withFleet { fleet in
            let id = try await fleet.addNode("n1", number: 1)
            try await fleet.with(.reader) { (client: FleetClient) async throws in
                var lines: [WatchLine] = []
                try await client.watch { line in
                    if line.type == .bookmark { return true }
                    lines.append(line)
                    if lines.count == 1 {
                        try await fleet.store.update(Node.self, id.raw) { stored in
                            var stored = stored
                            stored?.value.status.state = .available
                            return stored
                        }
                    } else if lines.count == 2 {
                        _ = try await fleet.store.commit(Transaction(operations: [.delete(Node.key(id.raw))]))
                    }
                    return lines.count < 3
                }
                #expect(lines.map(\.type) == [.node, .node, .gone])
                #expect(lines.map { $0.node?.state } == ["enroll", "available", nil])
                #expect(lines[2].id == id)
                let start = lines[0].revision
                var again: [WatchLine] = []
                try await client.watch(since: start) { line in
                    if line.type != .bookmark { again.append(line) }
                    return again.count < 2
                }
                #expect(again == Array(lines.dropFirst()))
                try await fleet.store.compact(through: try await fleet.store.currentRevision())
                let error = await #expect(throws: ClientError.self) {
                    try await client.watch(since: start) { _ in true }
                }
                guard case .gone? = error else {
                    Issue.record("410 was expected, not \(String(describing: error))")
                    return
                }
            }
        }
    }

    @Test func progressThatIsNotStoredIsShown() async throws {
        let live = LiveNodeData(progress: { _ in Node.Progress(done: 60, total: 100, bytes: 6000) })
        try await withFleet(live: live) { fleet in
            try await fleet.addNode("n1", number: 1) { node in
                node.status.state = .deploying(.writing)
                node.status.progress = Node.Progress(done: 1, total: 100, bytes: 100)
            }
            let node = try #require(try await fleet.with { try await $0.nodes() }.nodes.first)
            #expect(node.progress?.done == 60)
            #expect(node.state == "deploying")
            #expect(node.phase == .writing)
        }
    }

    @Test func logsOfSeveralProgramsComeInTheOrderOfTime() async throws {
        let live = LiveNodeData(
            logSources: ["a", "b"],
            logs: { _, source, question in
                let times = source == "a" ? ["10:00:01", "10:00:03"] : ["10:00:02", "10:00:02"]
                return LogPage(lines: times.map { "2026-01-01T\($0)Z info \(source)" }.suffix(question.count))
            }, console: { _, question in LogPage(lines: ["boot", "login:"].suffix(question.count)) })
        try await withFleet(live: live) { fleet in
            try await fleet.addNode("n1", number: 1)
            try await fleet.with(.member) { (client: FleetClient) async throws in
                #expect(try await client.logs(of: "n1").lines.map(\.source) == ["a", "b", "b", "a"])
                #expect(try await client.logs(of: "n1", LineFilter(lines: 1, source: "a")).lines.count == 1)
                #expect(try await client.console(of: "n1", LineFilter(lines: 1)).lines == ["login:"])
            }
        }
    }

    @Test func followingAConsoleIsOneEventInTenMinutes() async throws {
        let live = LiveNodeData(console: { _, _ in LogPage(lines: ["login:"]) })
        try await withFleet(live: live) { fleet in
            try await fleet.addNode("n1", number: 1)
            try await fleet.addNode("n2", number: 2)
            for _ in 0..<3 {
                for role in [OperatorRole.member, .admin] {
                    #expect(try await fleet.with(role) { try await $0.console(of: "n1").lines } == ["login:"])
                }
            }
            #expect(try await fleet.audit.events().events.count == 2, "one a caller")
            _ = try await fleet.with(.member) { try await $0.console(of: "n2") }
            fleet.clock.advance(by: .seconds(601))
            _ = try await fleet.with(.member) { try await $0.console(of: "n1") }
            #expect(try await fleet.audit.events().events.count == 4)
            for _ in 0..<2 {
                #expect(
                    try await fleet.raw("GET", "/fleet/v1/nodes/n1/console", token: fleet.tokens[.reader]).status == 403
                )
            }
            #expect(try await fleet.audit.events().events.count == 6, "each refusal is told")
        }
    }

    @Test func metricsAreOfTheConductorAndOfNodes() async throws {
        let id = try NodeID("00000000-0000-4000-8000-000000000001")
        let live = LiveNodeData(
            metrics: { node, name in node == id ? "node_up{node=\"\(name)\"} 1\n" : nil }, metricNodes: { [id] },
            agentCount: { 3 })
        try await withFleet(live: live) { fleet in
            try await fleet.addNode("n1", number: 1) { $0.status.state = .active }
            let token = fleet.tokens[.reader]
            let own = try await fleet.raw("GET", "/metrics", token: token).body
            let expected = [
                "muster_nodes{state=\"active\"} 1", "muster_nodes{state=\"enroll\"} 0", "muster_agents_connected 3",
                "muster_conductor_info{version=\"1.2.3\"} 1", "# TYPE process_cpu_seconds_total counter",
                "process_resident_memory_bytes ",
            ]
            for line in expected { #expect(own.contains(line), "\(line)") }
            let second = try await fleet.raw("GET", "/metrics", token: token).body
            #expect(second.contains("muster_http_requests_total{method=\"GET\",status=\"2xx\"} 1"))
            let node = try await fleet.raw("GET", "/metrics/nodes/\(id)", token: token).body
            #expect(node == "node_up{node=\"n1\"} 1\n")
            let targets = try await fleet.raw("GET", "/metrics/http_sd", token: token).body
            let found = try JSONDecoder().decode([MetricsTarget].self, from: Data(targets.utf8))
            #expect(found.map(\.labels["instance"]) == ["n1"])
            #expect(found.first?.targets == [String(fleet.api.dropFirst("http://".count))])
            #expect(found.first?.labels["__metrics_path__"] == "/metrics/nodes/\(id)")
        }
    }

    @Test func whatCannotBeReachedSaysWhatToDo() async throws {
        let client = try FleetClient(.init(api: "http://127.0.0.1:1", token: "x"))
        let error = await #expect(throws: ClientError.self) { try await client.version() }
        await client.shutdown()
        #expect(error?.exitCode == 5)
        #expect(error?.publicMessage.contains("--api") == true)
        #expect(throws: ClientError.self) { try FleetClient(.init(api: "http://10.0.0.1:9443")) }
        #expect(throws: ClientError.self) {
            try FleetClient(.init(api: "https://10.0.0.1:9443", authorityFile: "/nonexistent/ca.pem"))
        }
    }
}
