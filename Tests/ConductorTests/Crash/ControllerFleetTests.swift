import Foundation
import Glibc
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
}
