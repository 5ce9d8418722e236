import AgentProtocol
import AsyncHTTPClient
import BlobStore
import CatalogBareMetal
import CatalogIdentity
import DHCP
import FleetAPI
import Foundation
import Glibc
import HTTPTypes
import Logging
import NIOCore
import NIOHTTP1
import Primitives
import ResourceModel
import StoreEtcd
import StoreSQLite
import TestSupport
import Testing

@testable import APISupport
@testable import BareMetal
@testable import BootServer
@testable import ConductorServer

/// The board, the alerts and the configuration of Prometheus in `Inventory`, held against what is really exported and
/// against a real Prometheus.
@Suite(.serialized, .timeLimit(.minutes(3)))
struct MonitoringTests {
    private static let inventory = RunningConductor.package + "/Inventory"

    /// What the board asks, with the values that Grafana puts into the places of its variables.
    private static func boardQueries() throws -> [(panel: String, query: String)] {
        struct Board: Decodable {
            var panels: [Panel]
            struct Panel: Decodable {
                var title: String
                var type: String
                var targets: [Target]?
            }
            struct Target: Decodable { var expr: String }
        }
        let board = try JSONDecoder().decode(
            Board.self, from: try Data(contentsOf: URL(fileURLWithPath: inventory + "/grafana-fleet.json")))
        for panel in board.panels where panel.type != "row" {
            #expect(panel.targets?.isEmpty == false, "'\(panel.title)' asks nothing")
        }
        return board.panels.flatMap { panel in
            (panel.targets ?? []).map { target in
                (
                    panel.title,
                    target.expr.replacing("$__rate_interval", with: "1m").replacing("$node", with: ".*")
                )
            }
        }
    }

    private static func lines(of file: String, after word: String) throws -> [String] {
        try String(contentsOfFile: inventory + "/" + file, encoding: .utf8).split(separator: "\n").compactMap { line in
            let text = line.drop { $0 == " " || $0 == "-" }
            return text.hasPrefix(word) ? String(text.dropFirst(word.count)) : nil
        }
    }

    /// The names of metrics in an expression: identifiers that are neither functions nor words nor labels.
    static func metrics(in expression: String) -> Set<String> {
        let bare = expression.replacing(/"[^"]*"/, with: "").replacing(/\{[^}]*\}/, with: " ")
            .replacing(/\[[^\]]*\]/, with: " ")
            .replacing(/\b(by|without|on|ignoring|group_left|group_right)\s*\([^)]*\)/, with: " ")
        let words: Set<String> = ["or", "and", "unless", "bool", "offset", "group_left", "group_right", "up"]
        return Set(
            bare.matches(of: /[a-zA-Z_:][a-zA-Z0-9_:]*(\s*\()?/).filter { $0.output.1 == nil }
                .map { String($0.output.0) }
        ).subtracting(words)
    }

    @Test func `names are found in expressions`() {
        #expect(
            Self.metrics(
                in: #"sum by (a, b) (rate(x_total{c="d e", f=~"g"}[5m])) / on (h) group_left y > 0 or vector(1)"#)
                == ["x_total", "y"])
    }

    @Test func `board and alerts name only what is exported`() async throws {
        let names = Names()
        let sensors = BMCSensors.Report(
            readings: [SensorReading(name: "Inlet", value: 24, unit: .celsius, isGood: true)],
            at: Timestamp(millisecondsSinceEpoch: 0))
        try await withFleet(live: LiveNodeData(sensors: { _ in sensors })) { fleet in
            try await FleetScene(fleet: fleet).fill()
            try await fleet.put(
                Segment(
                    metadata: Metadata(name: "a", schemaVersion: 1, created: fleet.clock.now),
                    spec: .init(
                        interface: "eth0", network: try IPv4Network("10.77.0.0/24"),
                        server: try IPv4Address("10.77.0.1"),
                        pools: [.init(start: try IPv4Address("10.77.0.50"), end: try IPv4Address("10.77.0.99"))])))
            _ = try await fleet.raw("GET", "/metrics", token: fleet.tokens[.admin])
            let (status, text) = try await fleet.raw("GET", "/metrics", token: fleet.tokens[.admin])
            #expect(status == 200)
            #expect(text.contains(#"muster_segment_addresses{segment="a"} 50"#), "both ends of a pool are in it")
            #expect(text.contains(#"muster_node_agent_up{node="net-10",role="network"} 0"#))
            #expect(!text.contains(#"muster_node_agent_up{node="net-14""#), "a node in maintenance alerts nobody")
            #expect(text.contains(#"owner="operator",role="",state="enroll"}"#))
            names.add(text.matches(of: /# TYPE (\S+)/).map { String($0.output.1) })
        }
        let boot = BootCounters()
        boot.count(dhcp: .discover, isSent: false, segment: "a")
        boot.count(tftp: .done)
        boot.count(http: 200)
        let streams = StreamCounters()
        streams.count(
            .status(.init(observedRevision: .zero, observedGeneration: Generation(0), roles: [], addresses: [])))
        names.add((boot.samples + streams.samples + AgentFigures.all()).map(\.name))
        let files = try TemporaryDirectory("board-blobs")
        let blobs = SiteBlobs(alone: try FileBlobStore(directory: files.path))
        names.add(BlobFigures(blobs).samples.map(\.name))
        let meter = RouteMeter(service: "identity", method: "GET", route: "/v3/users")
        meter.note(.ok, .milliseconds(1))
        names.add(RouteMeter.samples([meter], of: "identity").map(\.name))
        let folder = try TemporaryDirectory("watch")
        let mark = StoreMarkFile(directory: folder.path)
        let store = try await SQLiteStore.open(path: mark.storePath)
        let watch = StoreWatch(
            store: store, mark: mark, clock: SystemWallClock(), logger: Logger(label: "test"))
        names.add((watch.samples + StoreEngine.samples(of: EtcdStore.Health())).map(\.name))
        try await store.close()
        // The conductor sees all reports of nodes, and adds what it measures itself.
        let metrics = NodeMetrics()
        let id = try NodeID("3f2a91c4-07d8-4be1-9c35-d1e6f0a7b842")
        let now = Timestamp(millisecondsSinceEpoch: 1_000_000)
        _ = metrics.take(
            MetricsReport(time: now, samples: AgentFigures.all()), from: id, roundTrip: .milliseconds(3), at: now)
        let text = try #require(metrics.text(for: id, name: "n1", at: now))
        #expect(text.contains(#"muster_agent_round_trip_seconds{node="n1"} 0.003"#))
        names.add(text.matches(of: /# TYPE (\S+)/).map { String($0.output.1) })
        let known = names.all
        #expect(known.count > 80, "\(known.sorted())")
        for (panel, query) in try Self.boardQueries() {
            let unknown = Self.metrics(in: query).subtracting(known)
            #expect(unknown.isEmpty, "the panel '\(panel)' asks for \(unknown.sorted()), which nothing exports")
        }
        for expression in try Self.lines(of: "alerts.yml", after: "expr: ") {
            let unknown = Self.metrics(in: expression).subtracting(known)
            #expect(unknown.isEmpty, "'\(expression)' needs \(unknown.sorted()), which nothing exports")
        }
    }

    // SAFETY: filled and read by one test, one step after the other.
    private final class Names: @unchecked Sendable {
        private(set) var all: Set<String> = []
        func add(_ names: [String]) { all.formUnion(names) }
    }

    private static let isInstalled = access("/usr/bin/promtool", X_OK) == 0

    private static func promtool(_ arguments: String...) throws -> (status: Int32, output: String) {
        let process = Process()
        let pipe = Pipe()
        process.executableURL = URL(fileURLWithPath: "/usr/bin/promtool")
        process.arguments = arguments
        process.standardOutput = pipe
        process.standardError = pipe
        try process.run()
        let output = String(decoding: pipe.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
        process.waitUntilExit()
        return (process.terminationStatus, output)
    }

    @Test(.enabled(if: isInstalled, "prometheus is not installed"))
    func `promtool accepts the rules, and each alert fires when it should and else not`() throws {
        let rules = try Self.promtool("check", "rules", Self.inventory + "/alerts.yml")
        #expect(rules.status == 0, "\(rules.output)")
        let test = RunningConductor.package + "/Tests/Golden/monitoring/alerts.test.yml"
        let outcome = try Self.promtool("test", "rules", test)
        #expect(outcome.status == 0, "\(outcome.output)")
        let text = try String(contentsOfFile: test, encoding: .utf8)
        let alerts = try Self.lines(of: "alerts.yml", after: "alert: ")
        #expect(alerts.count > 20 && Set(alerts).count == alerts.count)
        for alert in alerts { #expect(text.contains("alertname=\"\(alert)\""), "\(alert) is not tested") }
        #expect(try Self.lines(of: "alerts.yml", after: "summary: ").count == alerts.count)
        #expect(try Self.lines(of: "alerts.yml", after: "action: ").count == alerts.count, "each says what to do")
        // Each question of the board as a rule, so that the parser sees it.
        let folder = try TemporaryDirectory("board")
        var board = "groups:\n  - name: board\n    rules:\n"
        for (index, entry) in try Self.boardQueries().enumerated() {
            board += "      - record: board:\(index)\n        expr: |\n          \(entry.query)\n"
        }
        try board.write(toFile: folder.appending("board.yml"), atomically: true, encoding: .utf8)
        let asked = try Self.promtool("check", "rules", folder.appending("board.yml"))
        #expect(asked.status == 0, "\(asked.output)")
        withExtendedLifetime(folder) {}
    }

    @Test(.enabled(if: isInstalled && geteuid() == 0, "needs root and prometheus"))
    func `a real Prometheus reads a conductor, and answers what the board asks`() async throws {
        try await RunningConductor.with { state, ports, client in
            let now = Timestamp(millisecondsSinceEpoch: Int64(Date().timeIntervalSince1970 * 1000))
            var post = HTTPClientRequest(url: "https://127.0.0.1:\(ports[2])\(DiscoveryPath.inventory)")
            post.method = .POST
            let inventory = InventoryPost(bootID: "boot-0001", inventory: FleetScene.inventory(now: now))
            post.body = .bytes(ByteBuffer(bytes: try JSONEncoder().encode(inventory)))
            post.headers.add(name: "Content-Type", value: "application/json")
            let registered = try await client.execute(post, timeout: .seconds(20))
            let answer = String(buffer: try await registered.body.collect(upTo: 9999))
            #expect(registered.status.code == 200, "\(answer)")

            let configuration = "\(state)/prometheus.yml"
            try String(contentsOfFile: Self.inventory + "/prometheus.yml", encoding: .utf8)
                .replacing("CONDUCTOR:9443", with: "127.0.0.1:\(ports[0])")
                .replacing("/etc/prometheus/alerts.yml", with: Self.inventory + "/alerts.yml")
                .replacing("/etc/prometheus/muster", with: state).replacing("15s", with: "1s")
                .write(toFile: configuration, atomically: true, encoding: .utf8)
            let check = try Self.promtool("check", "config", configuration)
            #expect(check.status == 0, "\(check.output)")
            let port = RunningConductor.freePorts(1)[0]
            let process = Process()
            process.executableURL = URL(fileURLWithPath: "/usr/bin/prometheus")
            process.arguments = [
                "--config.file=\(configuration)", "--storage.tsdb.path=\(state)/prometheus",
                "--web.listen-address=127.0.0.1:\(port)", "--log.level=warn",
            ]
            process.standardOutput = FileHandle.nullDevice
            process.standardError = FileHandle.nullDevice
            try process.run()
            defer {
                kill(process.processIdentifier, SIGKILL)
                process.waitUntilExit()
            }
            let asking = Asking(base: "http://127.0.0.1:\(port)")
            try await asking.wait(for: "sum(muster_nodes{state=\"enroll\"}) == 1")
            try await asking.wait(for: "up{job=\"conductor\"} == 1")
            for (panel, query) in try Self.boardQueries() {
                let answer = try await asking.ask(query)
                #expect(answer.contains(#""status":"success""#), "'\(panel)': \(query): \(answer)")
            }
            #expect(try await asking.ask("sum(muster_nodes)").contains(#","1"]"#))
            let rules = try await asking.get("/api/v1/rules")
            #expect(rules.components(separatedBy: #""type":"alerting""#).count > 20)
            #expect(!rules.contains(#""health":"err""#), "\(rules)")
            let targets = try await asking.get("/api/v1/targets")
            #expect(targets.contains("\"job\":\"conductor\"") && targets.contains("\"health\":\"up\""), "\(targets)")
        }
    }

    private struct Asking {
        let base: String

        func get(_ path: String) async throws -> String {
            let response = try await HTTPClient.shared.execute(
                HTTPClientRequest(url: base + path), timeout: .seconds(20))
            return String(buffer: try await response.body.collect(upTo: 4 << 20))
        }

        func ask(_ query: String) async throws -> String {
            var allowed = CharacterSet.alphanumerics
            allowed.insert("_")
            return try await get(
                "/api/v1/query?query=\(query.addingPercentEncoding(withAllowedCharacters: allowed) ?? "")")
        }

        func wait(for query: String) async throws {
            for _ in 0..<300 {
                if let answer = try? await ask(query), answer.contains("\"metric\":") { return }
                try await Task.sleep(for: .milliseconds(200))
            }
            Issue.record("Prometheus did not answer \(query): \((try? await ask(query)) ?? "nothing")")
        }
    }
}
