import AgentProtocol
import Glibc
import NIOCore
import NIOPosix
import Primitives
import Testing

@testable import NodeAgent
@testable import RoleNetwork

@Suite("Tunnels between two nodes", .timeLimit(.minutes(3)))
struct TunnelTests {
    static func item(_ index: Int, mtu: UInt32 = 1450) throws -> OverlayItem {
        OverlayItem(
            vni: 7, bridge: "mbr7", device: "mvx7", local: try IPv4Address("10.9.0.\(index + 1)"),
            peers: [try IPv4Address("10.9.0.\(2 - index)")], peerNames: ["net-\(index == 0 ? "b" : "a")"], mtu: mtu)
    }

    static func view(_ index: Int) throws -> [String: NodeView.Item] {
        ["overlay-7": try NodeView.Item(kind: OverlayItem.kind, generation: Generation(1), encoding: item(index))]
    }

    @Test("A narrow path, a cut and its healing are noticed by both roles, which stay ready")
    func cutAndHealed() async throws {
        let nodes = TwoNodes("tunnel")
        defer { nodes.close() }
        for index in 0...1 { nodes.run(index, "ip link set cable mtu 1400") }
        let threads = MultiThreadedEventLoopGroup(numberOfThreads: 4)
        try await follow(nodes, threads)
        try await threads.shutdownGracefully()
    }

    private func follow(_ nodes: TwoNodes, _ threads: MultiThreadedEventLoopGroup) async throws {
        var times = ProbeTimes()
        times.doubtPause = .milliseconds(100)
        times.pause = .milliseconds(500)
        times.sizePause = .seconds(1)
        let roles = [NetworkRole(times: times), NetworkRole(times: times)]
        let loops = Array(threads.makeIterator())
        let executors = try await nodes.executors(loops, [0, 0, 1, 1])
        let (changes, change) = AsyncStream.makeStream(of: Void.self, bufferingPolicy: .bufferingNewest(1))
        try await withThrowingTaskGroup(of: Void.self) { group in
            for index in 0...1 {
                group.addTask {
                    await withTaskExecutorPreference(executors[2 * index]) {
                        await roles[index].run { change.yield() }
                    }
                }
            }
            /// Checks both roles at each change until both say just this of tunnels.
            func expect(_ type: String, _ isTrue: Bool) async throws {
                var notices = changes.makeAsyncIterator()
                while true {
                    var agree = 0
                    for index in 0...1 {
                        let status = await withTaskExecutorPreference(executors[2 * index + 1]) {
                            await roles[index].check()
                        }
                        #expect(status.isReady, "\(status)")
                        let told = status.conditions.filter {
                            $0.type.hasPrefix("Tunnel") && $0.type != "TunnelRulesReady"
                        }
                        let wanted = type.hasSuffix("/") ? "\(type)10.9.0.\(2 - index)" : type
                        if told.contains(where: { $0.type == wanted && $0.isTrue == isTrue })
                            && told.allSatisfy({ $0.isTrue || $0.type == wanted })
                        {
                            if !isTrue { #expect(told[0].message.contains("net-\(index == 0 ? "b" : "a") (10.9.0.")) }
                            agree += 1
                        }
                    }
                    if agree == 2 { return }
                    try #require(await notices.next() != nil)
                }
            }
            for index in 0...1 {
                let view = try Self.view(index)
                let status = await withTaskExecutorPreference(executors[2 * index + 1]) {
                    await roles[index].apply(view)
                }
                #expect(status.conditions.contains { $0.type == "TunnelsReachable" && $0.isTrue }, "\(status)")
            }
            try await expect("TunnelMTU/", false)
            for index in 0...1 { nodes.run(index, "ip link set cable mtu 1500") }
            try await expect("TunnelsReachable", true)
            nodes.run(1, "nft add table inet cut")
            nodes.run(1, "nft 'add chain inet cut incoming { type filter hook input priority -10; policy drop; }'")
            try await expect("Tunnel/", false)
            let down = await roles[0].metrics().first { $0.name == "muster_network_tunnel_up" }
            #expect(down?.labels == ["peer": "10.9.0.2", "peer_node": "net-b"] && down?.value == 0)
            nodes.run(1, "nft delete table inet cut")
            try await expect("TunnelsReachable", true)
            let samples = await roles[0].metrics()
            #expect(samples.first { $0.name == "muster_network_tunnel_up" }?.value == 1)
            #expect((samples.first { $0.name == "muster_network_tunnel_rtt_seconds" }?.value ?? 0) > 0)
            #expect((samples.first { $0.name == "muster_network_tunnel_lost_total" }?.value ?? 0) >= 3)
            group.cancelAll()
        }
    }
}
