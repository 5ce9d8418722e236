import AgentProtocol
import CatalogBareMetal
import CatalogIdentity
import ClientSDK
import FleetContract
import Foundation
import Identity
import Primitives
import ResourceModel
import StoreMemory
import TestSupport
import Testing

@testable import ConductorServer

@Suite struct FleetAPIRescueTests {
    private func active(_ fleet: FleetFixture, _ name: String, _ number: UInt8) async throws -> NodeID {
        try await fleet.addNode(name, number: number) { node in
            node.status.state = .active
            node.status.deployed = Generation(1)
            node.spec.role = .network
            node.spec.approval = Node.Approval(by: "x", at: fleet.clock.now, number: 1)
        }
    }

    @Test func `the password is in the answer and nowhere else`() async throws {
        try await withFleet { fleet in
            let id = try await active(fleet, "n1", 1)
            let password = Captured()
            try await fleet.with { (client: FleetClient) async throws in
                let reply = try await client.rescue("n1", RescueRequestBody(hours: 2))
                await password.set(reply.password)
                #expect(reply.passwordEnds == fleet.clock.now.advanced(by: .seconds(7200)))
                #expect(reply.message.contains("boot it over the network by hand"), "it has no BMC: \(reply.message)")
                let shown = try await client.node("n1")
                #expect(shown.spec.rescue?.number == 1)
            }
            let text = try #require(await password.text)
            #expect(text.wholeMatch(of: /([a-z2-9]{5}-){3}[a-z2-9]{5}/) != nil, "\(text)")
            // The secret holds a hash that libcrypt makes of the password again.
            let secret = try await fleet.vault.open(Node.RescueRequest.secretName(id)).revealed
            #expect(secret.hasPrefix("1 $y$") && !secret.contains(text))
            for kind in [Node.kind, AuditEvent.kind] {
                let page = try await fleet.store.list(kind: kind, after: nil, limit: 100)
                for document in page.documents {
                    let value = String(decoding: document.value, as: UTF8.self)
                    #expect(!value.contains(text) && !value.contains("$y$"), "\(value)")
                }
            }
            let node = try #require(try await fleet.node(id))
            #expect(node.spec.rescue?.by == "operator:test-admin")
        }
    }

    private actor Captured {
        private(set) var text: String?
        func set(_ text: String) { self.text = text }
    }

    @Test func `two passwords have nothing in common, and their hashes have salts`() throws {
        let one = try PasswordHash.make(SecretText("abc"))
        let two = try PasswordHash.make(SecretText("abc"))
        #expect(one.hasPrefix("$y$") && one != two)
    }

    @Test func `what cannot be rescued is told why, and what to do`() async throws {
        try await withFleet { fleet in
            func add(_ name: String, _ number: UInt8, _ state: NodeState, maintenance: Bool = false) async throws {
                _ = try await fleet.addNode(name, number: number) { node in
                    node.status.state = state
                    node.spec.approval = state == .enroll ? nil : Node.Approval(by: "x", at: fleet.clock.now, number: 1)
                    if maintenance {
                        node.spec.maintenance = Node.Maintenance(
                            reason: "a fan", by: "operator:x", since: Timestamp(millisecondsSinceEpoch: 0))
                    }
                }
            }
            try await add("blank", 1, .available)
            try await add("stranger", 2, .enroll)
            try await add("kept", 3, .active, maintenance: true)
            try await add("writing", 4, .deploying(.writing))
            try await add("there", 5, .rescue)
            try await add("leaving", 6, .unrescuing(.closing))
            _ = try await active(fleet, "fine", 7)
            try await fleet.with { (client: FleetClient) async throws in
                for (name, words) in [
                    ("blank", "muster node deploy blank"), ("stranger", "muster node approve stranger"),
                    ("kept", "maintenance off"), ("writing", "cannot be rescued now"),
                    ("there", "--new-password"), ("leaving", "unrescuing (closing) already"),
                ] {
                    let error = await #expect(throws: ClientError.self, "\(name)") { try await client.rescue(name) }
                    #expect(error?.publicMessage.contains(words) == true, "\(name): \(error?.publicMessage ?? "")")
                }
                for hours in [0, 73, -1] {
                    let error = await #expect(throws: ClientError.self) {
                        try await client.rescue("fine", RescueRequestBody(hours: hours))
                    }
                    #expect(error?.publicMessage.contains("1 to 72") == true)
                }
                let early = await #expect(throws: ClientError.self) {
                    try await client.rescue("fine", RescueRequestBody(newPassword: true))
                }
                #expect(early?.publicMessage.contains("not in rescue") == true)
                let idle = await #expect(throws: ClientError.self) { try await client.unrescue("fine") }
                #expect(idle?.publicMessage.contains("not in rescue") == true)
                let guarded = await #expect(throws: ClientError.self) {
                    try await client.deleteNode("there", force: true)
                }
                #expect(guarded?.publicMessage.contains("muster node unrescue there") == true)
                let another = try await client.rescue("there", RescueRequestBody(newPassword: true))
                #expect(another.message.contains("void"))
                _ = try await client.unrescue("there")
            }
            try await fleet.with(.reader) { (client: FleetClient) async throws in
                _ = await #expect(throws: ClientError.self) { try await client.rescue("fine") }
            }
        }
    }

    @Test func `the end of a rescue takes the secret away`() async throws {
        try await withFleet { fleet in
            let id = try await fleet.addNode("n1", number: 1) { node in
                node.status.state = .rescueFailed
                node.spec.approval = Node.Approval(by: "x", at: fleet.clock.now, number: 1)
            }
            try await fleet.with { (client: FleetClient) async throws in
                _ = try await client.rescue("n1")
                _ = try await client.unrescue("n1")
            }
            await #expect(throws: VaultError.self) { try await fleet.vault.open(Node.RescueRequest.secretName(id)) }
            let request = try #require(try await fleet.node(id)?.spec.rescue)
            #expect(request.number == 2 && request.passwordEnds == nil)
        }
    }
}
