import AgentProtocol
import AsyncHTTPClient
import BlobPeers
import BlobStore
import CatalogBareMetal
import Crypto
import Foundation
import Identity
import Logging
import NIOCore
import NIOSSL
import NodeTransport
import Primitives
import ReconcileRuntime
import ResourceModel
import StoreSQLite
import SwiftASN1
import TestSupport
import Testing
import WebSocketMessages
import X509

@testable import ConductorServer

/// A conductor within the test, with two nodes that are in service: one that was taken over, and another.
struct HostileScene {
    let parts: ConductorParts
    let ports: [Int]
    let store: SQLiteStore
    let authority: CertificateAuthority
    let tokens: EnrolmentTokens
    let operators: OperatorTokens
    let audit: AuditLog
    let taken: Member
    let other: Member

    /// A node, what it has and what is kept of it.
    struct Member {
        let id: NodeID
        let name: String
        let mac: MACAddress
        /// The token of its session in the ramdisk, which is trusted.
        let session: String
        let bootID: String
        let inventory: Primitives.Digest
        let manifest: Primitives.Digest
        let identity: ClientIdentity
    }

    /// Runs `body` with the conductor serving on ports of loopback.
    static func with(_ body: @escaping @Sendable (HostileScene) async throws -> Void) async throws {
        let directory = try TemporaryDirectory("hostile")
        let scene = try await HostileScene(directory)
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { try await scene.parts.run() }
            group.addTask {
                while !scene.ports.allSatisfy({ RunningConductor.accepts($0) }) {
                    try await Task.sleep(for: .milliseconds(20))
                }
                try await body(scene)
            }
            // The body ends first, or the conductor fails.
            defer { group.cancelAll() }
            try await group.next()
        }
        try await scene.store.close()
        withExtendedLifetime(directory) {}
    }

    private init(_ directory: TemporaryDirectory) async throws {
        let clock = SystemWallClock()
        let logger = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
        store = try await SQLiteStore.open(path: directory.appending("store.sqlite"), clock: clock)
        let blobs = try FileBlobStore(directory: directory.appending("blobs"))
        let vault = try await SecretVault.open(store: store, keyFile: directory.appending("key"), clock: clock)
        let keys = AuthorityVault(vault: vault, name: "test", clock: clock)
        let authorities = SiteAuthorities(try await AuthorityController.open(store: store, keys: keys))
        authority = authorities.now.issuing
        tokens = EnrolmentTokens(store: store)
        operators = OperatorTokens(store: store, clock: clock)
        audit = AuditLog(store: store, clock: clock)
        taken = try await Self.member("taken", 0xA, store, blobs, authority)
        other = try await Self.member("victim", 0xB, store, blobs, authority)
        ports = RunningConductor.freePorts()
        var configuration = ConductorConfiguration(stateDirectory: directory.path)
        configuration.apiHost = "127.0.0.1"
        (configuration.ports.api, configuration.ports.boot) = (ports[0], ports[1])
        (configuration.ports.provisioning, configuration.ports.agents) = (ports[2], ports[3])
        configuration.passwordCost = .trivial
        let cache = ResourceCache(
            store: store, kinds: LiveCatalog.kinds, indexes: LiveCatalog.indexes, logger: logger)
        let identity = try await CloudIdentity.open(
            store: store, cache: cache, vault: vault, audit: audit, configuration: configuration, clock: clock,
            logger: logger)
        parts = try ConductorParts(
            configuration: configuration,
            engine: .embedded(
                SiteSeed(store, directory: directory.path),
                StoreWatch(
                    store: store, mark: StoreMarkFile(directory: directory.path), clock: clock, logger: logger)),
            site: SiteFoundation(
                cache: cache, vault: vault, keys: keys, authorities: authorities, operators: operators,
                identity: identity, mediaKey: SecretText("key"),
                storeAuthority: try await StoreAuthority.open(in: vault, clock: clock)),
            blobs: ConductorBlobs(
                site: SiteBlobs(alone: blobs),
                access: HTTPBlobPeers(name: "alone", key: SecretText("peers")) { "" }, key: SecretText("peers")),
            run: "test", clock: clock,
            logger: logger)
    }

    /// Puts a node in service into the store, and gives it a certificate.
    static func member(
        _ name: String, _ number: UInt8, _ store: any ResourceStore, _ blobs: FileBlobStore,
        _ authority: CertificateAuthority
    ) async throws -> Member {
        let id = try NodeID("00000000-0000-4000-8000-0000000000" + Hex.encode([number]))
        let mac = MACAddress(bytes: [0x52, 0x54, 0, 0, 0, number])
        let session = "\(id).\(String(repeating: Hex.encode([number]), count: 32))"
        let inventory = try blobs.put(Array("{\"secret of\":\"\(name)\"}".utf8))
        let manifest = try blobs.put(Array("manifest of \(name)".utf8))
        let now = SystemWallClock().now
        var node = Node(
            metadata: Metadata(name: id.raw, schemaVersion: Node.schemaVersion, created: now),
            spec: Node.Spec(name: name),
            status: Node.Status(
                state: .active, since: now,
                identity: MachineIdentity(
                    smbiosUUID: "01234567-89ab-cdef-0123-4567890000" + Hex.encode([number]), serial: "S-\(name)",
                    macs: [mac])))
        node.spec.role = .network
        node.spec.approval = .init(by: "test", at: now, number: 1)
        node.status.approvalSeen = 1
        (node.status.attempted, node.status.deployed) = (Generation(1), Generation(1))
        (node.status.inventory, node.status.image) = (inventory, manifest)
        let bootID = "boot-of-\(name)"
        node.status.session = Node.Session(
            tokenHash: TokenHash.of(session), bootID: bootID, opened: now, isTrusted: true)
        _ = try await store.commit(Transaction(operations: [try Stored(new: node).put()]))
        let key = P256.Signing.PrivateKey()
        let issued = try authority.issueNode(id, signingRequestPEM: try Self.signingRequest(key))
        return Member(
            id: id, name: name, mac: mac, session: session, bootID: bootID, inventory: inventory, manifest: manifest,
            identity: ClientIdentity(
                certificateChainPEM: issued.certificatePEM, privateKeyPEM: key.pemRepresentation))
    }

    /// A signing request that claims to be `name`.
    static func signingRequest(_ key: P256.Signing.PrivateKey = .init(), for name: String = "x") throws -> String {
        try CertificateSigningRequest(
            version: .v1, subject: DistinguishedName { CommonName(name) }, privateKey: Certificate.PrivateKey(key),
            attributes: CertificateSigningRequest.Attributes()
        ).serializeAsPEM().pemString
    }

    /// Runs `body` with an HTTP client that shows the certificate of the node that was taken over.
    func withClient(_ body: (HTTPClient) async throws -> Void) async throws {
        var tls = TLSConfiguration.makeClientConfiguration()
        tls.trustRoots = .certificates(try NIOSSLCertificate.fromPEMBytes(Array(authority.certificatePEM.utf8)))
        tls.certificateChain = try NIOSSLCertificate.fromPEMBytes(Array(taken.identity.certificateChainPEM.utf8))
            .map { .certificate($0) }
        tls.privateKey = .privateKey(
            try NIOSSLPrivateKey(bytes: Array(taken.identity.privateKeyPEM.utf8), format: .pem))
        var configuration = HTTPClient.Configuration(tlsConfiguration: tls)
        configuration.redirectConfiguration = .disallow
        let client = HTTPClient(configuration: configuration)
        do { try await body(client) } catch {
            try await client.shutdown()
            throw error
        }
        try await client.shutdown()
    }

    /// A stream of the agent port with this identity.
    func stream(_ identity: ClientIdentity?, path: String = AgentStream.path) async throws -> WebSocketConnection {
        try await AgentConnection.open(
            to: Endpoint(host: "127.0.0.1", port: ports[3]), path: path,
            security: try .tls(trustRootsPEM: authority.certificatePEM, identity: identity))
    }

    func node(_ member: Member) async throws -> Node {
        try #require(try await store.fetch(Node.self, member.id.raw)).value
    }
}
