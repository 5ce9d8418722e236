import FoundationEssentials
import Primitives

extension Rack {
    /// What an operator's hand on the power button would do.
    public enum PowerAction: String, Sendable, CaseIterable {
        case on, off, reset

        /// The reset type of the Redfish schema ComputerSystem.
        var resetType: String {
            switch self {
            case .on: "On"
            case .off: "ForceOff"
            case .reset: "ForceRestart"
            }
        }
    }

    /// Switches a machine through its BMC; throws `RackError`.
    public func power(_ action: PowerAction, machine name: String) async throws {
        let machine = try file.machine(named: name)
        let body = "{\"ResetType\": \"\(action.resetType)\"}"
        let path = "/redfish/v1/Systems/\(machine.uuid)/Actions/ComputerSystem.Reset"
        let answer = try await redfish("POST", path, body: body)
        guard (200...204).contains(answer.status) else { throw answer.error }
    }

    /// Whether a machine is switched on, as its BMC says; throws `RackError`.
    public func isOn(machine name: String) async throws -> Bool {
        struct System: Decodable { var PowerState: String }
        let machine = try file.machine(named: name)
        let answer = try await redfish("GET", "/redfish/v1/Systems/\(machine.uuid)")
        guard answer.status == 200, let system = try? JSONDecoder().decode(System.self, from: Data(answer.body.utf8))
        else { throw answer.error }
        return system.PowerState == "On"
    }

    /// The paths of the systems that the Redfish service has.
    func redfishSystems() async throws -> Set<String> {
        struct Collection: Decodable { var Members: [[String: String]] }
        let answer = try await redfish("GET", "/redfish/v1/Systems")
        guard answer.status == 200, let list = try? JSONDecoder().decode(Collection.self, from: Data(answer.body.utf8))
        else { throw answer.error }
        return Set(list.Members.compactMap { $0["@odata.id"] })
    }

    /// An answer of the Redfish service; status 0 when there was none.
    struct RedfishAnswer: Sendable {
        var request: String
        var status: Int
        var body: String

        var error: RackError {
            .redfish(request: request, status: status, body: Commands.tail(body, limit: 500))
        }
    }

    /// One request with the rack's account, or with another password.
    func redfish(
        _ method: String, _ path: String, body: String? = nil, password: String? = nil
    ) async throws -> RedfishAnswer {
        // Settings go through standard input: a command line can be read by everyone.
        var settings = [
            "url = \"\(file.bmc.url)\(path)\"", "request = \"\(method)\"", "max-time = 30", "silent", "show-error",
            "user = \"\(quoted("\(file.bmc.user):\(password ?? file.bmc.password)"))\"", "noproxy = \"*\"",
            "write-out = \"\\n%{http_code}\"",
        ]
        if let body { settings += ["header = \"Content-Type: application/json\"", "data = \"\(quoted(body))\""] }
        let outcome = try await outcome(
            inNamespace: ["curl", "--disable", "--config", "-"], input: settings.joined(separator: "\n"))
        let request = "\(method) \(file.bmc.url)\(path)"
        guard outcome.status == 0, let end = outcome.output.lastIndex(of: "\n") else {
            return RedfishAnswer(request: request, status: 0, body: Commands.tail(outcome.errorOutput, limit: 300))
        }
        let status = Int(outcome.output[outcome.output.index(after: end)...]) ?? 0
        return RedfishAnswer(request: request, status: status, body: String(outcome.output[..<end]))
    }

    private func quoted(_ text: String) -> String {
        text.reduce(into: "") { result, character in
            if character == "\"" || character == "\\" { result.append("\\") }
            result.append(character)
        }
    }
}
