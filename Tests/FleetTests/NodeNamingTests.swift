import AgentProtocol
@testable import BareMetal
import CatalogBareMetal
import Primitives
import ResourceModel
import StoreMemory
import Synchronization
import Testing

/// An inventory of a machine that differs from others in its number.
func numberedInventory(_ number: UInt8, serial: String? = nil) -> InventoryReport {
    InventoryReport(
        agentVersion: "0.1.0", collectedAt: Timestamp(millisecondsSinceEpoch: 0), kernelVersion: "6.1.0",
        system: .init(vendor: "Acme", serial: serial, uuid: "3f2a91c4-07d8-4be1-9c35-\(number)", firmwareMode: .bios),
        cpu: .init(architecture: "x86_64", sockets: 1, cores: 4, threads: 8), memory: .init(total: .gibibytes(8)),
        disks: [],
        nics: [
            .init(
                name: "eth0", mac: MACAddress(bytes: [0x52, 0x54, 0, 0, 1, number]),
                permanentMAC: MACAddress(bytes: [0x52, 0x54, 0, 0, 1, number]), hasLink: true, mtu: 1500)
        ])
}

@Suite struct NodeNamingTests {
    private func outcome(
        _ pattern: String?, rack: String? = nil, role: Role? = nil, serial: String? = "SRV_0042.x",
        taken: Set<String> = []
    ) -> NodeNaming.Outcome {
        var decision = RuleDecision()
        decision.name = pattern
        decision.rack = rack
        decision.role = role
        return NodeNaming.name(
            for: decision, inventory: numberedInventory(1, serial: serial), otherwise: "node-000001",
            isTaken: taken.contains)
    }

    @Test func placesAreFilled() {
        #expect(outcome("{system.serial}").name == "srv-0042-x")
        #expect(outcome("{role}-{rack}-{nn}", rack: "Row B/3", role: .compute).name == "compute-row-b-3-01")
        #expect(outcome("c{nnn}", taken: ["c001", "c003"]).name == "c002")
        #expect(outcome(nil).name == "node-000001")
        #expect(outcome("fixed").name == "fixed")
    }

    @Test func whatCannotBeANameIsExplained() {
        let missing = outcome("{rack}-{system.serial}", serial: nil)
        #expect(missing.name == "node-000001")
        #expect(
            missing.note
                == "the name '{rack}-{system.serial}' needs rack and system.serial, which are not known of this machine"
        )
        let taken = outcome("fixed", taken: ["fixed", "fixed-2"])
        #expect(taken.name == "fixed-3")
        #expect(taken.note?.hasPrefix("the name 'fixed' belongs to another node, so it is 'fixed-3'") == true)
        let long = outcome("{system.serial}", serial: String(repeating: "a", count: 80), taken: ["node-000001"])
        #expect(long.name == "node-000001-2")
        #expect(long.note?.contains("which is no name") == true)
    }

    @Test(arguments: ["a{n}b{n}", "{", "}", "a{x}", "{disk.serial}", "-a", "A", "", "a{}"])
    func whatIsNoPatternIsRefused(_ text: String) {
        #expect(throws: InvalidValue.self) { try NamePattern(text) }
    }

    @Test func aNameIsKnownAgain() {
        var decision = RuleDecision()
        decision.name = "c{nn}"
        #expect(NodeNaming.fits("c17", decision, numberedInventory(1)))
        #expect(!NodeNaming.fits("c017", decision, numberedInventory(1)))
        #expect(!NodeNaming.fits("d17", decision, numberedInventory(1)))
    }

    @Test func theLowestFreeNumberIsFoundWithoutBeginningAnewEachTime() {
        let names = NamesUnderWay()
        let looks = Atomic<Int>(0)
        var decision = RuleDecision()
        decision.name = "c{n}"
        func choose(_ known: Set<String>, freed: UInt64) -> (NodeNaming.Outcome, NamesUnderWay.Hold) {
            let catalog = NodeNames(freed: freed) { name in
                looks.add(1, ordering: .relaxed)
                return known.contains(name)
            }
            return names.choose(for: decision, numberedInventory(1), otherwise: "x", catalog: catalog, taken: [])
        }
        let known = Set((1...500).map { "c\($0)" })
        #expect(choose(known, freed: 0).0.name == "c501")
        let before = looks.load(ordering: .relaxed)
        let (outcome, hold) = choose(known, freed: 0)
        #expect(outcome.name == "c501", "what nobody holds any more is free again")
        #expect(choose(known, freed: 0).0.name == "c502", "one that is under way is not")
        #expect(looks.load(ordering: .relaxed) - before < 10)
        #expect(choose(known.subtracting(["c7"]), freed: 1).0.name == "c7", "a node has gone")
        #expect(choose(known, freed: 1).0.name == "c502")
        withExtendedLifetime(hold) {}
    }

    /// Machines that come at the same moment, before any of them is seen in the catalog, still get names of their own.
    @Test func noTwoMachinesGetOneNumber() async throws {
        let store = MemoryStore()
        let writer = NodeWriter(store: store)
        let rule = Rule(
            metadata: Metadata(name: "all", schemaVersion: 1, created: Timestamp(millisecondsSinceEpoch: 0)),
            spec: Rule.Spec(order: 1, match: [], name: "c{nn}", role: .compute, rack: "r1"))
        let registrar = Registrar(
            store: store,
            submit: { try await writer.write($0, to: $1, now: Timestamp(millisecondsSinceEpoch: 0)).node },
            events: writer.events,
            catalog: .init(nodes: { [] }, node: { _ in nil }, rules: { [rule] }, bmcs: { [] }),
            saveInventory: { _ in Digest(bytes: [UInt8](repeating: 0, count: 32)) }, clock: SystemWallClock())
        let names = try await withThrowingTaskGroup(of: String.self) { group in
            for number in UInt8(1)...12 {
                group.addTask {
                    try await registrar.register(
                        InventoryPost(bootID: "boot-0000\(number)", inventory: numberedInventory(number))
                    ).name
                }
            }
            return try await group.reduce(into: [String]()) { $0.append($1) }
        }
        #expect(names.sorted() == (1...12).map { $0 < 10 ? "c0\($0)" : "c\($0)" })
        #expect(try await store.fetchAll(Node.self).allSatisfy { $0.value.spec.rack == "r1" })
    }
}
