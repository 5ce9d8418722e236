import AgentProtocol
import CLinux
import Glibc
import LinuxSystem
import Primitives
import TestSupport
import Testing

@testable import RoleController

/// A controller's files in a folder of the test's own, and its role with some of the services.
private final class Controller {
    let directory = TemporaryDirectory()
    var places: ServicePlaces {
        ServicePlaces(directory: directory.path, runtime: directory("run"), hasUnits: false)
    }
    let make: (Controller) -> [any ControllerPart]
    let stop: (Controller) throws -> Void
    private(set) var role: ControllerRole

    init(make: @escaping (Controller) -> [any ControllerPart], stop: @escaping (Controller) throws -> Void) {
        self.make = make
        self.stop = stop
        role = ControllerRole(parts: [], clock: SystemWallClock())
        restartAgent()
    }

    /// The next agent, which knows nothing of the last.
    func restartAgent() { role = ControllerRole(parts: make(self), clock: SystemWallClock()) }

    func apply<Item: ControllerItem>(_ item: Item?) -> NodeStatusReport.RoleStatus {
        let items = item.map {
            [Item.key: try! NodeView.Item(kind: Item.kind, generation: Generation(1), encoding: $0)]
        }
        let role = role
        return here { await role.apply(items ?? [:]) }
    }

    func check() -> NodeStatusReport.RoleStatus {
        let role = role
        return here { await role.check() }
    }

    func samples() -> [String: Double] {
        let role = role
        return Dictionary(here { await role.metrics() }.map { ($0.name, $0.value) }) { $1 }
    }

    /// Looks until what the role says is right.
    func wait(
        _ what: String, sourceLocation: SourceLocation = #_sourceLocation,
        until isRight: (NodeStatusReport.RoleStatus) -> Bool
    ) -> NodeStatusReport.RoleStatus {
        let deadline = ContinuousClock.now + .seconds(30)
        var status = check()
        while !isRight(status), ContinuousClock.now < deadline {
            usleep(50_000)
            status = check()
        }
        #expect(isRight(status), "\(what): \(status)", sourceLocation: sourceLocation)
        return status
    }

    deinit { try? stop(self) }
}

extension NodeStatusReport.RoleStatus {
    fileprivate func message(_ type: String) -> String? { conditions.first { $0.type == type }?.message }
}

/// Moves this thread into the namespace of a node.
private func enter(_ nodes: TwoNodes, _ place: Int) {
    let file = open("/run/netns/\(nodes.names[place])", O_RDONLY | O_CLOEXEC)
    defer { close(file) }
    #expect(clinux_enter_network_namespace(file) == 0)
}

@Suite struct EtcdMemberTests {
    static let item = EtcdMemberItem(
        name: "ctl-1", address: try! IPv4Address("10.0.0.1"), incarnation: "8e9e05c52164694d",
        cluster: ["10.0.0.1", "10.0.0.2", "10.0.0.3"].enumerated().map { number, address in
            .init(name: "ctl-\(number + 1)", address: try! SocketAddress("\(address):2380"))
        }, founding: .new, token: "site-1", certificate: CertificateReference(name: "store"))

    @Test("A member of three: the whole configuration as it is frozen; a cluster that grows is no other configuration")
    func golden() throws {
        try Self.item.validate()
        let files = ServicePlaces.CertificateFiles(
            authority: "/state/muster/identities/store/ca.pem", certificate: "/state/muster/identities/store/cert.pem",
            key: "/state/muster/identities/store/key.pem", authorityDigest: "8e9e05c52164694d00000001")
        func made(_ change: (inout EtcdMemberItem) -> Void = { _ in }) -> ServiceConfiguration {
            var item = Self.item
            change(&item)
            return EtcdMemberConfiguration.text(
                for: item, data: "/state/muster/etcd/data-\(item.incarnation)", files: files)
        }
        try GoldenFile.compare(made().text, with: "node/etcd.yaml")
        var replaced = files
        replaced.authorityDigest = "8e9e05c52164694d00000002"
        let renewed = EtcdMemberConfiguration.text(
            for: Self.item, data: "/state/muster/etcd/data-\(Self.item.incarnation)", files: replaced)
        #expect(made().mark == made { $0.cluster.removeLast() }.mark)
        #expect(made().mark == made { $0.founding = .existing }.mark)
        let others = [
            made { $0.incarnation = "f" }, made { $0.quota = .gibibytes(2) }, made { $0.clientPort = 12379 },
            made { $0.electionMilliseconds = 2000 }, renewed,
        ]
        #expect(Set(others.map(\.mark) + [made().mark]).count == others.count + 1)
    }

    @Test("What does not hold together never gets into a configuration")
    func bad() {
        let changes: [(inout EtcdMemberItem) -> Void] = [
            { $0.name = "ctl 1" }, { $0.name = "ctl-9" }, { $0.cluster = [] }, { $0.address = IPv4Address(1) },
            { $0.incarnation = "../x" }, { $0.token = "" }, { $0.certificate = CertificateReference(name: "a/b") },
            { $0.heartbeatMilliseconds = 5 }, { $0.electionMilliseconds = 400 }, { $0.metricsPort = 2379 },
            { $0.quota = .kibibytes(1) }, { $0.cluster += Array(repeating: $0.cluster[0], count: 8) },
        ]
        for (number, change) in changes.enumerated() {
            var item = Self.item
            change(&item)
            #expect(throws: InvalidValue.self, "change \(number)") { try item.validate() }
        }
    }

    @Test("etcd's figures are read whatever they are")
    func figures() {
        let text = """
            # HELP etcd_server_is_leader Whether or not this member is a leader.
            etcd_server_has_leader 1
            etcd_server_is_leader 0
            etcd_server_is_learner 0
            etcd_server_id{server_id="8e9e05c52164694d"} 1
            etcd_mvcc_db_total_size_in_bytes 24576
            etcd_network_peer_sent_bytes_total{To="a b"} 7
            """
        let figures = EtcdFigures(text: Array(text.utf8))
        #expect(figures.member == "8e9e05c52164694d" && figures.part == .follower)
        #expect(figures.bytes("etcd_mvcc_db_total_size_in_bytes") == .kibibytes(24))
        #expect(EtcdFigures(text: []).part == .unknown)
        var random = SeededRandom(seed: 4)
        for _ in 0..<300 {
            var bytes = Array(text.utf8)
            for _ in 0..<6 {
                bytes[Int.random(in: 0..<bytes.count, using: &random)] = .random(in: 0...255, using: &random)
            }
            #expect(EtcdFigures(text: bytes).member?.count ?? 0 <= 16)
        }
    }

    private static func member(_ number: Int, of count: Int, _ founding: EtcdMemberItem.Founding) -> EtcdMemberItem {
        EtcdMemberItem(
            name: "m\(number)", address: try! IPv4Address("127.0.0.\(number)"), incarnation: "first",
            cluster: (2..<2 + count).map { .init(name: "m\($0)", address: try! SocketAddress("127.0.0.\($0):2380")) },
            founding: founding, token: "test", certificate: CertificateReference(name: "store"),
            metricsPort: UInt16(12380 + number))
    }

    private static func controller() -> Controller {
        Controller(
            make: { [ControllerService(EtcdProgram(places: $0.places))] },
            stop: { try EtcdProgram(places: $0.places).stop() })
    }

    /// An authority and one certificate for all, in the folder of each.
    private static func certify(_ controllers: [Controller]) {
        let folders = controllers.map { $0.directory("identities/store") }
        Shell.run(
            """
            set -e; mkdir -p \(folders.joined(separator: " ")); cd \(folders[0])
            openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=authority \
                -keyout ca.key -out ca.pem
            openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=member -keyout key.pem -out member.csr
            printf 'subjectAltName=IP:127.0.0.1,IP:127.0.0.2,IP:127.0.0.3\\nextendedKeyUsage=serverAuth,clientAuth\\n' > member.ext
            openssl x509 -req -in member.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile member.ext -out cert.pem
            for folder in \(folders.dropFirst().joined(separator: " ")); do cp ca.pem cert.pem key.pem $folder/; done
            """)
    }

    @Test("etcd is founded, adopted, started anew only for what needs it, joined by a learner, killed and healed")
    func life() {
        inNewNetwork {
            Shell.run("ip link set lo up")
            let (first, second) = (Self.controller(), Self.controller())
            let program = EtcdProgram(places: first.places)
            let unready = first.apply(Self.member(2, of: 1, .new))
            #expect(unready.message("StoreMemberReady")?.contains("identities/store/ca.pem is missing") == true)
            Self.certify([first, second])
            func etcdctl(_ words: String) -> String {
                let folder = first.directory("identities/store")
                return Shell.run(
                    "ETCDCTL_API=3 etcdctl --endpoints https://127.0.0.2:2379 --cacert \(folder)/ca.pem "
                        + "--cert \(folder)/cert.pem --key \(folder)/key.pem \(words)")
            }
            _ = first.apply(Self.member(2, of: 1, .new))
            let alone = first.wait("it leads") { $0.isReady && $0.facts?.controller?.etcd?.part == .leader }
            #expect(alone.facts?.controller?.etcd?.member?.count ?? 0 > 8)
            #expect(alone.facts?.controller?.etcd?.databaseSize ?? .kibibytes(0) > .kibibytes(8))
            _ = etcdctl("put kept value")

            let process = program.service.process
            first.restartAgent()
            // The same member, told of a cluster that has grown.
            let adopted = first.apply(Self.member(2, of: 2, .new))
            #expect(adopted.isReady && program.service.process == process && process != nil, "\(adopted)")
            var slower = Self.member(2, of: 2, .new)
            slower.electionMilliseconds = 1500
            _ = first.apply(slower)
            #expect(program.service.process != process, "another election time needs another process")
            _ = first.wait("it leads again") { $0.isReady }
            #expect(etcdctl("get kept --print-value-only") == "value\n")

            _ = etcdctl("member add m3 --learner --peer-urls https://127.0.0.3:2380")
            _ = second.apply(Self.member(3, of: 2, .existing))
            let learner = second.wait("it learns") { $0.facts?.controller?.etcd?.part == .learner }
            let id = learner.facts?.controller?.etcd?.member ?? ""
            Shell.run("sleep 1")
            _ = etcdctl("member promote \(id)")
            _ = second.wait("it votes") { $0.isReady && $0.facts?.controller?.etcd?.part == .follower }
            #expect(second.samples()["muster_controller_etcd_has_leader"] == 1)

            if let process = program.service.process { kill(process, SIGKILL) }
            // For a moment it may only be silent.
            let dead = first.wait("it is found dead") {
                $0.message("StoreMemberReady")?.contains("does not run") == true
            }
            #expect(!dead.isReady, "\(dead)")
            let left = second.wait("one of two is no quorum") { !$0.isReady }
            #expect(left.message("StoreMemberHealthy")?.contains("muster controller list") == true, "\(left)")
            _ = first.apply(slower)
            _ = first.wait("both are back") { $0.isReady }
            _ = second.wait("both are back") { $0.isReady }

            let gone = second.apply(nil as EtcdMemberItem?)
            #expect(gone.isReady && EtcdProgram(places: second.places).service.process == nil)
            #expect(access(second.directory("etcd/data-first/member"), F_OK) == 0, "data is not deleted")
        }
    }
}

@Suite struct SharedAddressTests {
    static func item(_ number: Int, priority: Int = 100, readinessPort: UInt16? = nil) -> VIPItem {
        VIPItem(
            address: try! IPv4Address("10.9.0.100"), prefixLength: 24, local: try! IPv4Address("10.9.0.\(number)"),
            peers: [try! IPv4Address("10.9.0.\(3 - number)")], routerID: 51, priority: priority,
            readinessPort: readinessPort)
    }

    @Test("A shared address that follows the proxy: the whole configuration as it is frozen")
    func golden() throws {
        let item = Self.item(1, readinessPort: 9444)
        try item.validate()
        let made = KeepalivedProgram.text(for: item, interface: "ens3", question: "/state/muster/keepalived/ask-proxy")
        try GoldenFile.compare(made.text, with: "node/keepalived.conf")
        let others = [
            KeepalivedProgram.text(
                for: Self.item(1), interface: "ens3", question: "/state/muster/keepalived/ask-proxy"),
            KeepalivedProgram.text(for: item, interface: "ens4", question: "/state/muster/keepalived/ask-proxy"),
            KeepalivedProgram.text(
                for: Self.item(1, priority: 90, readinessPort: 9444), interface: "ens3",
                question: "/state/muster/keepalived/ask-proxy"),
        ]
        #expect(Set(others.map(\.mark) + [made.mark]).count == 4)
        for change in [
            { $0.prefixLength = 0 }, { $0.routerID = 256 }, { $0.priority = 255 }, { $0.peers += [$0.local] },
            { $0.intervalCentiseconds = 1 },
        ] as [(inout VIPItem) -> Void] {
            var item = item
            change(&item)
            #expect(throws: InvalidValue.self) { try item.validate() }
        }
    }

    private static func controller() -> Controller {
        Controller(
            make: { [ControllerService(KeepalivedProgram(places: $0.places))] },
            stop: { try KeepalivedProgram(places: $0.places).stop() })
    }

    private static func state(_ status: NodeStatusReport.RoleStatus) -> ControllerFacts.VIP.State? {
        status.facts?.controller?.vip?.state
    }

    /// Whether the namespace that this thread is in has the address.
    private static func hasAddress() -> Bool {
        ((try? Netlink().addresses()) ?? []).contains { $0.address == (try! IPv4Address("10.9.0.100")) }
    }

    /// What a proxy answers, in a node's namespace: 200 while there is a file `ready` in `folder`. Returns its PID.
    private static func serve(_ nodes: TwoNodes, _ place: Int, _ folder: String) -> pid_t {
        Shell.run("mkdir \(folder); touch \(folder)/ready")
        let serve = "busybox httpd -f -p 127.0.0.1:9444 -h \(folder) > /dev/null 2>&1 & echo $!"
        return pid_t(nodes.run(place, "sh -c '\(serve)'").prefix { $0.isNumber }) ?? 0
    }

    /// Runs `body` on the first of two nodes, with a controller and a proxy that is ready.
    private static func withOne(_ tag: String, _ body: @escaping (TwoNodes, Controller) -> Void) {
        let nodes = TwoNodes(tag)
        defer { nodes.close() }
        inNewNetwork {
            let one = controller()
            let proxy = serve(nodes, 0, one.directory("www"))
            defer { if proxy > 1 { kill(proxy, SIGKILL) } }
            enter(nodes, 0)
            body(nodes, one)
        }
    }

    @Test("One that started before its node had an address takes the shared one once that is there")
    func late() {
        Self.withOne("late") { nodes, one in
            #expect(one.apply(Self.itemWithoutPeers).isReady)
            // As a machine does that starts: systemd starts the unit, and nobody has given the address yet.
            let program = KeepalivedProgram(places: one.places)
            #expect(throws: Never.self) { try program.service.stop() }
            nodes.run(0, "ip address flush dev cable")
            for name in ["keepalived.pid", "vrrp.pid"] { unlink("\(program.service.runtime)/\(name)") }
            #expect(throws: Never.self) { try program.service.start() }
            _ = one.wait("it has no sockets") { _ in program.runningMark?.hasSuffix("without sockets") == true }
            one.restartAgent()
            #expect(!one.apply(Self.itemWithoutPeers).isReady)
            nodes.run(0, "ip address add 10.9.0.1/24 dev cable")
            let applied = one.apply(Self.itemWithoutPeers)
            #expect(applied.isReady, "\(applied)")
            _ = one.wait("it has the address") { Self.state($0) == .master }
        }
    }

    @Test("One that is alone has the address, and keeps it while another comes and leaves again")
    func alone() {
        Self.withOne("alone") { _, one in
            let applied = one.apply(Self.itemWithoutPeers)
            #expect(applied.isReady, "\(applied)")
            _ = one.wait("it has the address") { Self.state($0) == .master }
            let process = KeepalivedProgram(places: one.places).service.process
            for item in [Self.item(1, readinessPort: 9444), Self.itemWithoutPeers] {
                let changed = one.apply(item)
                #expect(changed.isReady, "\(changed)")
                // Without it keepalived would be a backup for three advertisements, and until the proxy has answered.
                let end = ContinuousClock.now + .seconds(2)
                var hasIt = true
                while hasIt, ContinuousClock.now < end {
                    hasIt = Self.hasAddress()
                    usleep(5000)
                }
                #expect(hasIt, "\(item.peers)")
            }
            #expect(Self.state(one.check()) == .master && one.samples()["muster_controller_vip_held"] == 1)
            #expect(KeepalivedProgram(places: one.places).service.process == process)
        }
    }

    private static var itemWithoutPeers: VIPItem {
        var item = item(1, readinessPort: 9444)
        item.peers = []
        return item
    }

    @Test("The address moves within two seconds when its holder dies, stays when it comes back, follows its proxy")
    func moves() {
        let nodes = TwoNodes("vip")
        defer { nodes.close() }
        inNewNetwork {
            let (one, two) = (Self.controller(), Self.controller())
            let program = KeepalivedProgram(places: one.places)
            // What the proxies answer: a file that is there or is not.
            let proxies = [
                Self.serve(nodes, 0, one.directory("www")), Self.serve(nodes, 1, two.directory("www")),
            ]
            defer { for process in proxies where process > 1 { kill(process, SIGKILL) } }
            enter(nodes, 0)
            let first = one.apply(Self.item(1, readinessPort: 9444))
            #expect(first.isReady, "\(first)")
            _ = one.wait("it takes the address") { Self.state($0) == .master }
            #expect(Self.hasAddress() && one.samples()["muster_controller_vip_held"] == 1)
            enter(nodes, 1)
            _ = two.apply(Self.item(2, priority: 200, readinessPort: 9444))
            _ = two.wait("it waits, although it may") { Self.state($0) == .backup }
            #expect(!Self.hasAddress())

            enter(nodes, 0)
            let process = program.service.process
            one.restartAgent()
            #expect(one.apply(Self.item(1, readinessPort: 9444)).isReady && program.service.process == process)
            let changed = one.apply(Self.item(1, priority: 90, readinessPort: 9444))
            #expect(changed.isReady && program.service.process == process && Self.hasAddress(), "\(changed)")

            // The whole machine, as far as keepalived goes: first the one that would say goodbye for a dead parent.
            enter(nodes, 1)
            let pids = [
                SystemFile.number("\(program.service.runtime)/vrrp.pid").map(pid_t.init), program.service.process,
            ]
            let start = ContinuousClock.now
            for pid in pids.compactMap({ $0 }) { kill(pid, SIGKILL) }
            while !Self.hasAddress(), ContinuousClock.now - start < .seconds(10) { usleep(5000) }
            let gap = ContinuousClock.now - start
            #expect(gap < .seconds(2), "the address moved after \(gap)")
            print("the shared address moved after \(gap)")
            _ = two.wait("it has the address") { Self.state($0) == .master }

            enter(nodes, 0)
            let dead = one.check()
            #expect(dead.message("SharedAddressReady")?.contains("does not run") == true, "\(dead)")
            _ = one.apply(Self.item(1, priority: 250, readinessPort: 9444))
            _ = one.wait("it is back and leaves the address where it is") { Self.state($0) == .backup }
            #expect(!Self.hasAddress(), "what was left of the address is taken away")

            Shell.run("rm \(two.directory("www"))/ready")
            _ = one.wait("the other's proxy knows no conductor") { Self.state($0) == .master }
            enter(nodes, 1)
            let fault = two.wait("it says why") { Self.state($0) == .fault }
            #expect(fault.message("SharedAddressEligible")?.contains("its proxy has no conductor") == true)
            #expect(fault.isReady, "it is well as a controller")

            var bad = Self.item(2)
            bad.local = IPv4Address(0x0A09_0063)
            bad.peers = []
            #expect(two.apply(bad).message("SharedAddressReady")?.contains("no interface of this node has") == true)
            #expect(two.apply(nil as VIPItem?).isReady && KeepalivedProgram(places: two.places).service.process == nil)
        }
    }
}

@Suite struct SiteClockTests {
    static let item = TimeItem(
        servers: ["ntp.example.org", "192.0.2.1"], peers: [try! IPv4Address("10.0.0.2")],
        networks: [try! IPv4Network("10.0.0.0/24")])

    @Test("The clock of a controller: the whole configuration as it is frozen; what is no name is refused")
    func golden() throws {
        try Self.item.validate()
        try GoldenFile.compare(
            ChronyProgram.text(for: Self.item, folders: .init()).text, with: "node/chrony.conf")
        for server in ["", "a b", "a\nallow all", "-x", String(repeating: "a", count: 300)] {
            var item = Self.item
            item.servers = [server]
            #expect(throws: InvalidValue.self, "\(server)") { try item.validate() }
        }
    }

    @Test("chronyc's words are read whatever they are")
    func tracking() {
        let text =
            "C0000201,192.0.2.1,3,1700000000.1,-0.000012500,0.000001,0.00002,1.5,0.1,0.2,0.01,0.002,64.2,Normal\n"
        #expect(
            ChronyProgram.tracking(csv: Array(text.utf8))
                == .init(source: "192.0.2.1", stratum: 3, offsetMicroseconds: -12))
        #expect(ChronyProgram.tracking(csv: Array("506 Cannot talk to daemon\n".utf8)) == nil)
        #expect(ChronyProgram.tracking(csv: Array("A,b,3,1,1e300".utf8)) == nil)
    }

    @Test("chronyd serves without a server of its own, is adopted, and started anew for a change")
    func life() {
        inNewNetwork {
            Shell.run("ip link set lo up")
            func program(_ controller: Controller) -> ChronyProgram {
                ChronyProgram(
                    places: controller.places,
                    folders: .init(
                        state: controller.directory.path, runtime: controller.directory("socket"), user: "root",
                        isHarmless: true))
            }
            let controller = Controller(
                make: { [ControllerService(program($0))] }, stop: { try program($0).stop() })
            Shell.run("mkdir -m 700 \(controller.directory("socket"))")
            let item = TimeItem(servers: [], peers: [], networks: [try! IPv4Network("10.0.0.0/24")])
            #expect(controller.apply(item).isReady)
            let alone = controller.wait("it is its own source") { $0.facts?.controller?.time?.stratum ?? 0 > 0 }
            #expect(alone.conditions.allSatisfy(\.isTrue) && alone.facts?.controller?.time?.stratum == 10)
            let process = program(controller).service.process
            controller.restartAgent()
            #expect(controller.apply(item).isReady && program(controller).service.process == process && process != nil)
            var changed = item
            changed.networks = [try! IPv4Network("10.0.1.0/24")]
            #expect(controller.apply(changed).isReady && program(controller).service.process != process)
            #expect(controller.apply(nil as TimeItem?).isReady && program(controller).service.process == nil)
        }
    }
}

@Suite struct ConductorServiceTests {
    static let item = ConductorItem(
        name: "ctl-1", address: try! IPv4Address("127.0.0.1"),
        store: [try! SocketAddress("10.0.0.2:2379"), try! SocketAddress("10.0.0.1:2379")], certificate: nil,
        ports: .init(api: 19443), endpoint: "https://10.0.0.100:9443", names: ["10.0.0.100"])

    @Test("A conductor's options as they are frozen; what could be another option or another word is refused")
    func golden() throws {
        try Self.item.validate()
        let files = ServicePlaces.CertificateFiles(
            authority: "/i/ca.pem", certificate: "/i/cert.pem", key: "/i/key.pem")
        let made = ConductorProgram.options(for: Self.item, directory: "/state/muster/conductor", files: files)
        try GoldenFile.compare(made.text, with: "node/conductor-options.txt")
        var grown = Self.item
        grown.store.append(try SocketAddress("10.0.0.3:2379"))
        let next = ConductorProgram.options(for: grown, directory: "/state/muster/conductor", files: files)
        #expect(next.mark == made.mark && next.text != made.text, "the store's members alone start nothing anew")
        grown.endpoint = nil
        #expect(
            ConductorProgram.options(for: grown, directory: "/state/muster/conductor", files: files).mark != made.mark)
        for name in ["a b", "--policy=/x", "a\n--x", "$HOME", "%i", "'", ""] {
            var item = Self.item
            item.names = [name]
            #expect(throws: InvalidValue.self, "\(name)") { try item.validate() }
            item = Self.item
            item.endpoint = name
            #expect(throws: InvalidValue.self, "\(name)") { try item.validate() }
        }
    }

    /// A program in the conductor's place: it listens where it is told, or ends with a word.
    private static let program = """
        #!/usr/bin/python3
        import socket, sys, time
        options = dict(word[2:].split("=", 1) for word in sys.argv[1:])
        if options["conductor-name"] == "broken":
            sys.exit("the store does not answer")
        listener = socket.create_server((options["api-host"], int(options["api-port"])))
        while True:
            listener.accept()[0].close()

        """

    @Test("A conductor waits for its secrets, is adopted, started anew for other options, and tells why it ends")
    func life() {
        inNewNetwork {
            Shell.run("ip link set lo up")
            func program(_ controller: Controller) -> ConductorProgram {
                var program = ConductorProgram(places: controller.places)
                program.service.program = controller.directory("program")
                program.service.patience = .seconds(3)
                return program
            }
            let controller = Controller(
                make: { [ControllerService(program($0))] }, stop: { try program($0).stop() })
            let path = controller.directory("program")
            try? SystemFile.replace(path, content: Array(Self.program.utf8), mode: 0o700)
            let early = controller.apply(Self.item)
            #expect(early.message("ConductorReady")?.contains("master.key is missing") == true, "\(early)")
            Shell.run(
                "mkdir -p \(controller.directory("conductor")); touch \(controller.directory("conductor/master.key"))")
            _ = controller.apply(Self.item)
            let serving = controller.wait("it serves") { $0.isReady }
            #expect(serving.facts?.controller?.conductor?.isServing == true)
            let process = program(controller).service.process
            controller.restartAgent()
            #expect(controller.apply(Self.item).isReady && program(controller).service.process == process)
            var other = Self.item
            other.store = [try! SocketAddress("10.0.0.3:2379")]
            #expect(controller.apply(other).isReady)
            #expect(program(controller).service.process == process, "it follows the store's members by itself")
            #expect(
                SystemFile.text(program(controller).optionsPath)?.contains(" --etcd=http://10.0.0.3:2379 ") == true,
                "its next start begins with the newest")
            other.names = []
            _ = controller.apply(other)
            #expect(controller.wait("it serves again") { $0.isReady }.isReady)
            #expect(program(controller).service.process != process)
            other.name = "broken"
            let broken = controller.apply(other)
            #expect(broken.message("ConductorReady")?.contains("the store does not answer") == true, "\(broken)")
            #expect(controller.apply(nil as ConductorItem?).isReady)
        }
    }

    @Test("An item that this agent does not understand, or that is there twice, is told and changes nothing")
    func unreadable() {
        let controller = Controller(
            make: {
                [
                    ControllerService(EtcdProgram(places: $0.places)),
                    ControllerService(KeepalivedProgram(places: $0.places)),
                ]
            },
            stop: { _ in })
        let role = controller.role
        let strange = NodeView.Item(
            kind: EtcdMemberItem.kind, generation: Generation(1), body: .object(["name": .string("x")]))
        let status = here { await role.apply([EtcdMemberItem.key: strange]) }
        #expect(!status.isReady && status.conditions.map(\.type) == ["StoreMemberReady"])
        #expect(status.conditions.first?.message.contains("no 'controller.etcd' that this agent understands") == true)
        let vip = try! NodeView.Item(
            kind: VIPItem.kind, generation: Generation(1), encoding: SharedAddressTests.item(1))
        let twice = here { await role.apply(["vip": vip, "vip2": vip]) }
        #expect(twice.conditions.map(\.message) == ["The view holds 2 of 'controller.vip'; one is possible."])
    }
}
