import AgentProtocol
import CatalogBareMetal
import CatalogIdentity
import ClientSDK
import ControlPlane
import FleetAPI
import FleetContract
import Identity
import Primitives
import ResourceModel
import StoreMemory
import TestSupport
import Testing

@testable import ConductorServer

/// The controllers in the operators' API.
@Suite struct FleetAPIControllerTests {
    private func withControllers(
        _ names: [String] = ["c1", "c2", "c3", "c4"], patience: Duration = .seconds(5),
        _ body: @escaping @Sendable (FleetFixture, ControllerWorld) async throws -> Void
    ) async throws {
        try await withFleet(
            controllers: { store in
                let world = ControllerWorld(names, store: store)
                return ControllerServices(membership: world, surroundings: world, patience: patience)
            }
        ) { fleet in
            let world = try #require(fleet.controllers.membership as? ControllerWorld)
            try await fleet.put(world.record("c1"))
            try await body(fleet, world)
        }
    }

    @Test("What is wanted, planned, and how each controller is")
    func report() async throws {
        try await withControllers { fleet, world in
            let id = try await fleet.addNode("c1", number: 1) { node in
                node.spec.role = .controller
                var agent = Node.Agent(version: "1", bootID: "b", isConnected: true, since: fleet.clock.now)
                agent.conditions = [
                    Condition(
                        type: Condition.controllerSecretsReady, isTrue: true, message: "", since: fleet.clock.now)
                ]
                node.status.agent = agent
            }
            let facts = RoleFacts(
                controller: ControllerFacts(vip: .init(address: IPv4Address(0x0A4D_0063), state: .master)))
            let told = NodeFacts(
                metadata: Metadata(name: id.raw, schemaVersion: NodeFacts.schemaVersion, created: fleet.clock.now),
                spec: .init(node: id), status: NodeFacts.Status(facts: facts, changed: fleet.clock.now))
            _ = try await fleet.store.commit(Transaction(operations: [try Stored(new: told).put()]))
            let report = try await fleet.with(.reader) { try await $0.controllers() }
            #expect(report.wanted?.controllers == ["c1"] && report.beginning == nil && report.membersUnknown == nil)
            #expect(report.controllers.map(\.name) == ["c1", "c2", "c3", "c4"])
            let first = try #require(report.controllers.first)
            #expect(first.part == .stays && first.hasSecrets == true && first.hasVIP == true && first.isReady == true)
            #expect(first.members == [.init(id: "1", state: .leader, behind: 0)])
            #expect(first.address == IPv4Address(0x0A4D_0001))
            #expect(report.controllers[1].part == .spare && report.controllers[1].hasSecrets == nil)
            // Nobody has looked at the wish yet.
            #expect(!report.isSettled && report.phase == .changing)
        }
    }

    @Test("A plan shows each step with its proof and changes nothing; one that cannot be is refused in words")
    func plan() async throws {
        try await withControllers { fleet, world in
            try await fleet.with(.reader) { client in
                let plan = try await client.controllersPlan(["c1", "c3", "c2"])
                #expect(plan.controllers == ["c1", "c2", "c3"])
                #expect(plan.now == .init(count: 1, answering: 1, quorum: 1, mayFail: 0))
                #expect(plan.steps.first?.step == "add c2 to the store as a learner")
                let last = try #require(plan.steps.last)
                #expect(last.voters == .init(count: 3, answering: 3, quorum: 2, mayFail: 1))
                #expect(plan.steps.contains { $0.step == "let c2 vote" && $0.changesVoters })
                let refusals: [([String], String)] = [
                    (["c1", "c2"], "name 1, 3, 5 or 7"), (["c1", "c1", "c2"], "named twice"),
                    (["c1", "c2", "c9"], "no controller 'c9'"),
                ]
                for (names, words) in refusals {
                    await #expect { try await client.controllersPlan(names) } throws: { error in
                        (error as? ClientError)?.publicMessage.contains(words) == true
                    }
                }
                #expect(world.changes.isEmpty && plan.warnings.isEmpty)
                world.change("c3") { $0.isLentByOthers = true }
                let lent = try await client.controllersPlan(["c1", "c3", "c2"])
                #expect(lent.steps == plan.steps && lent.warnings.count == 1)
                #expect(lent.warnings.first?.contains("a DHCP server that is not the site's") == true)
            }
            #expect(try await fleet.store.controlPlane()?.spec.controllers == ["c1"])
        }
    }

    @Test(
        "A change writes what is wanted alone, once, by an administrator, with an event; who planned beside another is told"
    )
    func change() async throws {
        try await withControllers { fleet, world in
            let names = ["c3", "c1", "c2"]
            await #expect(throws: ClientError.self, "members may not") {
                try await fleet.with(.member) { try await $0.changeControllers(.init(controllers: names)) }
            }
            try await fleet.with { client in
                let plan = try await client.controllersPlan(names)
                let report = try await client.changeControllers(
                    .init(controllers: names, generation: plan.generation))
                #expect(report.wanted?.controllers == ["c1", "c2", "c3"] && !report.isSettled)
                #expect(report.controllers.map(\.part) == [.stays, .comes, .comes, .spare])
                await #expect {
                    try await client.changeControllers(.init(controllers: ["c1"], generation: plan.generation))
                } throws: { error in
                    (error as? ClientError)?.publicMessage.contains("Somebody else has changed") == true
                }
                // The same once more is no change.
                let same = try await client.changeControllers(.init(controllers: names))
                #expect(same.wanted == report.wanted)
                await #expect(throws: ClientError.self) {
                    try await client.changeControllers(.init(controllers: names, retired: ["77"]))
                }
                let retired = try await client.changeControllers(.init(controllers: names, retired: ["1"]))
                #expect(retired.wanted?.retired == ["1"])
            }
            let record = try #require(try await fleet.store.controlPlane())
            #expect(record.status == world.record("c1").status, "the status is its own writer's")
            let own = try await fleet.audit.events().events.map(\.spec).filter {
                $0.resource == ControlPlaneRecord.key(ControlPlaneRecord.name)
            }
            #expect(own.contains { $0.outcome == .ok && $0.summary?.contains("c1, c2, c3") == true }, "\(own)")
            #expect(world.changes.isEmpty, "what is wanted is made so by who leads")
        }
    }

    @Test("Changes under way, a member that is down, and members that do not answer")
    func trouble() async throws {
        try await withControllers(patience: .milliseconds(300)) { fleet, world in
            try await fleet.with { client in
                world.setHealthy(false, memberOf: "c1")
                await #expect { try await client.changeControllers(.init(controllers: ["c1", "c2", "c3"])) } throws: {
                    ($0 as? ClientError)?.publicMessage.contains("The store has no quorum") == true
                }
                #expect(try await client.controllers().controllers.first?.members.first?.state == .silent)
                world.setSilent(true)
                let report = try await client.controllers()
                #expect(report.membersUnknown?.contains("have not answered within") == true)
                #expect(report.controllers.first?.part == .stays, "what was assigned is known all the same")
                await #expect { try await client.controllersPlan() } throws: {
                    ($0 as? ClientError)?.publicMessage.contains("have not answered within") == true
                }
                world.setSilent(false)
                try await fleet.store.update(ControlPlaneRecord.self, ControlPlaneRecord.name) { current in
                    var stored = current
                    stored?.value.status.phase = .pivoting
                    return stored
                }
                await #expect { try await client.changeControllers(.init(controllers: ["c1", "c2", "c3"])) } throws: {
                    ($0 as? ClientError)?.publicMessage.contains("pivot --back") == true
                }
            }
        }
    }

    @Test("A site without a control plane says how one begins, with a store of its own and with a shared one")
    func none() async throws {
        try await withFleet { fleet in
            try await fleet.with { client in
                let report = try await client.controllers()
                #expect(report.wanted == nil && report.beginning?.contains("muster controller pivot NODE…") == true)
                await #expect { try await client.controllersPlan(["c1"]) } throws: {
                    ($0 as? ClientError)?.publicMessage.contains("muster controller pivot NODE…") == true
                }
            }
        }
        try await withFleet(controllers: { store in
            let world = ControllerWorld(["c1"], store: store)
            return ControllerServices(membership: world, surroundings: world)
        }) { fleet in
            try await fleet.with { client in
                let report = try await client.controllers()
                #expect(report.beginning?.contains("started by hand") == true)
                #expect(report.controllers.first?.part == .byHand)
                #expect(report.controllers.first?.members.map(\.state) == [.leader])
            }
        }
    }
}
