import AgentProtocol
import FleetContract
import Foundation
import GRDB
import Primitives
import StoreSQLite
import Testing

@testable import ConductorServer

/// The real conductor, discovery agents and role agents, killed with -9 at seeded random moments of ingest, deployment,
/// enrolment and cleaning, over real sockets, disks and SQLite.
///
/// `MUSTER_CRASH_SEED=7,8 swift test --filter KilledTests` takes other seeds; a seed fixes who is killed and after what
/// pauses, not what the system's scheduler makes of it.
@Suite(.serialized, .enabled(if: geteuid() == 0, "namespaces need root"))
struct KilledTests {
    static let seeds =
        ProcessInfo.processInfo.environment["MUSTER_CRASH_SEED"].map {
            $0.split(separator: ",").compactMap { UInt64($0) }
        }
        ?? [20261]

    /// Who was killed, for the test's word on it.
    struct Toll {
        var conductor = 0
        var discovery = 0
        var role = 0

        mutating func add(_ kind: CrashMachine.Kind) {
            switch kind {
            case .discovery: discovery += 1
            case .role: role += 1
            }
        }
    }

    @Test(.timeLimit(.minutes(8)), arguments: seeds)
    func everyMachineArrivesAndNothingAcknowledgedIsLost(seed: UInt64) async throws {
        try await CrashBed.with("killed", machines: 2) { bed in
            var random = SeededRandom(seed: seed)
            var toll = Toll()
            let strangers = try Strangers(
                namespace: bed.scene.namespace, folder: bed.scene.path("strangers"), state: bed.scene.state)
            let registering = Task { try await strangers.register(0..<100) }
            defer { registering.cancel() }

            try await kill(6, until: "enroll", bed, &random, &toll)
            for machine in bed.machines { try await bed.insist("node approve \(machine.name) --role network") }
            try await kill(12, until: "active", bed, &random, &toll)
            for machine in bed.machines { toll.add(try await killAgent(of: machine)) }
            try await bed.waitForAgents(within: .seconds(60))
            for machine in bed.machines { try await bed.insist("node clean \(machine.name) --all --release") }
            try await kill(6, until: "available", bed, &random, &toll)
            for machine in bed.machines { try await bed.insist("node approve \(machine.name) --role network") }
            try await kill(8, until: "active", bed, &random, &toll)

            registering.cancel()
            _ = try? await registering.value
            print(
                "seed \(seed): killed the conductor \(toll.conductor) times, discovery agents \(toll.discovery) times, "
                    + "role agents \(toll.role) times; \(strangers.nodes.count) strangers")
            #expect(toll.conductor == 16 && toll.discovery >= 3 && toll.role >= bed.machines.count, "\(toll)")
            #expect(toll.discovery + toll.role == 16 + bed.machines.count, "\(toll)")
            try await checkNodes(bed, strangers)
            try await checkLeases(bed)
            try await checkTokens(bed)
            try await checkStore(bed)
            try await checkAgentsNoticeAnOlderStore(bed)
        }
    }

    /// Kills `count` times, the conductor as often as an agent, while all machines go to `state`, and waits for that.
    /// Until the first is let in, all agents are those of the ramdisk.
    private func kill(
        _ count: Int, until state: String, _ bed: CrashBed, _ random: inout SeededRandom, _ toll: inout Toll
    ) async throws {
        for victim in (0..<count).shuffled(using: &random) {
            try await Task.sleep(for: .milliseconds(Int.random(in: 50...1900, using: &random)))
            if victim.isMultiple(of: 2) {
                try await bed.crashConductor()
                toll.conductor += 1
            } else {
                toll.add(try await killAgent(of: bed.machines[Int.random(in: bed.machines.indices, using: &random)]))
            }
        }
        try await bed.wait(for: state, within: .seconds(120))
    }

    /// Kills the agent that runs on a machine, or the next one that does.
    private func killAgent(of machine: CrashMachine) async throws -> CrashMachine.Kind {
        for _ in 0..<600 {
            if let kind = await machine.killAgent() { return kind }
            try await Task.sleep(for: .milliseconds(50))
        }
        throw CrashError(what: "no agent ran on \(machine.name) within half a minute")
    }

    /// One node a machine, and every stranger that was told to be a node still is that one.
    private func checkNodes(_ bed: CrashBed, _ strangers: Strangers) async throws {
        let list = try #require(try await bed.json(NodeList.self, "node list"))
        let known = Set(list.nodes.map(\.id.raw))
        #expect(known.count == list.nodes.count)
        #expect(Set(list.nodes.map(\.name)).count == list.nodes.count, "two nodes of one name")
        let acknowledged = strangers.nodes
        #expect(acknowledged.count > 10 && Set(acknowledged.values).count == acknowledged.count)
        for (number, node) in acknowledged {
            #expect(known.contains(node), "stranger \(number), node \(node), is lost")
        }
        // At most the one that was under way at the end is there without its answer.
        let more = list.nodes.count - acknowledged.count - bed.machines.count
        #expect((0...1).contains(more), "\(more) nodes of no machine")
        for machine in bed.machines {
            let show = try await bed.scene.type("muster node show \(machine.name)")
            #expect(show.output.contains(machine.serial), "\(show.output)")
        }
    }

    /// Every address that a machine was given is its own in the store, and no address has two.
    private func checkLeases(_ bed: CrashBed) async throws {
        let leases = try #require(try await bed.json(RecordList<LeaseRecord>.self, "lease list")).items
        #expect(Set(leases.map(\.address)).count == leases.count)
        for machine in bed.machines {
            let own = Set(leases.filter { "\($0.mac)" == machine.mac }.map { "\($0.address)" })
            let given = await machine.leases
            #expect(
                !given.isEmpty && given.isSubset(of: own), "\(machine.name) was given \(given), the store has \(own)")
            #expect(own.count == 1, "\(machine.name) has \(own)")
        }
    }

    /// After all those kills the file is whole, and has come at least as far as the mark beside it.
    private func checkStore(_ bed: CrashBed) async throws {
        try await bed.copyStore(to: "late")
        let path = "\(bed.scene.path("late"))/store.sqlite"
        let queue = try DatabaseQueue(path: path)
        let verdict = try await queue.read { try String.fetchAll($0, sql: "PRAGMA integrity_check") }
        try queue.close()
        #expect(verdict == ["ok"])
        let store = try await SQLiteStore.open(path: path)
        let mark = try #require(try StoreMarkFile(directory: bed.scene.state).load())
        #expect(mark.identity == store.identity)
        try await store.close()
    }

    /// When all of the state is put back, the mark too, the agents have seen more than the store.
    private func checkAgentsNoticeAnOlderStore(_ bed: CrashBed) async throws {
        try await bed.waitForAgents(within: .seconds(60))
        try await bed.copyStore(to: "early")
        for machine in bed.machines { try await bed.insist("node set \(machine.name) --rack later") }
        // The views that this makes are with the agents long before.
        try await Task.sleep(for: .seconds(2))
        try await bed.putStoreBack(from: "early")
        // Both come back by themselves, the one whose pause between two tries has grown longest after half a minute.
        let end = ContinuousClock.now + .seconds(60)
        var ahead: String?
        while ahead != "\(bed.machines.count)", ContinuousClock.now < end {
            ahead = try await bed.scene.metric("muster_agents_ahead_of_store")
            try await Task.sleep(for: .milliseconds(100))
        }
        #expect(ahead == "\(bed.machines.count)", "\(bed.scene.lastLog.suffix(3000))")
        let audit = try await bed.scene.type("muster audit list")
        let told = audit.output.split(separator: "\n").filter { $0.contains("find an older store") }
        #expect(told.count == 1, "\(told)")
    }

    /// A token of a deployment is of no use to another key, whatever was killed while it was redeemed.
    private func checkTokens(_ bed: CrashBed) async throws {
        for machine in bed.machines {
            let folder = "\(machine.folder)/tokens"
            var tokens: Set<String> = []
            for file in try FileManager.default.contentsOfDirectory(atPath: folder) {
                let identity = try JSONDecoder().decode(
                    AgentIdentityFile.self, from: Data(contentsOf: URL(fileURLWithPath: "\(folder)/\(file)")))
                if let token = identity.token { tokens.insert("\(identity.node.raw) \(token)") }
            }
            #expect(tokens.count >= 2, "\(machine.name) was deployed twice, with \(tokens.count) tokens")
            for token in tokens {
                let parts = token.split(separator: " ")
                let answer = try await bed.scene.type(
                    """
                    cd \(machine.folder) && openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes \
                    -keyout thief.key -subj /CN=\(parts[0]) -out thief.csr 2>/dev/null && python3 -c 'import json, sys
                    print(json.dumps({"node": sys.argv[1], "token": sys.argv[2], "signingRequest": open("thief.csr").read()}))' \
                    \(parts[0]) \(parts[1]) >thief.json && curl -s --cacert \(bed.scene.state)/ca.pem -w '%{http_code}' \
                    -H 'Content-Type: application/json' --data @thief.json https://127.0.0.1:8443\(DiscoveryPath.enrol)
                    """)
                #expect(answer.output.hasSuffix("403"), "a second key got: \(answer.output)")
            }
        }
    }
}
