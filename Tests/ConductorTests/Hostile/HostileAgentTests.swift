import APISupport
import AgentProtocol
import AsyncHTTPClient
import BareMetalAPI
import CatalogBareMetal
import CatalogIdentity
import FleetAPI
import Foundation
import Glibc
import HTTPTypes
import Hummingbird
import Identity
import IdentityAPI
import NIOCore
import NIOHTTP1
import NodeTransport
import Primitives
import ResourceModel
import Testing
import WebSocketMessages

@testable import BootServer
@testable import ConductorServer

/// An agent with a valid certificate of one node tries everything that there is of another.
@Suite(.serialized, .enabled(if: geteuid() == 0, "the conductor needs root")) struct HostileAgentTests {
    /// One request, and the answers that give nothing away.
    private struct Attempt {
        var path: String
        var token: String?
        var body: String?
        var expected: Set<UInt>
        /// Whether the answer may hold what everybody on the segment may know.
        var isPublic = false

        init(
            _ path: String, token: String? = nil, body: String? = nil, isPublic: Bool = false, _ expected: Set<UInt>
        ) {
            self.path = path
            self.token = token
            self.body = body
            self.isPublic = isPublic
            self.expected = expected
        }
    }

    private static func text(_ value: some Encodable) throws -> String {
        String(decoding: try AgentStream.encode(value), as: UTF8.self)
    }

    // MARK: What is tried

    /// By route of the provisioning port.
    private static func provisioning(_ scene: HostileScene) async throws -> [String: [Attempt]] {
        let (own, other) = (scene.taken, scene.other)
        let mixed = "\(other.id).\(own.session.split(separator: ".").last ?? "")"
        let tokens: [String?] = [
            nil, "", mixed, own.id.raw, other.id.raw, "\(other.id).", String(repeating: "x", count: 8000),
        ]
        let progress = try text(DiscoveryProgress(order: 1, stage: .finished))
        let logs = try text(
            LogBatch(source: "discovery-agent", lines: [.init(time: SystemWallClock().now, level: "info", text: "x")]))
        let stolenPath = try text(LogBatch(source: "../\(other.id)/discovery-agent", lines: []))
        // Counts by which a conductor that calculated with them would end.
        let extremes = [
            #"{"cleaning":{"disk":"x","index":9223372036854775807,"count":0,"done":0,"total":18446744073709551615}}"#,
            #"{"cleaning":{"disk":"x","index":-9223372036854775808,"count":0,"done":0,"total":18446744073709551615}}"#,
            #"{"writing":{"done":9223372036854775807,"total":1,"bytes":18446744073709551615}}"#,
        ].map { #"{"order":1,"stage":\#($0)}"# }
        let refused: Set<UInt> = [401]
        let posts = { (path: String, body: String) in tokens.map { Attempt(path, token: $0, body: body, refused) } }
        let manifest = { (digest: Digest) in "\(DiscoveryPath.manifests)/\(digest)" }
        func enrolment(_ node: NodeID, _ token: String) throws -> Attempt {
            let request = EnrolmentRequest(
                node: node, token: token, signingRequest: try HostileScene.signingRequest(for: other.id.raw))
            return Attempt(DiscoveryPath.enrol, body: try text(request), [403])
        }
        let ownToken = try await scene.tokens.make(for: own.id, generation: Generation(1), now: SystemWallClock().now)
            .revealed
        let otherToken = try await scene.tokens.make(
            for: other.id, generation: Generation(1), now: SystemWallClock().now
        ).revealed
        return [
            "POST \(DiscoveryPath.inventory)": [
                "", "{}", try text(InventoryPost(bootID: "x", inventory: inventory(of: other))),
            ]
            .map { Attempt(DiscoveryPath.inventory, body: $0, [400]) },
            // Anybody may ask for a challenge; what is no key of a TPM gets none.
            "POST \(DiscoveryPath.attestation)": [
                "", "{}",
                try text(
                    AttestationOffer(
                        bootID: other.bootID, certificate: nil, endorsementKey: Data([1, 2, 3]),
                        attestationKey: Data([4, 5, 6]))),
            ]
            .map { Attempt(DiscoveryPath.attestation, body: $0, [400]) },
            "GET \(DiscoveryPath.orders)": tokens.map {
                Attempt("\(DiscoveryPath.orders)?node=\(other.id)&wait=0", token: $0, refused)
            },
            "POST \(DiscoveryPath.progress)": posts(DiscoveryPath.progress, progress)
                // An order that is not its own, told with its own session.
                + [
                    Attempt(
                        DiscoveryPath.progress, token: own.session,
                        body: try text(DiscoveryProgress(order: .max, stage: .failed(message: "x", retryable: false))),
                        [409])
                ] + extremes.map { Attempt(DiscoveryPath.progress, token: own.session, body: $0, [204, 409]) },
            "POST \(DiscoveryPath.logs)": posts(DiscoveryPath.logs, logs)
                + [Attempt(DiscoveryPath.logs, token: own.session, body: stolenPath, [400])],
            "GET \(DiscoveryPath.manifests)/{digest}": tokens.map {
                Attempt(manifest(other.manifest), token: $0, refused)
            }
                + [other.manifest, other.inventory, own.inventory].map {
                    Attempt(manifest($0), token: own.session, [403])
                }
                + [Attempt("\(DiscoveryPath.manifests)/..%2f..%2fstore", token: own.session, [400, 404])],
            "POST \(DiscoveryPath.enrol)": [
                try enrolment(other.id, ownToken), try enrolment(own.id, otherToken),
                try enrolment(other.id, own.session), try enrolment(other.id, other.id.raw),
                try enrolment(other.id, "\(other.id).\(String(repeating: "0", count: 64))"),
            ],
        ]
    }

    private static func inventory(of member: HostileScene.Member) -> InventoryReport {
        InventoryReport(
            agentVersion: "1", collectedAt: SystemWallClock().now, kernelVersion: "6",
            system: .init(serial: "S-\(member.name)", firmwareMode: .bios),
            cpu: .init(architecture: "x86_64", sockets: 1, cores: 1, threads: 1), memory: .init(total: .gibibytes(1)),
            disks: [], nics: [.init(name: "eth0", mac: member.mac, permanentMAC: member.mac, hasLink: true, mtu: 1500)])
    }

    /// By route of the boot server.
    private static func boot(_ scene: HostileScene) -> [String: [Attempt]] {
        let other = scene.other
        let secrets = [other.inventory.hex, scene.taken.inventory.hex]
        var table: [String: [Attempt]] = [
            "GET /boot/ipxe": [Attempt("/boot/ipxe?mac=\(other.mac)&uuid=\(other.id)", isPublic: true, [200, 400])],
            "GET /boot/ca.pem": [Attempt("/boot/ca.pem", isPublic: true, [200])],
            "GET /boot/programs/{name}": ["operator.token", "..%2foperator.token", other.id.raw].map {
                Attempt("/boot/programs/\($0)", [404])
            },
            "GET /boot/blobs/{digest}": (secrets + [other.manifest.hex, "..%2fstore.sqlite"]).map {
                Attempt("/boot/blobs/\($0)", [400, 404])
            },
            "GET /boot/media/{token}/boot.iso": [other.id.raw, String(repeating: "0", count: 32)].map {
                Attempt("/boot/media/\($0)/boot.iso", [404])
            },
            "GET /images/{manifest}/chunks": secrets.map { Attempt("/images/\($0)/chunks", [404]) },
        ]
        for name in BootFileName.allCases {
            table["GET /boot/{image}/\(name.rawValue)"] = [other.id.raw, "..", "%2e%2e"].map {
                Attempt("/boot/\($0)/\(name.rawValue)", [404])
            }
        }
        for (route, attempts) in table where route != "GET /boot/ipxe" {
            table["HEAD " + route.dropFirst(4)] = attempts
        }
        return table
    }

    /// Paths of the operators' port that need no token, and what they answer to somebody without one.
    private static let openPaths: [String: Set<UInt>] = [
        "GET /fleet/v1": [200], "GET /fleet/v1/ready": [200], "GET /sign-in": [200],
        "POST /sign-in": [400, 401, 403, 415, 422],
        "POST /sign-out": [303, 400, 403],
        "GET /session": [401],
    ]

    // MARK: Tests

    @Test(.timeLimit(.minutes(2))) func `no route of a machine's port gives or changes what is another node's`()
        async throws
    {
        try await HostileScene.with { scene in
            let before = try await scene.node(scene.other)
            let provisioning = try await Self.provisioning(scene)
            let boot = Self.boot(scene)
            #expect(Set(provisioning.keys) == Self.routes(scene.parts.provisioningRouter()))
            let router = Router(context: BootHTTPContext.self)
            scene.parts.bootFiles().addRoutes(to: router)
            #expect(Set(boot.keys) == Self.routes(router))
            try await scene.withClient { client in
                for (route, attempts) in provisioning {
                    for attempt in attempts {
                        try await Self.attempt(attempt, route, "https", scene.ports[2], client, scene)
                    }
                }
                for (route, attempts) in boot {
                    for attempt in attempts {
                        try await Self.attempt(attempt, route, "http", scene.ports[1], client, scene)
                    }
                }
            }
            #expect(try await scene.node(scene.other) == before, "the other node is as it was")
            let denied = try await scene.audit.events().events.filter { $0.spec.outcome == .denied }
            #expect(denied.contains { $0.spec.verb == "enrol" && $0.spec.resource == Node.key(scene.other.id.raw) })
        }
    }

    /// The cloud's routes that ask for no token, as the router has them.
    private static var openCloudRoutes: Set<String> {
        let identity = KeystoneAPI.routes.filter { $0.access == .open }.map { ($0.method, KeystoneAPI.path + $0.path) }
        let machines = IronicAPI.routes.filter { $0.access == .open }.map { ($0.method, IronicAPI.path + $0.path) }
        let documents = [KeystoneAPI.path, IronicAPI.path].map { (HTTPRequest.Method.get, "\($0)/openapi.json") }
        let placed = (identity + machines + documents).map { method, path in
            let parts = path.split(separator: "/").enumerated()
            // Parameters are called by their places below the service's path.
            let names = parts.map { $0.element.first == "{" ? "{p\($0.offset - 1)}" : String($0.element) }
            return "\(method) /\(names.joined(separator: "/"))"
        }
        return Set(placed + placed.filter { $0.hasPrefix("GET ") }.map { "HEAD\($0.dropFirst(3))" })
    }

    @Test(.timeLimit(.minutes(2))) func `nothing that a node has opens the operators' port`() async throws {
        try await HostileScene.with { scene in
            let token = try await scene.tokens.make(
                for: scene.other.id, generation: Generation(1), now: SystemWallClock().now)
            let fleet = Set(OperatorAPI.routes.map { "\($0.method.rawValue) \($0.path)" })
            // What the cloud's APIs answer without a token is theirs to say; all else of them is closed like the rest.
            let open = Self.openCloudRoutes
            let all = Self.routes(scene.parts.operatorRouter()).filter { !open.contains($0) }
            #expect(all.contains("GET /identity/v3/users/{p2}") && all.contains("GET /baremetal/v1/nodes/{p2}"))
            #expect(all.isSuperset(of: fleet) && all.isSuperset(of: Self.openPaths.keys))
            try await scene.withClient { client in
                for route in all {
                    let path = Self.concrete(String(route.split(separator: " ")[1]), scene)
                    for bearer in [nil, scene.taken.session, scene.other.session, token.revealed] {
                        let isPage = !fleet.contains(route)
                        let isAsset = route.hasPrefix("GET /assets/")
                        let isCloud = route.contains(" /identity") || route.contains(" /baremetal")
                        let open =
                            isCloud
                            ? [401, 405] : isAsset ? [200] : bearer == nil || isPage ? Self.openPaths[route] : nil
                        let attempt = Attempt(
                            path, token: bearer, body: route.hasPrefix("GET") ? nil : "{}",
                            open ?? (isPage ? [303, 401] : [401]))
                        try await Self.attempt(attempt, route, "https", scene.ports[0], client, scene)
                    }
                }
            }
        }
    }

    @Test(.timeLimit(.minutes(2)))
    func `a machine that poses as a node in service gets nothing and changes nothing of it`() async throws {
        try await HostileScene.with { scene in
            let before = try await scene.node(scene.other)
            try await scene.withClient { client in
                let post = InventoryPost(bootID: "another-boot", inventory: Self.inventory(of: scene.other))
                var request = HTTPClientRequest(url: "https://127.0.0.1:\(scene.ports[2])\(DiscoveryPath.inventory)")
                request.method = .POST
                request.body = .bytes(ByteBuffer(string: try Self.text(post)))
                let answer = try await client.execute(request, timeout: .seconds(20))
                #expect(answer.status == .ok)
                let reply = try AgentStream.decode(
                    InventoryReply.self, from: try await answer.body.collect(upTo: 1 << 16).readableBytesView)
                #expect(reply.node == scene.other.id)
                let orders = Attempt("\(DiscoveryPath.orders)?wait=0", token: reply.session, isPublic: true, [200])
                let order = try await Self.attempt(orders, "orders", "https", scene.ports[2], client, scene)
                guard case .wait = try AgentStream.decode(DiscoveryOrder.self, from: Array(order.utf8)).action else {
                    Issue.record("an order was given: \(order)")
                    return
                }
                let manifest = Attempt(
                    "\(DiscoveryPath.manifests)/\(scene.other.manifest)", token: reply.session, [403])
                try await Self.attempt(manifest, "manifest", "https", scene.ports[2], client, scene)
            }
            var after = try await scene.node(scene.other)
            #expect(after.status.session?.isTrusted == false)
            after.status.session = before.status.session
            #expect(after.spec == before.spec && after.status == before.status, "but for its session it is as it was")
        }
    }

    // MARK: How

    /// The routes of a router, as `GET /a/{b}`.
    private static func routes<Context: RequestContext>(_ router: Router<Context>) -> Set<String> {
        Set(
            router.routes.map { route in
                let parts = "\(route.path)".split(separator: "/").map { part in
                    part.hasPrefix(":") ? "{\(part.dropFirst())}" : String(part)
                }
                return "\(route.method.rawValue) /\(parts.joined(separator: "/"))"
            })
    }

    private static func concrete(_ path: String, _ scene: HostileScene) -> String {
        let parts = path.split(separator: "/").map { part in
            switch part {
            case "{node}": scene.other.id.raw
            case "{digest}": scene.other.inventory.hex
            case let part where part.hasPrefix("{"): "x"
            default: String(part)
            }
        }
        return "/" + parts.joined(separator: "/")
    }

    /// Sends a request and checks that its answer is among those expected, and tells nothing of the other node.
    @discardableResult
    private static func attempt(
        _ attempt: Attempt, _ route: String, _ scheme: String, _ port: Int, _ client: HTTPClient, _ scene: HostileScene
    ) async throws -> String {
        var request = HTTPClientRequest(url: "\(scheme)://127.0.0.1:\(port)\(attempt.path)")
        request.method = .init(rawValue: String(route.prefix { $0 != " " }.uppercased()))
        if !["GET", "POST", "HEAD", "PUT", "PATCH", "DELETE", "OPTIONS"].contains(request.method.rawValue) {
            request.method = .GET
        }
        if let token = attempt.token { request.headers.add(name: "Authorization", value: "Bearer \(token)") }
        if let body = attempt.body {
            request.headers.add(name: "Content-Type", value: "application/json")
            request.body = .bytes(ByteBuffer(string: body))
        }
        let what = "\(route) \(attempt.path.prefix(120)) with \((attempt.token ?? "no token").prefix(40))"
        let response: HTTPClientResponse
        let text: String
        do {
            response = try await client.execute(request, timeout: .seconds(20))
            text = String(buffer: try await response.body.collect(upTo: 1 << 20))
        } catch {
            Issue.record("\(what): \(error)")
            return ""
        }
        #expect(attempt.expected.contains(response.status.code), "\(what): \(response.status.code) \(text.prefix(300))")
        guard !attempt.isPublic else { return text }
        for secret in [scene.other.name, "S-victim", "secret of", "manifest of", "BEGIN CERTIFICATE-"] {
            #expect(!text.contains(secret), "\(what) tells '\(secret)': \(text.prefix(300))")
        }
        return text
    }
}
