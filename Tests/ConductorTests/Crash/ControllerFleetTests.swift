import AgentProtocol
import CatalogBareMetal
import FleetContract
import Foundation
import Glibc
import Primitives
import ResourceModel
import StoreSQLite
import Testing

/// The bed of the control plane's journeys is what it says.
@Suite(.enabled(if: geteuid() == 0, "namespaces need root"))
struct ControllerFleetTests {
    @Test(
        "What an agent has started outlives it and is adopted, ends with the power, and comes back with it",
        .timeLimit(.minutes(4)))
    func services() async throws {
        try await ControllerFleet.with("fleet", machines: 1) { fleet in
            let machine = try fleet.machine("m1")
            try await fleet.wait("a proxy runs", within: .seconds(30)) {
                try await !machine.processes("haproxy").isEmpty
            }
            let proxies = try await machine.processes("haproxy")
            try await machine.kill("controller-agen")
            try await fleet.wait("another agent runs", within: .seconds(30)) {
                try await !machine.processes("controller-agen").isEmpty
            }
            try await fleet.bed.waitForAgents(within: .seconds(60))
            #expect(try await machine.processes("haproxy") == proxies, "the proxy is another one")

            try await fleet.cut("m1")
            #expect(try await Shell.run("ip netns pids \(machine.namespace)").output == "")
            for process in proxies { #expect(Glibc.kill(process, 0) != 0, "the proxy outlived the power") }
            try await fleet.boot("m1")
            try await fleet.wait("a proxy runs", within: .seconds(60)) {
                try await !machine.processes("haproxy").isEmpty
            }
            try await fleet.bed.waitForAgents(within: .seconds(60))
        }
    }

    @Test(
        "The machine that the control plane names is given its secrets by the conductor; another with its role is not",
        .timeLimit(.minutes(5)))
    func secrets() async throws {
        try await ControllerFleet.with("secrets", machines: 2) { fleet in
            let (named, other) = (try fleet.machine("m1"), try fleet.machine("m2"))
            #expect(try await named.secrets().isEmpty)
            try await Self.name(["m1"], in: fleet.bed)
            try await fleet.wait("m1 is ready", within: .seconds(60)) {
                try await Self.condition("m1", in: fleet.bed)?.isTrue == true
            }
            try await fleet.bed.waitForAgents(within: .seconds(60))
            let given = try await named.secrets()
            #expect(given == ["600 ca.pem", "600 cert.pem", "600 key.pem", "600 master.key"])
            let root = try #require(try await named.root())
            let (store, key) = ("\(root)/identities/store", "\(root)/conductor/master.key")
            for judgement in [
                "cmp \(key) \(fleet.bed.scene.state)/master.key",
                "openssl verify -x509_strict -CAfile \(store)/ca.pem -verify_ip 127.0.0.1 \(store)/cert.pem",
                "! openssl verify -CAfile \(fleet.bed.scene.state)/ca.pem \(store)/cert.pem",
                "! grep -qf <(tail -n 1 \(key)) \(fleet.bed.scene.state)/store.sqlite \(fleet.bed.scene.path("log"))-*",
            ] {
                let answer = try await Shell.run(judgement)
                #expect(answer.status == 0, "\(judgement): \(answer.output)")
            }
            #expect(try await Self.handovers(in: fleet.bed) == 1)
            #expect(try await other.secrets().isEmpty)
            #expect(try await Self.condition("m2", in: fleet.bed) == nil, "nobody has told it that it should have any")

            // The next agent has them, and asks for nothing.
            try await named.kill("controller-agen")
            try await fleet.wait("another agent runs", within: .seconds(30)) {
                try await !named.processes("controller-agen").isEmpty
            }
            try await fleet.bed.waitForAgents(within: .seconds(60))
            #expect(try await named.secrets() == given)
            #expect(try await Self.handovers(in: fleet.bed) == 1)

            try await Self.name(["m2"], in: fleet.bed)
            try await fleet.wait("the secrets are where they belong", within: .seconds(60)) {
                let (gone, come) = (try await named.secrets(), try await other.secrets())
                return gone.isEmpty && come == given
            }
            #expect(try await Self.handovers(in: fleet.bed) == 2)
        }
    }

    /// Names the controllers in the store, as the order to move to them does. It goes no further than their secrets, as one of
    /// them never comes.
    private static func name(_ controllers: [String], in bed: CrashBed) async throws {
        try await bed.changeStore { store in
            _ = try await store.update(ControlPlaneRecord.self, ControlPlaneRecord.name) { stored in
                var stored =
                    stored
                    ?? Stored(
                        new: ControlPlaneRecord(
                            created: SystemWallClock().now, spec: .init(controllers: []),
                            status: .init(phase: .pivoting)))
                stored.value.spec.controllers = controllers + ["m9"]
                return stored
            }
        }
    }

    /// What the agent tells of its secrets.
    private static func condition(_ node: String, in bed: CrashBed) async throws -> Condition? {
        try await bed.json(WhyReply.self, "node why \(node)")?.conditions.first {
            $0.type == Condition.controllerSecretsReady
        }
    }

    /// How often the audit log tells of a handing over.
    private static func handovers(in bed: CrashBed) async throws -> Int {
        let answer = try await bed.scene.type("muster audit list --json")
        #expect(answer.status == 0, "\(answer.output)")
        return answer.output.components(separatedBy: "\"hand over secrets\"").count - 1
    }
}

extension CrashMachine {
    /// The agent's folder as this host sees it; nil: no agent runs.
    fileprivate nonisolated func root() async throws -> String? {
        try await processes("controller-agen").last.map { "/proc/\($0)/root/state/muster" }
    }

    /// The files of a controller's secrets with their modes.
    fileprivate nonisolated func secrets() async throws -> [String] {
        guard let root = try await root() else { return [] }
        let found = try await Shell.run(
            "find \(root)/identities \(root)/conductor -type f -printf '%m %f\\n' 2>/dev/null; true")
        return found.output.split(separator: "\n").map(String.init).sorted()
    }
}
