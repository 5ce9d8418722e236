import AgentProtocol
import CatalogBareMetal
import CatalogIdentity
import ClientSDK
import FleetAPI
import FleetContract
import Primitives
import ResourceModel
import TestSupport
import Testing

@testable import CLICommands

@Suite struct NodeFactsTests {
    @Test func whatTheRolesToldIsShown() async throws {
        try await withFleet { fleet in
            let now = fleet.clock.now
            let id = try await fleet.addNode("n1", number: 1) { node in
                node.spec.role = .compute
                node.status.state = .active
                node.status.agent = Node.Agent(
                    version: "1", bootID: "b", isConnected: true, since: now, isReady: true,
                    conditions: [Condition(type: "HardwareVirtualization", isTrue: false, message: "slow", since: now)])
            }
            let facts = RoleFacts(
                compute: ComputeFacts(
                    libvirtVersion: "9.0.0", hypervisorVersion: "7.2.22",
                    processor: .init(architecture: "x86_64", model: "Broadwell", sockets: 2, cores: 4),
                    cells: [
                        .init(
                            id: 0, memory: .gibibytes(8), processors: 8,
                            hugePages: [.init(size: .mebibytes(2), count: 512)])
                    ],
                    guests: [.init(architecture: "x86_64", emulator: "/q", domainTypes: ["kvm", "qemu"])],
                    memory: .gibibytes(8),
                    domains: [.init(name: "vm1", uuid: "u", state: .running, processors: 2, memory: .gibibytes(1))],
                    domainCount: 11))
            try await fleet.put(
                NodeFacts(
                    metadata: Metadata(name: id.raw, schemaVersion: 1, created: now), spec: .init(node: id),
                    status: .init(facts: facts, changed: now)))
            try await fleet.with(.reader) { (client: FleetClient) async throws in
                let detail = try await client.node("n1")
                #expect(detail.facts == facts)
                let lines = NodeText.hypervisor(detail.facts?.compute).map { "\($0.name): \($0.text)" }
                #expect(
                    lines == [
                        "hypervisor: libvirt 9.0.0, QEMU 7.2.22",
                        "processor: x86_64 (Broadwell), 8 threads, 0 features, 0 models for guests",
                        "guests: x86_64 (kvm, qemu)", "NUMA cells: 0: 8 threads, 8 GiB, pages 512 × 2 MiB",
                        "domains: vm1 (running, 2 CPU, 1 GiB) and 10 more",
                    ])
                let why = try await client.why("n1")
                #expect(why.causes.last?.what == "version 1, ready, but HardwareVirtualization: slow")
            }
        }
    }
}
