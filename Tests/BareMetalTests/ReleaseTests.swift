import AgentProtocol
import CatalogBareMetal
import CatalogIdentity
import FoundationEssentials
import Primitives
import ReconcileRuntime
import ResourceModel
import TestSupport
import Testing

/// What releases have written and sent stays readable: `Tests/Golden/releases/<version>` is added to, never changed.
@Suite struct ReleaseTests {
    private static let time = Timestamp(millisecondsSinceEpoch: 1_795_000_000_000)
    private static let digest = Digest(bytes: [UInt8](0..<32))
    private static let node = try! NodeID("3f2a91c4-07d8-4be1-9c35-d1e6f0a7b842")

    private static func metadata(_ name: String) -> Metadata {
        Metadata(name: name, schemaVersion: 1, created: time)
    }

    /// One line a resource: kind, a tab, its document.
    private static func documents() throws -> [String] {
        var walk = Walk()
        try walk.reachActive()
        walk.node.spec.bmc = "bmc-1"
        walk.node.spec.rootDisk = RootDiskHint(serial: "EX-DISK-0001", sizeMin: .gibibytes(4))
        let network = try IPv4Network("10.77.0.0/24")
        let bmc = BMC(
            metadata: metadata("bmc-1"),
            spec: BMC.Spec(
                address: "https://10.77.0.2", system: "1", username: "admin", passwordSecret: "bmc.bmc-1",
                certificateDigest: digest, powersOnForDiscovery: true), status: BMC.Status())
        let segment = Segment(
            metadata: metadata("provisioning"),
            spec: Segment.Spec(
                interface: "br0", network: network, server: try IPv4Address("10.77.0.1"),
                pools: [.init(start: try IPv4Address("10.77.0.50"), end: try IPv4Address("10.77.0.99"))]))
        let rule = Rule(
            metadata: metadata("rule-1"),
            spec: Rule.Spec(
                order: 1, match: [Rule.Fact(path: "system.serial", comparison: .equals, value: "SN1")], name: "n1",
                role: .network, rootDisk: RootDiskHint(wwn: "0x5000"), bmc: "bmc-1", approves: true))
        let site = Site(
            metadata: metadata(Site.name),
            spec: Site.Spec(name: "example", sshKeys: ["ssh-ed25519 AAAA"], overlay: Site.Spec.Overlay(vni: 4242)))
        let image = NodeImage(
            metadata: metadata("node-network"),
            spec: NodeImage.Spec(
                role: .network, manifest: digest, size: .gibibytes(2), storedSize: .mebibytes(100), chunkCount: 4000))
        let ramdisk = Ramdisk(
            metadata: metadata(Ramdisk.discovery), spec: Ramdisk.Spec(kernel: digest, initrd: digest))
        let event = NodeEvent(
            metadata: metadata("event-1"),
            spec: NodeEvent.Spec(node: node, time: time, type: "StateChanged", message: "enroll → verifying"))
        let mark = MachineMark(metadata: metadata("mac-52:54:00:77:00:01"), spec: MachineMark.Spec(node: node))
        let conflict = IdentityConflict(
            metadata: metadata("conflict-1"),
            spec: IdentityConflict.Spec(claim: walk.node.status.identity, nodes: [node], reason: "agrees in nothing"),
            status: IdentityConflict.Status(lastSeen: time, count: 1))
        let plane = PlaneNetwork(
            metadata: metadata("fabric"),
            spec: PlaneNetwork.Spec(
                plane: .underlay, network: network, poolStart: try IPv4Address("10.77.0.100"),
                poolEnd: try IPv4Address("10.77.0.120"), hosts: ["n1": try IPv4Address("10.77.0.101")],
                gateway: try IPv4Address("10.77.0.1")))
        let cabling = NodeNetwork(
            metadata: metadata("bonded"),
            spec: NodeNetwork.Spec(
                interfaces: [
                    .init(name: "left", match: .mac(try MACAddress("52:54:00:77:00:01"))),
                    .init(name: "right", match: .path("pci-1")), .init(name: "rest", match: .name("en*"), mtu: 1400),
                ],
                bonds: [.init(name: "bond0", settings: .init(mode: .lacp, members: ["left", "right"]), mtu: 9000)],
                vlans: [.init(name: "fabric", id: 120, over: "bond0", mtu: 1500)],
                addresses: [.init(on: "fabric", network: "fabric", source: .pool)],
                routes: [.init(to: try IPv4Network("10.99.0.0/16"), via: try IPv4Address("10.77.0.2"))],
                dnsServers: [try IPv4Address("10.77.0.3")], searchDomains: ["example"], ntpServers: ["time.example"]))
        let assignment = AddressAssignment(
            metadata: metadata("fabric.10.77.0.101"),
            spec: AddressAssignment.Spec(network: "fabric", address: try IPv4Address("10.77.0.101"), node: node))
        let facts = NodeFacts(
            metadata: metadata("n1"), spec: NodeFacts.Spec(node: node),
            status: NodeFacts.Status(facts: facts, changed: time))
        return try [
            line(facts), line(walk.node), line(bmc), line(segment), line(rule), line(site), line(image), line(ramdisk),
            line(event),
            line(mark), line(conflict), line(plane), line(cabling), line(assignment), line(conductor()),
            line(LeaderRecord(name: "conductor", holder: "6f7d2b1e-0000-4000-8000-000000000001", began: time)),
        ] + segmentDocuments() + identityDocuments()
    }

    /// A conductor that is behind.
    private static func conductor() -> ConductorRecord {
        var conductor = ConductorRecord(
            name: "c1",
            spec: ConductorRecord.Spec(
                run: "6f7d2b1e-0000-4000-8000-000000000001", version: "0.1.0", started: time,
                addresses: ConductorRecord.Addresses(
                    api: "https://10.77.0.1:9443", agents: "10.77.0.1:7443", provisioning: "10.77.0.1:8443",
                    boot: "http://10.77.0.1:8080")))
        conductor.status.lagMilliseconds = 2000
        return conductor
    }

    /// What there is of segments, and what machines have to be.
    private static func segmentDocuments() throws -> [String] {
        let address = try IPv4Address("10.77.0.50")
        let lease = Lease(
            metadata: metadata(Lease.name(segment: "provisioning", address: address)),
            spec: Lease.Spec(segment: "provisioning", address: address, mac: try MACAddress("52:54:00:77:00:01")),
            status: Lease.Status(
                phase: .bound, expires: time.advanced(by: .seconds(3600)), lastSeen: time, hostname: "n1"))
        let event = SegmentEvent(
            metadata: metadata("provisioning.1"),
            spec: SegmentEvent.Spec(
                segment: "provisioning", time: time, type: "PoolExhausted", message: "no address is free"))
        var bill = SKU.Spec()
        bill.vendor = "Acme"
        bill.cpu = SKU.CPU(model: "*EPYC 7443P*", sockets: 1, coresMin: 24)
        bill.memory = SKU.Memory(exact: .gibibytes(256))
        bill.disks = [SKU.DiskGroup(count: 2, sizeMin: .gibibytes(800), bus: "nvme", isRotational: false)]
        bill.nics = [SKU.NICGroup(count: 2, driver: "mlx5_core", speedMin: 25_000)]
        bill.firmware = SKU.Firmware(mode: .uefi, version: "2.*", secureBoot: true)
        bill.pciDevices = [SKU.PCIGroup(count: 1, device: "10de:20b0")]
        bill.tpm = "2.0"
        let authority = TPMAuthority.Spec(
            certificate: "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n")
        return try [
            line(lease), line(event), line(SKU(metadata: metadata("compute-v1"), spec: bill)),
            line(TPMAuthority(metadata: metadata("maker"), spec: authority)),
            line(
                ConductorEndpoint(
                    metadata: metadata("controller-1"),
                    spec: ConductorEndpoint.Spec(
                        agents: ["10.77.0.1:7443"], provisioning: ["10.77.0.1:8443"], api: ["10.77.0.1:9443"]))),
            line(controlPlane()),
        ]
    }

    /// Secrets, tokens and the log of who did what.
    private static func controlPlane() throws -> ControlPlaneRecord {
        let address = try IPv4Address("10.77.0.11")
        let peer = EtcdMemberItem.Peer(name: "ctl-1", address: SocketAddress(host: address, port: 2380))
        return ControlPlaneRecord(
            created: time,
            spec: .init(
                controllers: ["ctl-1", "ctl-2", "ctl-3"], retired: ["8e9e05c52164694d"],
                vip: .init(address: try IPv4Address("10.77.0.10"), prefixLength: 24)),
            status: .init(
                phase: .changing,
                assignments: [
                    .init(
                        controller: "ctl-1", address: address,
                        member: .init(incarnation: "founder", founding: .new, cluster: [peer]), runsConductor: true)
                ], published: ["ctl-1"],
                plan: [.init(step: "let ctl-2 vote", voters: "2 of 2 vote, 2 are needed, 0 may fail")], since: time,
                problem: "The store's member on ctl-2 does not answer.", token: "site-1"))
    }

    private static func identityDocuments() throws -> [String] {
        let envelope = SecretEnvelope(
            keyID: "k1", wrappedKey: Data([UInt8](0..<60)), nonce: Data([UInt8](0..<12)),
            ciphertext: Data([UInt8](0..<24)))
        let secret = Secret(
            name: "bmc.bmc-1", created: time, spec: SecretSpec(purpose: "password of a BMC", envelope: envelope))
        let token = OperatorToken(name: "first", created: time, spec: OperatorTokenSpec(hash: digest, role: .admin))
        let enrolment = EnrolmentToken(
            created: time,
            spec: EnrolmentTokenSpec(
                node: node, hash: digest, expires: time.advanced(by: .seconds(3600)), generation: Generation(1)))
        let audit = AuditEvent(
            name: "1795000000000-0001", created: time,
            spec: AuditEventSpec(
                who: "operator:admin", from: "10.77.0.9", requestID: "r1", verb: "create",
                resource: ResourceKey(kind: Node.kind, name: node.raw), outcome: .ok, before: digest, after: digest,
                summary: "let in as network"))
        return try [line(secret), line(token), line(enrolment), line(audit)] + certificateDocuments()
            + CloudDocuments(at: time).all.map { try line($0) }
    }

    /// Certificates of nodes, and the authority half way through a rotation.
    private static func certificateDocuments() throws -> [String] {
        var certificates = NodeCertificates(node: node.raw, created: time)
        let end = time.advanced(by: .seconds(7 * 86_400))
        certificates.add(NodeCertificates.Issued(serial: "4a01", authority: digest, at: time, notAfter: end))
        certificates.revokeAll(at: time, by: "operator:admin", reason: "stolen")
        certificates.add(NodeCertificates.Issued(serial: "4a02", authority: digest, at: time, notAfter: end))
        certificates.status.held = "4a02"
        certificates.status.trusted = [digest]
        func authority(_ number: Int) -> SiteAuthority.Authority {
            SiteAuthority.Authority(
                number: number, fingerprint: digest, certificatePEM: "-----BEGIN CERTIFICATE-----\n", notAfter: end)
        }
        var site = SiteAuthority(created: time, first: authority(1))
        site.spec.rotation = SiteAuthority.Rotation(number: 2, by: "operator:admin", at: time, isHastened: true)
        site.spec.rotation?.forced = [.serve]
        site.status.state = .introducing(newer: authority(2), older: authority(1), cross: "cross")
        return try [line(certificates), line(site)]
    }

    private static let facts = RoleFacts(
        compute: ComputeFacts(
            libvirtVersion: "9.0.0", hypervisorVersion: "7.2.22",
            processor: .init(architecture: "x86_64", model: "Broadwell", vendor: "Intel", features: ["vme"]),
            cells: [
                .init(id: 0, memory: .gibibytes(8), processors: 1, hugePages: [.init(size: .mebibytes(2), count: 4)])
            ],
            guests: [
                .init(
                    architecture: "x86_64", emulator: "/usr/bin/qemu-system-x86_64", domainTypes: ["qemu"],
                    machines: ["q35"])
            ], models: ["qemu64"], memory: .gibibytes(8),
            domains: [.init(name: "d", uuid: "u", state: .running, processors: 1, memory: .mebibytes(64))],
            domainCount: 1))

    private static func line<R: Resource>(_ resource: R) throws -> String {
        "\(R.kind)\t\(String(decoding: try Stored(new: resource).encoded(), as: UTF8.self))"
    }

    /// One line a message, as it travels.
    private static func messages() throws -> [String] {
        let overlay = OverlayItem(
            vni: 4242, bridge: "mbr4242", device: "mvx4242", local: nil, peers: [try IPv4Address("10.77.0.51")],
            peerNames: ["n2"])
        let settings = AgentSettings(metricsIntervalSeconds: 15, roles: [.compute, .network])
        let checks = NodeStatusReport.RoleStatus(role: .compute, isReady: true, conditions: [], facts: facts)
        let report = NodeStatusReport(
            observedRevision: Revision(7), observedGeneration: Generation(1), roles: [checks], addresses: [])
        let item = try NodeView.Item(kind: OverlayItem.kind, generation: Generation(1), encoding: overlay)
        let view = NodeView(revision: Revision(7), generation: Generation(1), items: ["overlay-4242": item])
        let other = try NodeView.Item(kind: AgentSettings.kind, generation: Generation(1), encoding: settings)
        let compute = NodeView(revision: Revision(9), generation: Generation(1), items: [AgentSettings.kind: other])
        let secrets = try NodeView.Item(
            kind: ControllerSecretsItem.kind, generation: Generation(1),
            encoding: ControllerSecretsItem(address: IPv4Address("10.77.0.51"), authority: digest))
        let up: [AgentMessage] = [
            .hello(Walk.hello), .status(Walk.report(ready: false)), .status(report),
            .metrics(MetricsReport(time: time, samples: [.init(name: "node_load1", labels: ["a": "b"], value: 1.5)])),
            .logs(LogBatch(source: "network-agent", lines: [.init(time: time, level: "info", text: "started")])),
            .renew(signingRequest: "PEM"), .secrets(ControllerSecretsRequest(signingRequest: "PEM")),
        ]
        let down: [ConductorMessage] = [
            .welcome(ConductorWelcome(time: time, conductors: ["10.77.0.1:7443"], viewIsCurrent: false)), .view(view),
            .view(compute),
            .change(
                ViewChange(
                    from: Revision(7), revision: Revision(8), generation: Generation(2), upserts: [:],
                    deletions: ["overlay-4242"])),
            .certificate(EnrolmentReply(certificateChain: "PEM", notAfter: time)),
            .secrets(
                .granted(
                    ControllerSecrets(
                        certificate: "PEM", authority: "PEM", masterKey: SecretText("muster-master-key 1")))),
            .secrets(.refused(message: "not named")),
            .view(
                NodeView(revision: Revision(10), generation: Generation(1), items: [ControllerSecretsItem.key: secrets])
            ),
            .goodbye(message: "restarting", retryAfterSeconds: 5),
        ]
        let order = DiscoveryOrder(
            number: 102,
            action: .deploy(
                DeployOrder(
                    generation: Generation(1), manifest: digest, rootDisk: RootDiskHint(serial: "S"),
                    stateFiles: [StateFile(path: "muster/hostname", content: "n1\n")])))
        return try up.map(encode) + down.map(encode) + [encode(order)]
    }

    private static func encode(_ value: some Encodable) throws -> String {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        return String(decoding: try encoder.encode(value), as: UTF8.self)
    }

    private static func frozen(_ name: String) throws -> [String] {
        String(decoding: try GoldenFile.contents(of: "releases/0.1.0/\(name)"), as: UTF8.self)
            .split(separator: "\n").map(String.init)
    }

    private static func canonical(_ text: some StringProtocol) throws -> JSONValue {
        try JSONDecoder().decode(JSONValue.self, from: Data(text.utf8))
    }

    @Test func `this version writes what release 0.1.0 wrote`() throws {
        try GoldenFile.compare(
            Self.documents().map { $0 + "\n" }.joined(), with: "releases/0.1.0/documents.tsv")
        try GoldenFile.compare(Self.messages().map { $0 + "\n" }.joined(), with: "releases/0.1.0/messages.jsonl")
    }

    @Test func `documents of release 0.1.0 are read and written back whole`() throws {
        let cloud: [any Resource.Type] = try CloudDocuments(at: Self.time).all.map { type(of: $0) }
        let types: [any Resource.Type] =
            [
                NodeFacts.self, Node.self, BMC.self, Segment.self, Rule.self, Site.self, NodeImage.self, Ramdisk.self,
                NodeEvent.self,
                MachineMark.self, IdentityConflict.self, PlaneNetwork.self, NodeNetwork.self, AddressAssignment.self,
                ConductorRecord.self, LeaderRecord.self, Lease.self, SegmentEvent.self, SKU.self, TPMAuthority.self,
                ConductorEndpoint.self, Secret.self, OperatorToken.self,
                EnrolmentToken.self, AuditEvent.self, NodeCertificates.self, SiteAuthority.self,
                ControlPlaneRecord.self,
            ] + cloud
        let lines = try Self.frozen("documents.tsv")
        #expect(lines.count == types.count)
        for line in lines {
            let parts = line.split(separator: "\t", maxSplits: 1)
            let type = try #require(types.first { $0.kind == parts[0] })
            #expect(try Self.canonical(Self.rewritten(parts[1], as: type)) == Self.canonical(parts[1]), "\(parts[0])")
        }
    }

    @Test func `every kind of the catalog is among the frozen documents`() throws {
        let sources = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
            .deletingLastPathComponent().appending(path: "Sources")
        var kinds: Set<String> = []
        for target in ["Contract/CatalogBareMetal", "Contract/CatalogIdentity", "Resource/ReconcileRuntime"] {
            let folder = sources.appending(path: target).path
            for file in try FileManager.default.subpathsOfDirectory(atPath: folder) where file.hasSuffix(".swift") {
                let text = String(
                    decoding: try #require(FileManager.default.contents(atPath: "\(folder)/\(file)")), as: UTF8.self)
                kinds.formUnion(text.matches(of: /static let kind = "([^"]+)"/).map { String($0.output.1) })
            }
        }
        #expect(kinds.count > 15)
        #expect(Set(try Self.frozen("documents.tsv").map { String($0.prefix { $0 != "\t" }) }) == kinds)
    }

    private static func rewritten<R: Resource>(_ text: Substring, as type: R.Type) throws -> String {
        let document = Document(key: R.key("x"), revision: Revision(1), value: Array(text.utf8))
        return String(decoding: try Stored<R>(document).encoded(), as: UTF8.self)
    }

    @Test func `messages of release 0.1.0 are understood`() throws {
        let lines = try Self.frozen("messages.jsonl")
        #expect(lines.count == 17)
        for (index, line) in lines.enumerated() {
            let data = Data(line.utf8)
            let again =
                switch index {
                case 0..<7: try Self.encode(JSONDecoder().decode(AgentMessage.self, from: data))
                case 7..<16: try Self.encode(JSONDecoder().decode(ConductorMessage.self, from: data))
                default: try Self.encode(JSONDecoder().decode(DiscoveryOrder.self, from: data))
                }
            #expect(try Self.canonical(again) == Self.canonical(line))
        }
    }
}
