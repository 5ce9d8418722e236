import AgentProtocol
import Crypto
import DHCP
import FoundationEssentials
import NIOCore
import NodeTransport
import Primitives
import ResourceModel
import SwiftASN1
import WebSocketMessages
import X509

/// Where machines find their conductor.
struct LoadSite: Sendable {
    let server: IPv4Address
    let relay: IPv4Address
    var boot: String { "\(server):8080" }
    var provisioning: String { "\(server):8443" }
    var agents: String { "\(server):7443" }
}

/// One machine that is not there: it says what a real one says, from its firmware's first DISCOVER to its agent's hello.
struct Machine: Sendable {
    let number: Int
    let site: LoadSite
    let relay: RelaySocket
    let trust: TrustRoots
    let tally: Tally

    /// What became of it: who it is, and its open stream.
    struct Agent: Sendable {
        let node: NodeID
        let security: TransportSecurity
        let stream: WebSocketConnection
    }

    /// Goes all the way. Throws what went wrong, by step.
    func enrol() async throws -> Agent {
        var clock = StepClock(tally)
        try await dhcp(isIPXE: false)
        clock.step("firmware's DHCP")
        try await dhcp(isIPXE: true)
        clock.step("iPXE's DHCP")
        try await boot()
        clock.step("script and ramdisk")
        let lane = try await HTTPConnection.open(
            to: Endpoint(site.provisioning), security: trust.security(), limits: Self.patience)
        let post = InventoryPost(bootID: "load-\(number)-boot", inventory: inventory)
        let session = try await ask(InventoryReply.self, lane, DiscoveryPath.inventory, body: post)
        clock.step("inventory")
        let (order, number) = try await deployOrder(lane, session.session)
        clock.step("order")
        _ = try await send(lane, .get, "\(DiscoveryPath.manifests)/\(order.manifest)", session: session.session)
        let finished = DiscoveryProgress(order: number, stage: .finished)
        _ = try await send(lane, .post, DiscoveryPath.progress, session: session.session, body: finished)
        await lane.close()
        clock.step("manifest and report")
        guard let token = try identity(order).token else { throw LoadError("the order has no token") }
        let (security, node) = try await certificate(session.node, token)
        clock.step("certificate")
        let stream = try await Self.open(node, security, site)
        clock.step("stream")
        return Agent(node: node, security: security, stream: stream)
    }

    /// Opens an agent's stream, says hello and that the role is ready, by which the node becomes active.
    static func open(
        _ node: NodeID, _ security: TransportSecurity, _ site: LoadSite
    ) async throws -> WebSocketConnection {
        let connection = try await AgentConnection.open(
            to: Endpoint(site.agents), path: AgentStream.path, security: security, connectTimeout: .seconds(60))
        let hello = AgentHello(agentVersion: "load", bootID: "load", roles: [.network], viewRevision: .zero)
        try connection.send(ByteBuffer(bytes: AgentStream.encode(AgentMessage.hello(hello))))
        let ready = NodeStatusReport(
            observedRevision: .zero, observedGeneration: Generation(1),
            roles: [.init(role: .network, isReady: true, conditions: [])], addresses: [])
        try connection.send(ByteBuffer(bytes: AgentStream.encode(AgentMessage.status(ready))))
        return connection
    }

    // MARK: Booting

    private var mac: MACAddress {
        MACAddress(bytes: [0x52, 0x54, 0, UInt8(number >> 16), UInt8(number >> 8 & 0xFF), UInt8(number & 0xFF)])
    }

    /// One exchange of four messages; gives the address that is ours now.
    private func dhcp(isIPXE: Bool) async throws {
        let transaction = UInt32(number * 2 + (isIPXE ? 1 : 0))
        func message(_ type: DHCPMessageType) -> DHCPPacket {
            var packet = DHCPPacket(request: type, transaction: transaction, client: mac)
            packet.options.set(.vendorClass, text: "PXEClient:Arch:00007:UNDI:003016")
            packet.options[.clientArchitecture] = [0, 7]
            packet.options[.parameterRequestList] = [1, 3, 6, 15, 42, 43, 60, 66, 67]
            if isIPXE { packet.options[.userClass] = Array("iPXE".utf8) }
            return packet
        }
        let offer = try await relay.ask(message(.discover), for: [.offer]) { tally.fail("DISCOVER again") }
        guard offer.options.messageType == .offer else { throw LoadError("a DISCOVER was not answered by an OFFER") }
        var request = message(.request)
        request.options.set(.requestedAddress, addresses: [offer.yourAddress])
        request.options.serverIdentifier = offer.options.serverIdentifier
        let answer = try await relay.ask(request, for: [.acknowledge, .refuse]) { tally.fail("REQUEST again") }
        guard answer.options.messageType == .acknowledge, answer.yourAddress == offer.yourAddress else {
            throw LoadError("a REQUEST was not acknowledged")
        }
    }

    /// The script, the head of the ramdisk and its first 64 KiB.
    private func boot() async throws {
        let lane = try await HTTPConnection.open(to: Endpoint(site.boot), limits: Self.patience)
        let script = try await lane.send(HTTPConnection.Request(.get, "/boot/ipxe?mac=\(mac)"))
        let words = script.text.split(whereSeparator: \.isWhitespace)
        guard script.status == 200, let url = words.first(where: { $0.hasSuffix("/initrd.zst") }),
            let path = url.firstRange(of: "/boot/").map({ String(url[$0.lowerBound...]) })
        else { throw LoadError("no boot script with a ramdisk (status \(script.status))") }
        let head = try await lane.send(HTTPConnection.Request(.head, path), bodyLimit: 1 << 30)
        let part = try await lane.send(
            HTTPConnection.Request(.get, path, headers: [(name: "Range", value: "bytes=0-65535")]))
        guard head.status == 200, part.status == 206, part.body.readableBytes == 65_536 else {
            throw LoadError("the ramdisk was not sent: \(head.status), \(part.status)")
        }
        if !trust.isKnown {
            trust.learn(try await lane.send(HTTPConnection.Request(.get, DiscoveryPath.authority)).text)
        }
        await lane.close()
    }

    /// A server with as much to tell as a small one has.
    private var inventory: InventoryReport {
        InventoryReport(
            agentVersion: "0.1.0", collectedAt: Timestamp(millisecondsSinceEpoch: 0), bootInterface: mac,
            kernelVersion: "6.1.0",
            system: .init(
                vendor: "Load", product: "L1", serial: "LOAD-\(number)", uuid: uuid, boardSerial: "BOARD-\(number)",
                biosVendor: "Load", biosVersion: "1.0", firmwareMode: .uefi),
            cpu: .init(model: "Load CPU", architecture: "x86_64", sockets: 2, cores: 32, threads: 64),
            memory: .init(
                total: .gibibytes(256), modules: (0..<8).map { .init(slot: "DIMM\($0)", size: .gibibytes(32)) }),
            disks: (0..<4).map { disk in
                .init(
                    name: "nvme\(disk)n1", path: "/dev/nvme\(disk)n1", serial: "D\(number)-\(disk)", model: "Load disk",
                    size: .gibibytes(960), isRotational: false, bus: "nvme")
            },
            nics: [.init(name: "eth0", mac: mac, permanentMAC: mac, driver: "load", hasLink: true, mtu: 1500)])
    }

    private var uuid: String {
        let digits = String(number, radix: 16)
        return "4c4f4144-0000-4000-8000-" + String(repeating: "0", count: 12 - digits.count) + digits
    }

    // MARK: The conductor

    private func deployOrder(_ lane: HTTPConnection, _ session: String) async throws -> (DeployOrder, UInt64) {
        var query = ""
        for _ in 0..<8 {
            let order = try await ask(DiscoveryOrder.self, lane, DiscoveryPath.orders + query, session: session)
            if case .deploy(let deploy) = order.action { return (deploy, order.number) }
            query = "?after=\(order.number)&wait=25"
        }
        throw LoadError("no order to deploy came")
    }

    private func identity(_ order: DeployOrder) throws -> AgentIdentityFile {
        guard let file = order.stateFiles.first(where: { $0.path == "muster/agent.json" }) else {
            throw LoadError("the order has no identity")
        }
        return try JSONDecoder().decode(AgentIdentityFile.self, from: Data(file.content.utf8))
    }

    private func certificate(_ node: NodeID, _ token: String) async throws -> (TransportSecurity, NodeID) {
        let key = P256.Signing.PrivateKey()
        let request = try CertificateSigningRequest(
            version: .v1, subject: DistinguishedName { CommonName(node.raw) },
            privateKey: Certificate.PrivateKey(key), attributes: CertificateSigningRequest.Attributes())
        let lane = try await HTTPConnection.open(
            to: Endpoint(site.provisioning), security: trust.security(), limits: Self.patience)
        let body = EnrolmentRequest(
            node: node, token: token, signingRequest: try request.serializeAsPEM().pemString + "\n")
        let reply = try await ask(EnrolmentReply.self, lane, DiscoveryPath.enrol, body: body)
        await lane.close()
        let identity = ClientIdentity(
            certificateChainPEM: reply.certificateChain, privateKeyPEM: key.pemRepresentation)
        return (try TransportSecurity.tls(trustRootsPEM: trust.pem, identity: identity), node)
    }

    private static let patience = TransportLimits(connectTimeout: .seconds(60), idleTimeout: .seconds(60))
    /// How often a request is made that is told to come again.
    private static let tryCountMax = 10

    private func ask<Answer: Decodable>(
        _ type: Answer.Type, _ lane: HTTPConnection, _ path: String, session: String? = nil,
        body: (any Encodable & Sendable)? = nil
    ) async throws -> Answer {
        let answer = try await send(lane, body == nil ? .get : .post, path, session: session, body: body)
        return try JSONDecoder().decode(type, from: Data(answer.body.readableBytesView))
    }

    private func send(
        _ lane: HTTPConnection, _ method: HTTPConnection.Request.Method, _ path: String, session: String?,
        body: (any Encodable & Sendable)? = nil
    ) async throws -> HTTPConnection.Response {
        var request = HTTPConnection.Request(method, path, headers: [(name: "Content-Type", value: "application/json")])
        if let session { request.headers.append((name: "Authorization", value: "Bearer \(session)")) }
        if let body { request.body = ByteBuffer(bytes: Array(try JSONEncoder().encode(body))) }
        for _ in 0..<Self.tryCountMax {
            let answer = try await lane.send(request)
            if (200..<300).contains(answer.status) { return answer }
            let what = path.prefix { $0 != "?" }
            // The session is known a moment after it was given: the catalog follows the store.
            guard [401, 429, 503].contains(answer.status) else {
                throw LoadError("\(answer.status) for \(what): \(answer.text.prefix(120))")
            }
            tally.fail("\(answer.status) for \(what), again")
            try await Task.sleep(for: .milliseconds(500))
        }
        throw LoadError("\(path) is refused again and again")
    }
}
