import AgentProtocol
import FoundationEssentials
import NIOCore
import NodeTransport
import Primitives

/// What a machine says to conductors from its ramdisk until it is a node: its inventory, the order to deploy, the manifest,
/// the report; no image is written.
struct MachineVisit: Sendable {
    /// The machine's serial number, by which a rule of the bed's site names the node.
    let serial: String
    /// Tells this machine from others: its MAC address and UUID.
    let number: Int
    let trust: TransportSecurity

    private static let patience = TransportLimits(connectTimeout: .seconds(10), idleTimeout: .seconds(60))
    /// How often one request is made that is told to come again.
    private static let tryCountMax = 20
    private static let pause = Duration.milliseconds(250)

    /// Goes all the way at one conductor, and gives the files that belong on the machine's state partition.
    ///
    /// Throws `BedError` or `TransportError`; it may be done again, at another conductor too.
    func go(to conductor: String) async throws -> (node: NodeID, files: [StateFile]) {
        let lane = try await HTTPConnection.open(
            to: Endpoint(host: conductor, port: 8443), security: trust, limits: Self.patience)
        do {
            let result = try await go(on: lane)
            await lane.close()
            return result
        } catch {
            await lane.close()
            throw error
        }
    }

    private func go(on lane: HTTPConnection) async throws -> (node: NodeID, files: [StateFile]) {
        let post = InventoryPost(bootID: "bed-machine-\(serial)", inventory: inventory)
        let session = try await ask(InventoryReply.self, lane, DiscoveryPath.inventory, body: post)
        var query = ""
        for _ in 0..<Self.tryCountMax {
            let order = try await ask(
                DiscoveryOrder.self, lane, DiscoveryPath.orders + query, session: session.session)
            guard case .deploy(let deploy) = order.action else {
                query = "?after=\(order.number)&wait=10"
                continue
            }
            _ = try await send(
                lane, .get, "\(DiscoveryPath.manifests)/\(deploy.manifest)", session: session.session)
            let finished = DiscoveryProgress(order: order.number, stage: .finished)
            _ = try await send(lane, .post, DiscoveryPath.progress, session: session.session, body: finished)
            return (session.node, deploy.stateFiles)
        }
        throw BedError.failed("The machine \(serial) gets no order to be deployed.")
    }

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
        var last = ""
        for _ in 0..<Self.tryCountMax {
            let answer = try await lane.send(request, bodyLimit: 8 << 20)
            if (200..<300).contains(answer.status) { return answer }
            last = "\(answer.status): \(answer.text.prefix(200))"
            // A conductor knows a session that another has given as soon as its memory has followed the store.
            guard [401, 429, 503].contains(answer.status) else { break }
            try await Task.sleep(for: Self.pause)
        }
        throw BedError.failed("The machine \(serial) is refused \(path.prefix { $0 != "?" }): \(last)")
    }

    private var inventory: InventoryReport {
        let mac = MACAddress(bytes: [
            0x52, 0x54, 0, UInt8(number >> 16 & 0xFF), UInt8(number >> 8 & 0xFF), UInt8(number & 0xFF),
        ])
        let digits = String(number, radix: 16)
        return InventoryReport(
            agentVersion: "bed", collectedAt: Timestamp(millisecondsSinceEpoch: 0), bootInterface: mac,
            kernelVersion: "6.1.0",
            system: .init(
                vendor: BedPlan.machineVendor, product: "B1", serial: serial,
                uuid: "62656400-0000-4000-8000-" + String(repeating: "0", count: 12 - digits.count) + digits,
                boardSerial: "BOARD-\(number)", biosVendor: "Bed", biosVersion: "1.0", firmwareMode: .uefi),
            cpu: .init(model: "Bed CPU", architecture: "x86_64", sockets: 1, cores: 8, threads: 16),
            memory: .init(total: .gibibytes(32), modules: []),
            disks: [
                .init(
                    name: "nvme0n1", path: "/dev/nvme0n1", serial: "D\(number)", model: "Bed disk",
                    size: .gibibytes(960), isRotational: false, bus: "nvme")
            ],
            nics: [.init(name: "eth0", mac: mac, permanentMAC: mac, driver: "veth", hasLink: true, mtu: 1500)])
    }
}
