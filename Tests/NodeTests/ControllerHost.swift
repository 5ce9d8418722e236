import AgentProtocol
import BareMetal
import CatalogBareMetal
import CLinux
import ControlPlane
import FoundationEssentials
import Glibc
import LinuxSystem
import Primitives
import ResourceModel
import Synchronization
import Testing

@testable import RoleController

/// A controller without a machine: a network namespace on a common bridge, with the controller role on a thread of its
/// own, as its agent would have it. The conductor is a program that only listens.
final class ControllerHost: Sendable {
    let name: String
    let address: IPv4Address
    let namespace: String
    let directory = Mutex(TemporaryDirectory())
    private let path: String
    private let state = Mutex(State())

    private struct State {
        var items: [String: NodeView.Item] = [:]
        var status: NodeStatusReport.RoleStatus?
        var isStopped = false
        var hasEnded = false
    }

    /// A host on the bridge that `Fabric` has made.
    init(_ number: Int, on fabric: Fabric) {
        name = "c\(number)"
        address = IPv4Address(0x0A09_0700 + UInt32(number))
        namespace = "\(fabric.name)-\(number)"
        path = directory.withLock { $0.path }
        Shell.run(
            """
            ip netns add \(namespace) && ip -n \(namespace) link set lo up
            ip -n \(fabric.name) link add c\(number) type veth peer name cable netns \(namespace)
            ip -n \(fabric.name) link set c\(number) master bridge up
            ip -n \(namespace) addr add \(address)/24 dev cable && ip -n \(namespace) link set cable up
            mkdir -p \(path)/identities/store \(path)/conductor && touch \(path)/conductor/master.key
            cp \(fabric.certificates)/ca.pem \(fabric.certificates)/cert.pem \(fabric.certificates)/key.pem \(path)/identities/store/
            cp \(fabric.certificates)/program \(path)/program
            """)
        start()
    }

    private var places: ServicePlaces { ServicePlaces(directory: path, runtime: "\(path)/run", hasUnits: false) }
    private var etcd: EtcdProgram { EtcdProgram(places: places) }
    private var conductor: ConductorProgram {
        var program = ConductorProgram(places: places)
        program.service.program = "\(path)/program"
        return program
    }

    /// Lets the agent read a view.
    func show(_ view: NodeView) { state.withLock { $0.items = view.items } }

    /// Whether its agent runs.
    var isRunning: Bool { state.withLock { !$0.isStopped } }

    var facts: ControllerFacts? { state.withLock { $0.status?.facts?.controller } }

    /// Everything of it dies at once.
    func cut() {
        state.withLock { $0.isStopped = true }
        while !state.withLock({ $0.hasEnded }) { usleep(10_000) }
        for process in [etcd.service.process, conductor.service.process] { if let process { kill(process, SIGKILL) } }
        // The messages tell why, when a test fails.
        usleep(100_000)
    }

    /// Whether its member of the store runs.
    var runsMember: Bool { etcd.service.process != nil }

    func close() {
        if isRunning { cut() }
        Shell.run("ip netns delete \(namespace)")
    }

    private func start() {
        var thread = pthread_t()
        let code = pthread_create(
            &thread, nil,
            { context in
                // SAFETY: retained by the creator for this thread alone.
                Unmanaged<ControllerHost>.fromOpaque(context!).takeRetainedValue().work()
                return nil
            }, Unmanaged.passRetained(self).toOpaque())
        precondition(code == 0, "no thread")
        pthread_detach(thread)
    }

    private func work() {
        defer { state.withLock { $0.hasEnded = true } }
        let file = open("/run/netns/\(namespace)", O_RDONLY | O_CLOEXEC)
        defer { Glibc.close(file) }
        guard clinux_enter_network_namespace(file) == 0 else { return }
        let role = ControllerRole(
            parts: [ControllerService(etcd), ControllerService(conductor)], clock: SystemWallClock())
        var shown: [String: NodeView.Item]?
        while isRunning {
            let items = state.withLock { $0.items }
            let mine = items.filter { role.itemKinds.contains($0.value.kind) }
            let mustApply = shown != mine || !(state.withLock { $0.status?.isReady } ?? true)
            shown = mine
            let status = here { mustApply ? await role.apply(mine) : await role.check() }
            state.withLock { $0.status = status }
            usleep(150_000)
        }
    }
}

/// A bridge in a namespace of its own, and what all hosts on it have: certificates, and a program in a conductor's place.
final class Fabric: Sendable {
    let name = "muster-plane-\(getpid())"
    let certificates: String
    private let directory = Mutex(TemporaryDirectory())

    init() {
        certificates = directory.withLock { $0.path }
        let addresses = (1...9).map { "IP:10.9.7.\($0)" }.joined(separator: ",")
        Shell.run(
            """
            set -e; ip netns add \(name); ip -n \(name) link add bridge type bridge; ip -n \(name) link set bridge up
            cd \(certificates)
            openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=authority \
                -keyout ca.key -out ca.pem
            openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=member -keyout key.pem -out member.csr
            printf 'subjectAltName=\(addresses)\\nextendedKeyUsage=serverAuth,clientAuth\\n' > member.ext
            openssl x509 -req -in member.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile member.ext -out cert.pem
            cat > program <<'END'
            #!/usr/bin/python3
            import socket, sys
            options = dict(word[2:].split("=", 1) for word in sys.argv[1:])
            listener = socket.create_server((options["api-host"], int(options["api-port"])))
            while True:
                listener.accept()[0].close()
            END
            chmod 700 program
            """)
    }

    func close() { Shell.run("ip netns delete \(name)") }
}

/// etcd's list of members, by its own program from the namespaces of the hosts.
struct EtcdctlMembership: StoreMembership {
    struct Refused: Error { var words: String }

    let hosts: [ControllerHost]
    let certificates: String

    /// What etcdctl answers from the first host whose member runs.
    func ask(_ words: String, at host: ControllerHost? = nil) throws -> String {
        guard let host = host ?? hosts.first(where: { $0.isRunning && $0.runsMember }) else {
            throw Refused(words: "no member runs")
        }
        let output = Shell.run(
            """
            ETCDCTL_API=3 ip netns exec \(host.namespace) etcdctl --endpoints https://\(host.address):2379 \
                --cacert \(certificates)/ca.pem --cert \(certificates)/cert.pem --key \(certificates)/key.pem \
                --dial-timeout 2s --command-timeout 4s \(words) 2>\(certificates)/errors || echo REFUSED
            """)
        guard !output.contains("REFUSED") else {
            throw Refused(words: SystemFile.text("\(certificates)/errors") ?? "")
        }
        return output
    }

    private struct List: Decodable {
        var members: [Member]
        struct Member: Decodable {
            var ID: UInt64
            var name: String?
            var peerURLs: [String]
            var isLearner: Bool?
        }
    }

    private struct Answer: Decodable {
        var Status: Body
        struct Body: Decodable {
            var leader: UInt64?
            var raftIndex: UInt64
        }
    }

    func members() async throws -> [StoreMember] {
        let list = try JSONDecoder().decode(List.self, from: Data(ask("member list -w json").utf8))
        var answers: [UInt64: Answer.Body] = [:]
        for member in list.members {
            guard let host = host(of: member.peerURLs), host.isRunning, host.runsMember,
                let text = try? ask("endpoint status -w json", at: host)
            else { continue }
            answers[member.ID] = try? JSONDecoder().decode([Answer].self, from: Data(text.utf8)).first?.Status
        }
        let newest = answers.values.map(\.raftIndex).max() ?? 0
        return list.members.map { member in
            let answer = answers[member.ID]
            return StoreMember(
                id: member.ID,
                peer: member.peerURLs.first.flatMap { try? SocketAddress($0.dropFirst("https://".count)) },
                isLearner: member.isLearner ?? false, isStarted: member.name?.isEmpty == false,
                isHealthy: answer?.leader ?? 0 != 0, isCaughtUp: (answer?.raftIndex ?? 0) + 20 >= newest,
                isLeader: answer?.leader == member.ID)
        }
    }

    private func host(of urls: [String]) -> ControllerHost? {
        hosts.first { host in urls.contains { $0.contains("//\(host.address):") } }
    }

    func addLearner(_ peer: SocketAddress) async throws {
        // Its name is told by itself when it starts.
        _ = try ask("member add joining --learner --peer-urls https://\(peer)")
    }

    func promote(_ id: UInt64) async throws { _ = try ask("member promote \(String(id, radix: 16))") }

    func remove(_ id: UInt64) async throws { _ = try ask("member remove \(String(id, radix: 16))") }

    func moveLeader(to id: UInt64) async throws {
        for member in try await members() where member.isLeader {
            let host = hosts.first { $0.address == member.peer?.host }
            _ = try ask("move-leader \(String(id, radix: 16))", at: host)
        }
    }
}
