import AgentProtocol
import BareMetal
import CatalogBareMetal
import CatalogIdentity
import Identity
import LinuxSystem
import NIOCore
import NodeTransport
import Primitives
import ReconcileRuntime
import ResourceModel
import StoreMemory
import SwiftASN1
import Synchronization
import TestSupport
import Testing
import WebSocketMessages
import X509

@testable import ConductorServer
@testable import NodeAgent
@testable import RoleController

/// Who is given a controller's secrets, and who is not, over the real stream too.
@Suite("Controllers' secrets", .timeLimit(.minutes(2)))
struct ControllerSecretsDeskTests {
    private static let address = "10.77.0.51"

    /// Writes `value` and waits until the catalog has it.
    private static func put(_ value: some Resource, in scene: TrustScene) async throws {
        let revision = try await scene.store.commit(Transaction(operations: [try Stored(new: value).put()]))
        try await scene.catalog.cache.wait(for: revision)
    }

    private static func change(_ id: NodeID, in scene: TrustScene, _ change: (inout Node) -> Void) async throws {
        let revision = try await scene.store.update(Node.self, id.raw) { stored in
            guard var stored else { return nil }
            change(&stored.value)
            return stored
        }
        if let revision { try await scene.catalog.cache.wait(for: revision) }
    }

    private static func name(_ controllers: [String], in scene: TrustScene) async throws {
        let revision = try await scene.store.update(ControlPlaneRecord.self, ControlPlaneRecord.name) { stored in
            var stored =
                stored ?? Stored(new: ControlPlaneRecord(created: SystemWallClock().now, spec: .init(controllers: [])))
            stored.value.spec.controllers = controllers
            return stored
        }
        if let revision { try await scene.catalog.cache.wait(for: revision) }
    }

    /// A site with a segment and a controller that the control plane names.
    private static func run(_ body: @escaping @Sendable (TrustScene, SceneNode) async throws -> Void) async throws {
        try await TrustScene.run { scene in
            let now = SystemWallClock().now
            try await put(
                Segment(
                    metadata: Metadata(name: "rack", schemaVersion: Segment.schemaVersion, created: now),
                    spec: .init(
                        interface: nil, network: try IPv4Network("10.77.0.0/24"), server: try IPv4Address("10.77.0.1"),
                        pools: [])), in: scene)
            let node = try await scene.addNode(1)
            let own = try [IPv4Address("192.0.2.7"), IPv4Address(address), IPv4Address("127.0.0.1")]
            try await change(node.id, in: scene) {
                $0.spec.role = .controller
                $0.status.agent = .init(version: "1", bootID: "b", isConnected: true, since: now, addresses: own)
            }
            try await name(["n1"], in: scene)
            try await body(scene, node)
        }
    }

    private static func request(named name: String = "x") throws -> ControllerSecretsRequest {
        ControllerSecretsRequest(signingRequest: try NodeKey().signingRequest(named: name))
    }

    private static func ask(_ scene: TrustScene, _ node: SceneNode, serial: String? = nil) async throws
        -> ControllerSecretsReply
    {
        try await scene.hub.secrets.reply(to: request(), of: node.id, presented: serial ?? node.serial)
    }

    private static func handovers(_ scene: TrustScene) async throws -> [AuditEventSpec] {
        try await scene.audit.events().events.map(\.spec).filter { $0.verb == "hand over secrets" }
    }

    @Test func `who is named is given a certificate for its own address and the key, and both logs tell`() async throws
    {
        try await Self.run { scene, node in
            let reply = try await scene.hub.secrets.reply(
                to: Self.request(named: "10.77.0.1"), of: node.id, presented: node.serial)
            guard case .granted(let secrets) = reply else {
                Issue.record("\(reply)")
                return
            }
            #expect(secrets.masterKey == scene.vault.keyFileContent)
            let file = try PrivateFile.read(scene.directory.appending("key"))
            #expect(Array(secrets.masterKey.revealed.utf8) == file)
            let leaf = try Certificate(pemEncoded: secrets.certificate)
            let names = try #require(try leaf.extensions.subjectAlternativeNames)
            let expected = try ["127.0.0.1", Self.address].map {
                GeneralName.ipAddress(ASN1OctetString(contentBytes: try IPv4Address($0).bytes[...]))
            }
            #expect(Array(names) == expected, "what the request calls itself is not read")
            let root = try Certificate(pemEncoded: secrets.authority)
            #expect(root.publicKey.isValidSignature(leaf.signature, for: leaf))
            let site = try Certificate(pemEncoded: scene.authorities.now.issuing.certificatePEM)
            #expect(root.publicKey != site.publicKey, "every node has certificates of the site's authority")

            let told = try await Self.handovers(scene)
            #expect(told.map(\.who) == ["node:\(node.id)"] && told.first?.outcome == .ok)
            #expect(
                told.first?.resource == Node.key(node.id.raw) && told.first?.summary?.contains(Self.address) == true)
            let events = try await scene.store.fetchAll(NodeEvent.self).map(\.value)
            #expect(events.count { $0.spec.type == ControllerSecretsDesk.eventType && $0.spec.node == node.id } == 1)
            // The vault's own documents are sealed; nothing else that is stored has the key.
            let key = secrets.masterKey.revealed.split(separator: "\n")[1]
            let stored = try await scene.store.list(kind: nil, after: nil, limit: 1000).documents
            for document in stored {
                #expect(!String(decoding: document.value, as: UTF8.self).contains(key), "\(document.key)")
            }
        }
    }

    @Test func `its view tells it what to have, and nobody else's does`() async throws {
        try await Self.run { scene, node in
            let other = try await scene.addNode(2)
            try await Self.change(other.id, in: scene) { $0.spec.role = .controller }
            let plane = try #require(scene.catalog.cache.get(ControlPlaneRecord.self, ControlPlaneRecord.name))
            func item(_ id: NodeID) -> ControllerSecretsItem? {
                scene.catalog.cache.get(Node.self, id.raw).flatMap { node in
                    scene.hub.secrets.item(for: node, in: plane) { scene.catalog.segments() }
                }
            }
            #expect(
                item(node.id)
                    == ControllerSecretsItem(
                        address: try IPv4Address(Self.address),
                        authority: try await StoreAuthority.open(in: scene.vault).fingerprint))
            #expect(item(other.id) == nil)
            try await Self.change(node.id, in: scene) { $0.spec.role = .network }
            #expect(item(node.id) == nil)
        }
    }

    @Test func `who is not active, not named, without the role, without an address or revoked is given nothing`()
        async throws
    {
        try await Self.run { scene, node in
            typealias Case = (
                why: ControllerSecretsRefusal, spoil: (inout Node) -> Void, mend: (inout Node) -> Void
            )
            let agent = scene.catalog.node(node.id)?.status.agent
            let cases: [Case] = [
                (.notController, { $0.spec.role = .network }, { $0.spec.role = .controller }),
                (.notController, { $0.spec.role = nil }, { $0.spec.role = .controller }),
                (.notActive("rescue"), { $0.status.state = .rescue }, { $0.status.state = .active }),
                (.notActive("enroll"), { $0.status.state = .enroll }, { $0.status.state = .active }),
                (.noAddress, { $0.status.agent?.addresses.removeAll() }, { $0.status.agent = agent }),
                (.notNamed, { $0.spec.name = "n9" }, { $0.spec.name = "n1" }),
            ]
            for (why, spoil, mend) in cases {
                try await Self.change(node.id, in: scene, spoil)
                #expect(try await Self.ask(scene, node) == .refused(message: why.publicMessage))
                try await Self.change(node.id, in: scene, mend)
            }
            #expect(try await Self.handovers(scene).allSatisfy { $0.outcome == .denied })
            #expect(try await scene.store.fetchAll(NodeEvent.self).isEmpty, "no handing over is told that was none")
            for bad in ["", "x", String(repeating: "A", count: 1 << 20)] {
                let reply = await scene.hub.secrets.reply(
                    to: ControllerSecretsRequest(signingRequest: bad), of: node.id, presented: node.serial)
                guard case .refused = reply else {
                    Issue.record("\(reply)")
                    return
                }
            }
            try await Self.name(["n2"], in: scene)
            #expect(
                try await Self.ask(scene, node) == .refused(message: ControllerSecretsRefusal.notNamed.publicMessage))
            try await Self.name(["n1"], in: scene)
            let stranger = try NodeID("00000000-0000-4000-8000-000000000099")
            let reply = try await scene.hub.secrets.reply(to: Self.request(), of: stranger, presented: node.serial)
            #expect(reply == .refused(message: ControllerSecretsRefusal.unknown.publicMessage))
            guard case .granted = try await Self.ask(scene, node) else {
                Issue.record("all is well again, and it is given nothing")
                return
            }
            try await scene.register.revokeAll(of: node.id, by: "operator:admin", reason: "stolen")
            for serial in [node.serial, "00"] {
                let reply = try await Self.ask(scene, node, serial: serial)
                #expect(reply == .refused(message: ControllerSecretsRefusal.revoked.publicMessage))
            }
        }
    }

    @Test func `a revocation between the look and the handing over wins`() async throws {
        try await Self.run { scene, node in
            let register = scene.register
            let meddled = MeddledStore(scene.store) {
                try await register.revokeAll(of: node.id, by: "operator:admin", reason: "stolen")
            }
            let desk = try await Self.desk(scene, meddled, SystemWallClock())
            let reply = try await desk.reply(to: Self.request(), of: node.id, presented: node.serial)
            #expect(reply == .refused(message: ControllerSecretsRefusal.revoked.publicMessage))
            #expect(meddled.hasMeddled)
            #expect(try await Self.handovers(scene).map(\.outcome) == [.denied])
        }
    }

    @Test func `who asks too often waits, and no other waits with it`() async throws {
        try await Self.run { scene, node in
            let clock = ManualWallClock(SystemWallClock().now)
            let desk = try await Self.desk(scene, scene.store, clock)
            let other = try NodeID("00000000-0000-4000-8000-000000000099")
            func ask(_ id: NodeID) async throws -> ControllerSecretsReply {
                try await desk.reply(to: Self.request(), of: id, presented: node.serial)
            }
            for number in 1...ControllerSecretsDesk.requestCountMax {
                guard case .granted = try await ask(node.id) else {
                    Issue.record("request \(number) is refused")
                    return
                }
                clock.advance(by: .seconds(1))
            }
            let before = try await scene.store.currentRevision()
            for _ in 0..<100 {
                #expect(try await ask(node.id) == .refused(message: ControllerSecretsRefusal.tooOften.publicMessage))
            }
            #expect(try await scene.store.currentRevision() == before, "what is too much costs no commit")
            #expect(try await ask(other) == .refused(message: ControllerSecretsRefusal.unknown.publicMessage))
            clock.advance(by: ControllerSecretsDesk.pace)
            guard case .granted = try await ask(node.id) else {
                Issue.record("it waits for ever")
                return
            }
        }
    }

    @Test func `a real agent asks, keeps what it is given, and gives it up when it is named no more`() async throws {
        try await Self.run { scene, node in
            let folder = node.files.path
            let role = ControllerRole(
                parts: [],
                secrets: ControllerSecretsKeeper(
                    places: ServicePlaces(directory: folder, runtime: "\(folder)/run", hasUnits: false)),
                clock: SystemWallClock())
            let files = [
                "identities/store/ca.pem", "identities/store/cert.pem", "identities/store/key.pem",
                "conductor/master.key",
            ]
            .map { "\(folder)/\($0)" }
            func condition() -> Condition? {
                scene.catalog.node(node.id)?.status.agent?.conditions.first {
                    $0.type == Condition.controllerSecretsReady
                }
            }
            try await node.runAgent(modules: [role], addresses: [try IPv4Address(Self.address)]) {
                try await Self.eventually("it is ready") { condition()?.isTrue == true }
                #expect(files.allSatisfy { SystemFile.modificationTime($0) != nil })
                #expect(
                    SystemFile.bytes(files[3]).map { String(decoding: $0, as: UTF8.self) }
                        == scene.vault.keyFileContent.revealed)
                #expect(try await Self.handovers(scene).count == 1)
                try await Self.name(["n2"], in: scene)
                try await Self.eventually("it has nothing") {
                    files.allSatisfy { SystemFile.modificationTime($0) == nil } && condition() == nil
                }
            }
        }
    }

    @Test func `a node with the role that nobody has named asks in vain, and its stream stays open`() async throws {
        try await Self.run { scene, _ in
            let other = try await scene.addNode(2)
            try await Self.change(other.id, in: scene) { $0.spec.role = .controller }
            let identity = try #require(other.files.credentials()).identity
            let stream = try await AgentConnection.open(
                to: Endpoint(scene.endpoint), path: AgentStream.path,
                security: try .tls(trustRootsPEM: scene.authorities.now.bundlePEM, identity: identity),
                limits: WebSocketLimits())
            func say(_ message: AgentMessage) throws { try stream.send(.init(bytes: AgentStream.encode(message))) }
            try say(.hello(.init(agentVersion: "1", bootID: "b", roles: [.controller], viewRevision: .zero)))
            // Far more than one may ask, and all at once.
            for _ in 0..<50 { try say(.secrets(try Self.request())) }
            var replies: [ControllerSecretsReply] = []
            for await text in stream.messages {
                let message = try AgentStream.decode(ConductorMessage.self, from: text.readableBytesView)
                if case .secrets(let reply) = message { replies.append(reply) }
                guard replies.count == 50 else { continue }
                #expect(stream.end == nil, "the stream stays open")
                break
            }
            let refusals = [ControllerSecretsRefusal.notNamed, .tooOften].map {
                ControllerSecretsReply.refused(message: $0.publicMessage)
            }
            #expect(
                Array(Set(replies.prefix(20))) == [refusals[0]] && Array(Set(replies.dropFirst(20))) == [refusals[1]])
            #expect(try await Self.handovers(scene).map(\.outcome) == [.denied], "one refusal a minute is written down")
            stream.close(reason: "done")
        }
    }

    private static func desk(
        _ scene: TrustScene, _ store: any ResourceStore, _ clock: any WallClock
    ) async throws -> ControllerSecretsDesk {
        ControllerSecretsDesk(
            store: store, authority: try await StoreAuthority.open(in: scene.vault),
            masterKeys: { scene.vault.keyFileContent }, segments: { scene.catalog.segments() }, audit: scene.audit,
            events: EventSequence(), clock: clock)
    }

    private static func eventually(_ what: String, _ holds: () async throws -> Bool) async throws {
        for _ in 0..<600 {
            if try await holds() { return }
            try await Task.sleep(for: .milliseconds(50))
        }
        Issue.record("in vain: \(what)")
    }
}

/// A store in which somebody is faster once, just before a commit.
private final class MeddledStore: ResourceStore {
    private let base: any ResourceStore
    private let meddle: @Sendable () async throws -> Void
    private let done = Mutex(false)

    init(_ base: any ResourceStore, _ meddle: @escaping @Sendable () async throws -> Void) {
        self.base = base
        self.meddle = meddle
    }

    var hasMeddled: Bool { done.withLock { $0 } }

    func commit(_ transaction: Transaction) async throws(StoreError) -> Revision {
        let isFirst = done.withLock { done in
            defer { done = true }
            return !done
        }
        if isFirst { do { try await meddle() } catch { throw .unavailable("\(error)") } }
        return try await base.commit(transaction)
    }

    func currentRevision() async throws(StoreError) -> Revision { try await base.currentRevision() }
    func get(_ key: ResourceKey) async throws(StoreError) -> Document? { try await base.get(key) }
    func list(kind: String?, after: ResourceKey?, limit: Int) async throws(StoreError) -> Page {
        try await base.list(kind: kind, after: after, limit: limit)
    }
    func watch(after revision: Revision) async -> AsyncThrowingStream<WatchBatch, any Error> {
        await base.watch(after: revision)
    }
    func compact(through revision: Revision) async throws(StoreError) { try await base.compact(through: revision) }
    func grantLease(timeToLive: Duration) async throws(StoreError) -> LeaseID {
        try await base.grantLease(timeToLive: timeToLive)
    }
    func renewLease(_ lease: LeaseID) async throws(StoreError) { try await base.renewLease(lease) }
    func revokeLease(_ lease: LeaseID) async throws(StoreError) { try await base.revokeLease(lease) }
}
