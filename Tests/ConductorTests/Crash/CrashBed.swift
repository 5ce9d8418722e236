import AgentProtocol
import CatalogBareMetal
import FleetContract
import Foundation
import Primitives
import StoreSQLite
import TestSupport
import Testing

/// A conductor and machines in namespaces, any of which a test may end at any moment.
struct CrashBed {
    let scene: ConductorScene
    let machines: [CrashMachine]

    private var line: String {
        "muster-conductor --state-dir \(scene.state) --local-loader /nonexistent --conductor-name seed "
            + "--advertise \(Self.address)"
    }

    /// The conductor's address on the machines' network.
    static let address = "10.91.0.1"

    /// Runs `body` with a bed; all that was made is gone afterwards.
    static func with(
        _ label: String, machines count: Int, image: MachineImage = .network, _ body: (CrashBed) async throws -> Void
    ) async throws {
        try await ConductorScene.with(label) { scene in
            try await scene.ip("link add rack0 type bridge")
            try await scene.ip("address add \(address)/24 dev rack0")
            try await scene.ip("link set rack0 up")
            let bed = CrashBed(
                scene: scene,
                machines: (1...count).map {
                    CrashMachine($0, scene: scene.namespace, folder: scene.path("machines"), image: image)
                })
            var bmcs: SceneBMCs?
            var failure: (any Error)?
            do {
                for machine in bed.machines { try await machine.make() }
                bmcs = try await SceneBMCs.serve(bed.machines, in: scene.namespace)
                try await bed.prepare(image)
                try await body(bed)
            } catch {
                failure = error
                await bed.tellWhy()
            }
            for machine in bed.machines { await machine.remove() }
            await bmcs?.close()
            if let failure { throw failure }
        }
    }

    private func prepare(_ image: MachineImage) async throws {
        try await scene.start(line)
        try scene.write("kernel", String(repeating: "no kernel\n", count: 100))
        // What a node image has for a test: something large, and the file system of the state, which comes last.
        try await scene.host(
            """
            cd \(scene.path("")) && truncate -s 64M image.raw && mkfs.ext4 -q -L state state.ext4 16M &&
            printf 'label: gpt\\nstart=2048,size=81920,name=root\\nstart=83968,size=32768,name=state\\n' |
                sfdisk -q image.raw && head -c \(image.contentSize)M /dev/urandom | dd of=image.raw bs=1M seek=1 conv=notrunc status=none &&
            dd if=state.ext4 of=image.raw bs=1M seek=41 conv=notrunc status=none
            """)
        var site = """
            site: { name: crash, sshKeyFilesEnv: MUSTER_SSH_KEY_FILE, overlay: { vni: 42, mtu: 1400 } }
            segments:
              - { name: rack, interface: rack0, network: 10.91.0.0/24, server: 10.91.0.1, pool: { start: 10.91.0.100, end: 10.91.0.199 } }
            bmcs:

            """
        for machine in machines {
            site +=
                "  - { name: \(machine.name)-bmc, address: \"http://\(SceneBMCs.address):\(SceneBMCs.port)\", system: \(machine.name), "
                + "username: admin, passwordEnv: MUSTER_BMC_PASSWORD, powersOnForDiscovery: true }\n"
        }
        site += "rules:\n"
        for machine in machines {
            site +=
                "  - { name: \(machine.name), match: { system.serial: \(machine.serial) }, "
                + "gives: { name: \(machine.name), bmc: \(machine.name)-bmc } }\n"
        }
        try scene.write("site.yaml", site)
        for line in [
            "image push-ramdisk --kernel \(scene.path("kernel")) --initrd \(scene.path("kernel"))",
            "image push node --role \(image.role) --file \(scene.path("image.raw"))",
            "site apply \(scene.path("site.yaml"))",
        ] {
            let answer = try await scene.type("muster \(line)")
            try #require(answer.status == 0, "\(line): \(answer.output)")
        }
    }

    /// kill -9 of the conductor, and another one at once; it is not waited for.
    func crashConductor() async throws {
        try await scene.kill()
        scene.begin(line)
    }

    /// Copies the store as a kill leaves it to a folder of this name, and goes on.
    func copyStore(to name: String) async throws {
        try await scene.kill()
        try await scene.host("mkdir \(scene.path(name)) && cp -a \(scene.state)/store.sqlite* \(scene.path(name))/")
        try await scene.start(line)
    }

    /// Puts such a copy back, in place of the store and of what the conductor knows of it beside it.
    func putStoreBack(from name: String) async throws {
        try await scene.kill()
        try await scene.host(
            "rm \(scene.state)/store.sqlite* \(scene.state)/store.mark; cp -a \(scene.path(name))/* \(scene.state)/")
        try await scene.start(line)
    }

    /// Changes the store behind the back of the conductor, which does not run meanwhile.
    func changeStore(_ change: (SQLiteStore) async throws -> Void) async throws {
        try await scene.kill()
        let store = try await SQLiteStore.open(path: "\(scene.state)/store.sqlite")
        try await change(store)
        try await store.close()
        try await scene.start(line)
    }

    /// Types a `muster` command until it is acknowledged.
    func insist(_ command: String, within limit: Duration = .seconds(60)) async throws {
        let end = ContinuousClock.now + limit
        while true {
            let answer = try await scene.type("muster \(command)")
            // What a lost answer has done already is refused the second time.
            if answer.status == 0 || answer.status == 4 { return }
            guard ContinuousClock.now < end else { throw CrashError(what: "\(command): \(answer.output)") }
            try await Task.sleep(for: .milliseconds(100))
        }
    }

    /// A command's `--json`; nil while the conductor is away.
    func json<Value: Decodable>(_ type: Value.Type, _ command: String) async throws -> Value? {
        let answer = try await scene.type("muster \(command) --json")
        guard answer.status == 0 else { return nil }
        return try JSONDecoder().decode(type, from: Data(answer.output.utf8))
    }

    /// The machines' nodes by name; nil while the conductor is away.
    func nodes() async throws -> [String: NodeSummary]? {
        guard let list = try await json(NodeList.self, "node list") else { return nil }
        let names = Set(machines.map(\.name))
        return Dictionary(
            list.nodes.filter { names.contains($0.name) }.map { ($0.name, $0) }, uniquingKeysWith: { first, _ in first }
        )
    }

    /// Whether all machines are in `state`; throws when one has failed.
    func areAll(_ state: String) async throws -> Bool {
        guard let nodes = try await nodes() else { return false }
        for node in nodes.values where node.state.hasSuffix("failed") {
            throw CrashError(what: "\(node.name) is '\(node.state)': \(node.wait?.cause ?? node.lastError ?? "")")
        }
        return nodes.count == machines.count && nodes.values.allSatisfy { $0.state == state }
    }

    func wait(for state: String, within limit: Duration) async throws {
        let end = ContinuousClock.now + limit
        while try await !areAll(state) {
            guard ContinuousClock.now < end else {
                let nodes = try await nodes()
                let told = (nodes ?? [:]).values.map { "\($0.name) \($0.state) \($0.wait?.cause ?? "")" }.sorted()
                throw CrashError(what: "not all machines are \(state) within \(limit): \(told)")
            }
            try await Task.sleep(for: .milliseconds(100))
        }
    }

    /// Waits until every node's agent has its stream.
    func waitForAgents(within limit: Duration) async throws {
        let end = ContinuousClock.now + limit
        while try await nodes()?.values.filter({ $0.isConnected == true }).count != machines.count {
            guard ContinuousClock.now < end else { throw CrashError(what: "an agent has no stream within \(limit)") }
            try await Task.sleep(for: .milliseconds(100))
        }
    }

    private func tellWhy() async {
        let log = scene.lastLog.split(separator: "\n").filter { !$0.hasSuffix("[APISupport] request") }
        var text = String(log.joined(separator: "\n").suffix(4000))
        for machine in machines { text += "\n\(machine.name): " + (await machine.lastWords()) }
        for machine in machines {
            let events = try? await scene.type("muster node events \(machine.name)")
            text += "\n\(machine.name): \(events?.output ?? "")"
        }
        Issue.record("the conductor and the machines:\n\(text)")
    }
}
