import Foundation
import Primitives
import Testing

/// `muster` signs in to a real conductor by its clouds.yaml.
@Suite struct CloudSignInTests {
    private struct Cloud {
        let state: String
        let folder: String

        /// Runs `muster` as somebody who has no operator's token.
        func muster(_ line: String, _ variables: [String: String] = [:]) async throws -> Shell.Answer {
            try await Shell.run(
                "muster \(line)",
                ["HOME": folder, "OS_CLIENT_CONFIG_FILE": "\(state)/clouds.yaml", "OS_CLOUD": "muster"]
                    .merging(variables) { $1 })
        }

        /// A clouds.yaml of clouds beside the conductor's own, with `edit` of that one's text.
        func write(_ name: String, _ edit: (String) -> String) throws -> [String: String] {
            let own = try String(contentsOfFile: "\(state)/clouds.yaml", encoding: .utf8)
            let path = "\(folder)/\(name).yaml"
            try edit(own).write(toFile: path, atomically: true, encoding: .utf8)
            return ["OS_CLIENT_CONFIG_FILE": path]
        }
    }

    private static func with(
        more: [String] = [], _ body: (Cloud) async throws -> Void
    ) async throws {
        try await RunningConductor.with(more: ["--password-cost", "8"] + more) { state, _, _ in
            let folder = state + "-home"
            try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
            defer { try? FileManager.default.removeItem(atPath: folder) }
            try await body(Cloud(state: state, folder: folder))
        }
    }

    @Test(.timeLimit(.minutes(3))) func `the conductor's own clouds.yaml opens the fleet by its catalog`() async throws
    {
        try await Self.with { cloud in
            let list = try await cloud.muster("node list --json")
            #expect(list.status == 0 && list.output.contains(#""nodes""#), "\(list)")
            let audit = try await cloud.muster("audit list")
            #expect(audit.status == 0, "\(audit)")

            // The system's scope counts as well as the administrators' project; no scope opens nothing.
            let system = try cloud.write("system") {
                $0.replacing("project_name: admin", with: "system_scope: all")
            }
            #expect(try await cloud.muster("node list", system).status == 0)
            let other = try cloud.write("other") { $0.replacing("project_name: admin", with: "project_name: service") }
            let refused = try await cloud.muster("node list", other)
            #expect(refused.status == 4, "no role there: \(refused)")

            let explained = try await cloud.muster("policy explain admin GET '/identity/v3/users/{user_id}'")
            for words in ["identity:get_user (as shipped)", "the system: may", "given to the user"] {
                #expect(explained.output.contains(words), "\(explained)")
            }
            let near = try await cloud.muster("policy explain admim fleet:node:read")
            #expect(near.status == 3 && near.output.contains("admin@Default"), "\(near)")
        }
    }

    @Test(.timeLimit(.minutes(3))) func `what is wrong with a cloud is told`() async throws {
        try await Self.with { cloud in
            let unknown = try await cloud.muster("node list --os-cloud mustr")
            #expect(unknown.status == 2 && unknown.output.contains("Did you mean 'muster'?"), "\(unknown)")
            let wrong = try cloud.write("wrong") { text in
                text.replacing(#/password: '.*'/#, with: "password: 'wrong'")
            }
            let refused = try await cloud.muster("node list", wrong)
            #expect(refused.status == 4 && refused.output.contains("--token-file"), "\(refused)")
            let both = try await cloud.muster("node list --os-cloud muster --token-file x")
            #expect(both.status == 2 && both.output.contains("exclude each other"), "\(both)")
            let none = try await cloud.muster(
                "node list",
                ["OS_CLIENT_CONFIG_FILE": "", "OS_CLOUD": "elsewhere", "MUSTER_API": "https://127.0.0.1:1"])
            #expect(none.status == 2, "\(none)")
            // The program's own variables come before those of OpenStack's clients.
            let token = try await cloud.muster(
                "node list",
                [
                    "MUSTER_TOKEN_FILE": "\(cloud.state)/operator.token", "OS_CLOUD": "nonsense",
                    "MUSTER_API": "https://127.0.0.1:1",
                ])
            #expect(token.status == 5, "it goes there with the token: \(token)")
        }
    }

    @Test(.timeLimit(.minutes(3))) func `the operator's own rules hold for the fleet and are told`() async throws {
        let policy = FileManager.default.temporaryDirectory.appending(path: "muster-policy-\(getpid()).yaml").path
        try #""fleet:token:read": "!""#.write(toFile: policy, atomically: true, encoding: .utf8)
        defer { try? FileManager.default.removeItem(atPath: policy) }
        try await Self.with(more: ["--policy", policy]) { cloud in
            let denied = try await cloud.muster("token list")
            #expect(denied.status == 4 && denied.output.contains("'fleet:token:read'"), "\(denied)")
            let rules = try await cloud.muster("policy list --overridden")
            #expect(rules.output.contains("fleet:token:read") && rules.output.contains("overridden"), "\(rules)")
            #expect(rules.output.split(separator: "\n").count == 2)
        }
    }
}
