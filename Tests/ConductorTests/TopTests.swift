import AgentProtocol
import CatalogBareMetal
import CatalogIdentity
import ClientSDK
import FleetAPI
import FleetContract
import Foundation
import Glibc
import NodeAgent
import Primitives
import ResourceModel
import TestSupport
import Testing

@testable import CLICommands
@testable import ConductorServer

/// `muster top`: the figures, the order, the keys and the screen.
@Suite struct TopTests {
    private static let clock = ManualWallClock()
    private static var now: Timestamp { clock.now }

    private static func row(
        _ name: String, _ number: UInt8, _ state: NodeState, role: Role? = nil,
        _ change: (inout NodeVitals) -> Void = { _ in }
    ) throws -> TopRow {
        var node = Node(
            metadata: Metadata(
                name: "00000000-0000-4000-8000-0000000000" + Hex.encode([number]), schemaVersion: 1, created: now),
            spec: Node.Spec(name: name), status: Node.Status(state: state, since: now, identity: MachineIdentity()))
        node.spec.role = role
        node.status.power = .on(since: now)
        let isActive = state == .active
        if isActive {
            node.status.agent = .init(version: "1", bootID: "b", isConnected: name != "network-0002", since: now)
        }
        var vitals = NodeVitals(reported: now.advanced(by: .seconds(-Int(number))))
        change(&vitals)
        let summary = try #require(NodeSummary(node))
        return TopRow(summary, vitals: isActive ? vitals : nil)
    }

    private static func reply() throws -> TopReply {
        let nodes = [
            try row("compute-0001", 1, .active, role: .compute) { vitals in
                (vitals.processorShare, vitals.load, vitals.memoryShare) = (0.974, 31.26, 0.5)
                (vitals.receivedRate, vitals.sentRate, vitals.roundTripSeconds) = (1_500_000, 2048, 0.0004)
            },
            try row("network-0001", 7, .active, role: .network) { vitals in
                (vitals.processorShare, vitals.load, vitals.memoryShare) = (0.02, 0.11, 0.12)
                (vitals.receivedRate, vitals.sentRate, vitals.roundTripSeconds) = (98_000_000, 97_000_000, 0.0121)
            },
            try row("network-0002", 200, .active, role: .network),
            try row("node-0a1b2c", 3, .enroll),
            try row("storage-0001", 5, .active, role: .storage) { vitals in
                (vitals.processorShare, vitals.load, vitals.memoryShare) = (0.3, 2, 0.97)
                (vitals.receivedRate, vitals.sentRate, vitals.poolShare) = (0, 12, 0.93)
            },
            try row("storage-0002", 6, .deploying(.writing), role: .storage),
        ]
        return TopReply(time: now, states: ["active": 4, "enroll": 1, "deploying": 1, "cleaning": 0], nodes: nodes)
    }

    private static func terminal(_ width: Int?) -> Terminal {
        Terminal(width: width, isInteractive: false, isJSON: false, clock: clock)
    }

    @Test func theScreenFits() throws {
        let reply = try Self.reply()
        for width in [60, 80, 120] {
            let lines = TopView().lines(reply, Self.terminal(width), height: 12)
            #expect(lines.count == 12)
            for line in lines { #expect(line.count <= width, "\(width): \(line)") }
            try GoldenFile.compare(lines.map { $0 + "\n" }.joined(), with: "cli/top-\(width).txt")
        }
        let all = TopView().lines(reply, Self.terminal(nil))
        #expect(all.count == 8 && all.allSatisfy { !$0.contains("…") })
        #expect(all[2].contains("97 %") && all[2].contains("31.3") && all[2].contains("0.4 ms"))
    }

    @Test func keysChooseOrderFilterAndRows() throws {
        let reply = try Self.reply()
        var view = TopView()
        #expect(view.take(Array("ss".utf8)) == .goOn && view.order == .processor)
        #expect(
            view.rows(of: reply).map(\.name) == [
                "compute-0001", "storage-0001", "network-0001", "network-0002", "node-0a1b2c", "storage-0002",
            ], "those without figures come last, by name")
        #expect(view.take(Array("s".utf8)) == .goOn && view.rows(of: reply).first?.name == "storage-0001")
        #expect(view.take(Array("s".utf8)) == .goOn && view.rows(of: reply).first?.name == "network-0001")
        #expect(view.take(Array("s".utf8)) == .goOn && view.rows(of: reply).first?.name == "network-0002")
        #expect(view.take(Array("s".utf8)) == .goOn && view.order == .name)
        #expect(view.take(Array("SSSSS".utf8)) == .goOn && view.order == .state)
        #expect(view.rows(of: reply).map(\.state).last == "enroll")

        #expect(view.take(Array("/Netq".utf8)) == .goOn && view.isTyping, "q is a letter of the filter")
        #expect(view.take([0x7F, 0x0D]) == .goOn && view.filter == "Net" && !view.isTyping)
        #expect(view.rows(of: reply).map(\.name) == ["network-0001", "network-0002"])
        #expect(view.take([0x1B]) == .goOn && view.filter == "")
        #expect(view.take([0x1B, 0x5B, 0x42]) == .goOn && view.scroll == 1)
        #expect(view.take([0x1B, 0x5B, 0x36, 0x7E], pageSize: 50) == .goOn)
        let lines = view.lines(reply, Self.terminal(80), height: 6)
        #expect(lines[2].hasPrefix("storage-0002") || lines.contains { $0.contains("4-6 of 6") }, "\(lines)")
        #expect(view.take([0x1B, 0x5B, 0x5A]) == .goOn, "a key that means nothing")
        var typing = view
        for end in [[0x03], Array("q".utf8), [0x1B]] as [[UInt8]] {
            var copy = view
            #expect(copy.take(end) == .quit)
        }
        _ = typing.take(Array("/".utf8))
        #expect(typing.take([0x03]) == .quit)
        _ = typing.take([UInt8](repeating: UInt8(ascii: "x"), count: 500))
        #expect(typing.filter.count == 60)
    }

    @Test func ratesAreBetweenReports() {
        var signs = VitalSigns()
        func report(_ seconds: Int, cpu: Double, idle: Double, received: Double) -> MetricsReport {
            MetricsReport(
                time: Self.now.advanced(by: .seconds(seconds)),
                samples: [
                    .init(name: "node_cpu_seconds_total", labels: ["mode": "user"], value: cpu, isCounter: true),
                    .init(name: "node_cpu_seconds_total", labels: ["mode": "idle"], value: idle, isCounter: true),
                    .init(name: "node_network_receive_bytes_total", labels: ["device": "eth0"], value: received),
                    .init(name: "node_network_receive_bytes_total", labels: ["device": "vxlan7"], value: 9e9),
                    .init(name: "node_memory_MemTotal_bytes", value: 1000),
                    .init(name: "node_memory_MemAvailable_bytes", value: 250),
                    .init(name: "muster_storage_pool_size_bytes", labels: ["pool": "a"], value: 100),
                    .init(name: "muster_storage_pool_free_bytes", labels: ["pool": "a"], value: 40),
                    .init(name: "muster_storage_pool_size_bytes", labels: ["pool": "b"], value: 0),
                    .init(name: "node_load1", value: .nan),
                ])
        }
        signs.take(report(0, cpu: 100, idle: 900, received: 5000), at: Self.now)
        #expect(signs.vitals?.processorShare == nil && signs.vitals?.receivedRate == nil && signs.vitals?.load == nil)
        #expect(signs.vitals?.memoryShare == 0.75 && signs.vitals?.poolShare == 0.6)
        signs.take(report(10, cpu: 105, idle: 915, received: 25_000), at: Self.now)
        #expect(signs.vitals?.processorShare == 0.25 && signs.vitals?.receivedRate == 2000)
        signs.take(report(20, cpu: 1, idle: 2, received: 10), at: Self.now)
        #expect(signs.vitals?.processorShare == nil && signs.vitals?.receivedRate == nil, "counters began anew")
        signs.take(report(20, cpu: 2, idle: 3, received: 11), at: Self.now)
        #expect(signs.vitals?.receivedRate == nil, "no time has passed")
        // A node that lies in its figures is shown without them, and spoils no other's: JSON has no infinity.
        signs.take(report(30, cpu: 2, idle: 3, received: -1e308), at: Self.now)
        signs.take(report(40, cpu: 2, idle: 3, received: 1e308), at: Self.now)
        #expect(signs.vitals?.receivedRate == nil)
        // What agents really send has what is shown.
        signs = VitalSigns()
        signs.take(MetricsReport(time: Self.now, samples: MachineMetrics.read()), at: Self.now)
        #expect(signs.vitals?.memory != nil && signs.vitals?.load != nil && signs.vitals?.memoryShare != nil)
    }

    @Test func theAPIAnswersForAllNodesAndTheProgramPrintsThem() async throws {
        let program = RunningConductor.package + "/.build/debug/muster"
        let live = LiveNodeData(vitals: { id in
            var vitals = NodeVitals(reported: Self.now)
            vitals.processorShare = 0.42
            return id.raw.hasSuffix("11") ? vitals : nil
        })
        try await withFleet(live: live) { fleet in
            try await FleetScene(fleet: fleet).fill()
            let reply = try await fleet.with(.reader) { try await $0.top() }
            #expect(reply.nodeCount == 17 && reply.nodes.count == 17 && reply.states["deploy failed"] == 1)
            #expect(reply.nodes.first { $0.name == "net-01" }?.vitals?.processorShare == 0.42)
            let refused = try await fleet.raw("GET", "/fleet/v1/top?limit=5001", token: fleet.tokens[.reader])
            #expect(refused.status == 400 && refused.body.contains("1 to 5000"))
            let cut = try await fleet.raw("GET", "/fleet/v1/top?limit=2", token: fleet.tokens[.reader])
            let part = try JSONDecoder().decode(TopReply.self, from: Data(cut.body.utf8))
            #expect(part.nodes.count == 2 && part.nodeCount == 17)

            let directory = try TemporaryDirectory("top")
            let token = directory.appending("token")
            try (fleet.tokens[.reader] ?? "").write(toFile: token, atomically: true, encoding: .utf8)
            // On a terminal: the screen is taken, and the terminal is what it was afterwards.
            let run = try TerminalRun(
                "\(program) top --api \(fleet.api) --token-file \(token); stty -a | grep -c ' icanon '")
            try await run.wait(for: "q quit")
            run.type("/")
            try await run.wait(for: "Filter: _")
            run.type("net-01")
            try await run.wait(for: "Filter: net-01_")
            run.type("\r")
            try await run.wait(for: "filter: net-01")
            run.type("q")
            let output = try await run.end()
            #expect(output.contains("\u{1B}[?1049h") && output.contains("\u{1B}[?1049l"), "\(output)")
            #expect(output.contains("17 machines") && output.contains("42 %") && output.contains("Filter: net-01_"))
            let last = output.components(separatedBy: "\u{1B}[?1049l").last ?? ""
            #expect(last.contains("1"), "the terminal is in lines again: \(last.debugDescription)")
            withExtendedLifetime(directory) {}
        }
    }
}
