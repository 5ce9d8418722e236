import FoundationEssentials
import Primitives
import VirtualRack

extension Bed {
    /// What is there of a bed.
    public struct Status: Sendable, Hashable, Codable {
        /// The controllers in order.
        public var controllers: [ControllerStatus]
        /// The nodes' streams; nil where the bed has no agents.
        public var agents: AgentStatus?
    }

    /// What is there of a controller.
    public struct ControllerStatus: Sendable, Hashable, Codable {
        public var name: String
        public var address: String
        /// Which parts run.
        public var running: [Part]
        /// Whether its member leads.
        public var leadsStore = false
        /// The revision that its member has; nil: it does not answer.
        public var storeRevision: Int64?
        /// Whether its conductor leads.
        public var leads = false
        /// The revision that its conductor shows; nil: it does not answer.
        public var shownRevision: Int64?
        /// Whether it has the virtual address.
        public var hasAddress = false
        /// Memory of each part in MiB.
        public var memory: [String: Int]
    }

    /// Looks at everything at once; takes 2 s at most.
    public func status() async -> Status {
        async let leading = leadingConductor()
        async let holders = addressHolders()
        async let agents = plan.agents > 0 ? agentStatus() : nil
        let members = await withTaskGroup(of: (String, MemberStatus?).self) { group in
            for name in plan.controllers { group.addTask { (name, await member(name)) } }
            return await group.reduce(into: [String: MemberStatus]()) { $0[$1.0] = $1.1 }
        }
        let shown = await withTaskGroup(of: (String, Int64?).self) { group in
            for name in plan.controllers {
                group.addTask { (name, await figure("muster_store_revision", of: name).map(Int64.init)) }
            }
            return await group.reduce(into: [String: Int64]()) { $0[$1.0] = $1.1 }
        }
        let (leader, withAddress) = await (leading, holders)
        var status = Status(
            controllers: plan.controllers.map { name in
                let running = Part.allCases.filter { process($0, of: name)?.isRunning == true }
                return ControllerStatus(
                    name: name, address: plan.address(of: name), running: running,
                    leadsStore: members[name]?.isLeader ?? false, storeRevision: members[name]?.revision,
                    leads: leader == name, shownRevision: shown[name], hasAddress: withAddress.contains(name),
                    memory: memory(of: name))
            })
        status.agents = await agents
        return status
    }

    struct MemberStatus: Sendable {
        var isLeader: Bool
        var revision: Int64
    }

    /// What a member says of itself; nil: nothing within a second.
    func member(_ name: String) async -> MemberStatus? {
        struct Answer: Decodable {
            struct Status: Decodable {
                struct Header: Decodable { var member_id: UInt64; var revision: Int64 }
                var header: Header
                var leader: UInt64?
            }
            var Status: Status
        }
        let words =
            plan.etcdctl([name]) + ["--command-timeout=1s", "--dial-timeout=1s", "endpoint", "status", "-w", "json"]
        guard let command = try? enter(.client, words),
            let outcome = try? await Commands.outcome(command, timeout: .seconds(3)), outcome.status == 0,
            let answer = try? JSONDecoder().decode([Answer].self, from: Data(outcome.output.utf8)).first
        else { return nil }
        let status = answer.Status
        return MemberStatus(isLeader: status.leader == status.header.member_id, revision: status.header.revision)
    }

    /// The controller whose member leads; nil: none does that answers.
    public func storeLeader() async -> String? {
        await withTaskGroup(of: (String, Bool).self) { group in
            for name in plan.controllers { group.addTask { (name, await member(name)?.isLeader ?? false) } }
            for await (name, isLeader) in group where isLeader { return name }
            return nil
        }
    }

    /// The controllers that have the virtual address; two while they do not hear each other.
    public func addressHolders() async -> [String] {
        await withTaskGroup(of: String?.self) { group in
            for name in plan.controllers {
                group.addTask {
                    let text = try? await run(["ip", "-o", "address", "show", "dev", "eth0"], at: .controller(name))
                    return text?.contains("\(BedPlan.virtualAddress)/") == true ? name : nil
                }
            }
            return await group.reduce(into: [String]()) { if let name = $1 { $0.append(name) } }.sorted()
        }
    }

    /// The controller whose conductor leads, as the conductors say; nil: nobody does, or none answers.
    public func leadingConductor() async -> String? {
        struct Answer: Decodable {
            struct Conductor: Decodable { var name: String; var isLeader: Bool }
            var items: [Conductor]
        }
        return await withTaskGroup(of: String?.self) { group in
            for name in plan.controllers {
                group.addTask {
                    guard let text = await get("/fleet/v1/conductors", of: name),
                        let answer = try? JSONDecoder().decode(Answer.self, from: Data(text.utf8))
                    else { return nil }
                    return answer.items.first(where: \.isLeader)?.name
                }
            }
            for await name in group { if let name { return name } }
            return nil
        }
    }

    /// A figure without labels that a conductor gives of itself; nil: it does not answer.
    func figure(_ metric: String, of name: String) async -> Int? {
        // Those of thousands of nodes are megabytes.
        let only = "curl --disable --config - | grep '^\(metric) '"
        guard let text = await get("/metrics", of: name, by: ["sh", "-c", only]) else { return nil }
        return text.split(whereSeparator: \.isWhitespace).last.flatMap { Double($0) }.map { Int($0) }
    }

    /// What a controller's conductor answers to the operator; nil: nothing, or an error.
    func get(
        _ path: String, of name: String, by program: [String] = ["curl", "--disable", "--config", "-"]
    ) async -> String? {
        let settings = """
            url = "https://\(plan.address(of: name)):\(BedPlan.apiPort)\(path)"
            cacert = "\(plan.authority)"
            max-time = 2
            silent
            fail
            header = "Authorization: Bearer \(token)"
            """
        guard let command = try? enter(.client, program),
            let outcome = try? await Commands.outcome(command, input: settings, timeout: .seconds(4)),
            outcome.status == 0
        else { return nil }
        return outcome.output
    }

    /// The operator's token.
    public var token: String {
        let data = FileManager.default.contents(atPath: plan.tokenFile) ?? Data()
        return String(decoding: data, as: UTF8.self).split(whereSeparator: \.isWhitespace).first.map(String.init) ?? ""
    }

    private func memory(of name: String) -> [String: Int] {
        Dictionary(
            uniqueKeysWithValues: Part.allCases.compactMap { part in
                guard let process = process(part, of: name), process.isRunning else { return nil }
                let text = FileManager.default.contents(atPath: "/proc/\(process.pid)/status") ?? Data()
                let line = String(decoding: text, as: UTF8.self).split(separator: "\n").first { $0.hasPrefix("VmRSS:") }
                return line?.split(separator: " ").dropFirst().first.flatMap { Int($0) }.map {
                    (part.rawValue, $0 >> 10)
                }
            })
    }
}
