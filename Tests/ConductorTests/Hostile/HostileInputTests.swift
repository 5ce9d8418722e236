import APISupport
import AgentProtocol
import BareMetal
import CatalogBareMetal
import Fleet
import Foundation
import Glibc
import HTTPTypes
import Hummingbird
import HummingbirdCore
import Logging
import NIOCore
import NIOEmbedded
import NetworkBoot
import Primitives
import Testing

@testable import BootServer
@testable import ConductorServer

/// Names that lead elsewhere, texts that would be commands, and documents that are traps.
@Suite(.serialized, .enabled(if: geteuid() == 0, "the conductor needs root")) struct HostileInputTests {
    private static let quiet = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }

    /// Names of files that nobody may have.
    static let names = [
        "../etc/passwd", "/etc/passwd", "//etc/passwd", "..\\..\\etc\\passwd", "C:\\boot.ini", "....//....//etc/passwd",
        "%2e%2e%2fetc%2fpasswd", "..%c0%af..%c0%afetc/passwd", "..%252fetc", "snponly.efi/../../etc/passwd",

        "SNPONLY.EFI", "snponly.efi ", " snponly.efi", "snponly.efi.", "snponly.efi\u{1}", "snponly.efi\r\n",
        "file:///etc/passwd",
        "operator.token", "master.key", "store.sqlite", "*", "~root", "$(id)", "`id`", "|id", ";id", "\u{202E}ife", "",
        String(repeating: "a/", count: 200),
    ]

    @Test(.timeLimit(.minutes(1))) func `names that lead elsewhere find nothing by TFTP`() async throws {
        let programs = BootPrograms([.uefiIPXE: [1, 2, 3]])
        let (ports, told) = AsyncStream.makeStream(of: Int.self)
        let server = TFTPServer(
            address: try IPv4Address("127.0.0.1"), port: 0, files: { programs.bytes(named: $0) }, logger: Self.quiet,
            onListening: { told.yield($0) })
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { try await server.run() }
            defer { group.cancelAll() }
            var iterator = ports.makeAsyncIterator()
            let port = try #require(await iterator.next())
            for name in Self.names {
                for operation: UInt8 in [1, 2] {
                    let answer = try Self.ask(
                        port, [0, operation] + Array(name.utf8) + [0] + Array("octet".utf8) + [0])
                    #expect(answer == nil || answer == 5, "\(name): opcode \(answer ?? 0)")
                }
            }
            let good = try Self.ask(port, [0, 1] + Array("snponly.efi".utf8) + [0] + Array("octet".utf8) + [0])
            #expect(good == 3, "what is there comes")
        }
    }

    /// The opcode of the first answer to a datagram; nil: none came.
    private static func ask(_ port: Int, _ bytes: [UInt8]) throws -> UInt8? {
        let descriptor = socket(AF_INET, Int32(SOCK_DGRAM.rawValue), 0)
        defer { close(descriptor) }
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = in_port_t(port).bigEndian
        address.sin_addr.s_addr = in_addr_t(0x7F00_0001).bigEndian
        var time = timeval(tv_sec: 0, tv_usec: 300_000)
        setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &time, socklen_t(MemoryLayout<timeval>.size))
        let sent = withUnsafePointer(to: address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                sendto(descriptor, bytes, bytes.count, 0, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
            }
        }
        try #require(sent == bytes.count)
        var answer = [UInt8](repeating: 0, count: 2048)
        let count = recv(descriptor, &answer, answer.count, 0)
        return count >= 2 ? answer[1] : nil
    }

    @Test(.timeLimit(.minutes(1))) func `a boot script has nothing of what its client says but the MAC address`()
        async throws
    {
        try await HostileScene.with { scene in
            let router = Router(context: BootHTTPContext.self)
            scene.parts.bootFiles().addRoutes(to: router)
            let responder = router.buildResponder()
            func script(_ query: String, _ headers: HTTPFields = [:], authority: String = "10.77.0.1") async throws
                -> String
            {
                let request = Request(
                    head: HTTPRequest(
                        method: .get, scheme: "http", authority: authority,
                        path: "/boot/ipxe?mac=52:54:00:00:00:77\(query)",
                        headerFields: headers), body: RequestBody(buffer: ByteBuffer()))
                let source = ApplicationRequestContextSource(channel: EmbeddedChannel(), logger: Self.quiet)
                let response = try await responder.respond(to: request, context: BootHTTPContext(source: source))
                guard response.status == .ok else { return "" }
                let written = Collected()
                try await response.body.write(written)
                return written.text
            }
            let plain = try await script("")
            #expect(plain.hasPrefix("#!ipxe\n") && plain.contains("52:54:00:00:00:77"))
            for authority in ["evil.example", "10.77.0.1:80@evil.example", "x y", "[::1]", "a\nchain http://evil"] {
                #expect(try await script("", authority: authority) == plain, "\(authority)")
            }
            for name in [
                "X-Forwarded-Host", "X-Forwarded-For", "X-Original-URL", "Forwarded", "X-HTTP-Method-Override",
            ] {
                let field = try #require(HTTPField.Name(name))
                #expect(try await script("", [field: "evil.example"]) == plain, "\(name)")
            }
            for value in [
                "%0Achain%20http://evil", "%0D%0Aexit", "a;exit", "${net0/mac}", "%00", "%E2%80%AE", "x%20||%20shell",
            ] {
                for key in ["serial", "uuid", "mac", "next"] {
                    let text = try await script("&\(key)=\(value)")
                    #expect(text == plain || text.isEmpty, "\(key)=\(value): \(text)")
                }
            }
        }
    }

    @Test(.timeLimit(.minutes(1))) func `heads that never end are not waited for, and an address has so many places`()
        async throws
    {
        try await HostileScene.with { scene in
            var limits = BootHTTP.Limits()
            limits.firstRequestTimeout = .seconds(4)
            let (ports, told) = AsyncStream.makeStream(of: Int.self)
            let application = BootHTTP(
                content: scene.parts.bootFiles().content, limits: limits,
                addresses: AddressLimit(3, boundsLoopback: true), logger: Self.quiet
            ).application(host: "127.0.0.1", port: 0) { told.yield($0) }
            try await withThrowingTaskGroup(of: Void.self) { group in
                group.addTask { try await application.run() }
                defer { group.cancelAll() }
                var iterator = ports.makeAsyncIterator()
                let port = try #require(await iterator.next())
                let begun = ContinuousClock.now
                let sockets = try (0..<5).map { _ in try RawSocket(from: 71, to: port) }
                for socket in sockets { socket.send("GET /boot/ca.pem HTTP/1.1\r\nX: ") }
                let other = try RawSocket(from: 72, to: port)
                other.send("GET /boot/ca.pem HTTP/1.1\r\nHost: x\r\n\r\n")
                #expect(other.answer()?.hasPrefix("HTTP/1.1 200") == true, "another address is served")
                while sockets.count(where: \.isOpen) > 3 { try await Task.sleep(for: .milliseconds(20)) }
                #expect(sockets.count(where: \.isOpen) == 3)
                while sockets.contains(where: \.isOpen) {
                    for socket in sockets { socket.send("a") }
                    try await Task.sleep(for: .milliseconds(50))
                }
                #expect(ContinuousClock.now - begun >= .seconds(4))
            }
        }
    }

    /// Texts that may stand in no name, path, address or parameter.
    static let texts = [
        "a\nb", "a\r\nb", "a\tb", "a\u{0}b", "a\u{1B}[2J", "a\u{7F}", "a\u{85}b", "a\u{2028}b", "a\u{202E}b",
        "a\u{200B}b", "a b", "a\"b", "a'b",
        "a;b", "a|b", "a&b", "a$b", "a`b", "a\\b", "a<b>", "../a", "",
    ]

    /// Site files whose only fault can be the name.
    private static func sites(_ name: String) -> [String] {
        let quoted = String(decoding: (try? JSONEncoder().encode(name)) ?? Data(), as: UTF8.self)
        return [
            "site: {name: \(quoted)}",
            "site: {name: s}\nbmcs: [{name: \(quoted), address: \"https://10.0.0.1\", username: u, passwordEnv: X}]",
            "site: {name: s}\nrules: [{name: \(quoted), order: 1, match: {system.vendor: A}, gives: {role: network}}]",
        ]
    }

    @Test func `names and values with control characters are refused everywhere`() throws {
        for site in Self.sites("good") { _ = try SiteFile(yaml: site) }
        for text in Self.texts {
            #expect(throws: InvalidValue.self, "label '\(text)'") { try DNSLabel(text) }
            #expect(throws: InvalidValue.self, "identifier '\(text)'") { try NodeID(text) }
            #expect(throws: InvalidValue.self, "name pattern '\(text)'") { try NamePattern(text) }
            #expect(throws: InvalidValue.self, "parameter '\(text)'") { try KernelParameter(text) }
            for site in Self.sites(text) { #expect(throws: SiteError.self, "\(site)") { try SiteFile(yaml: site) } }
            guard !text.isEmpty else { continue }
            #expect(throws: InvalidValue.self, "path '\(text)'") {
                try BootURL(host: .any, port: 80, path: "/" + text)
            }
            #expect(throws: InvalidValue.self, "query '\(text)'") {
                try BootURL(host: .any, port: 80, path: "/", query: [.init("mac", text)])
            }
            // Dots and slashes mean nothing in a value.
            guard text != "../a" else { continue }
            #expect(throws: InvalidValue.self, "value '\(text)'") { try KernelParameter("x", text) }
            #expect(throws: InvalidValue.self, "console '\(text)'") { try ConsoleAddress("ipmi://" + text) }
            #expect(throws: InvalidValue.self, "BMC '\(text)'") { try BMCAddress("https://" + text, user: "u") }
        }
    }

    /// Bodies that are JSON, or nearly, and ask for more than they bring.
    static let documents = [
        String(repeating: "[", count: 100_000), String(repeating: #"{"a":"#, count: 50_000),
        #"{"schemaVersion":\#(String(repeating: "9", count: 50_000))}"#, #"{"schemaVersion":1e999999999}"#,
        #"{"schemaVersion":-0.0000000000000000000000000000000000000001}"#, #"{"bootID":"\ud800"}"#, "\"\\u0000\"",
        "{\"bootID\":\"" + String(repeating: "\\u0041", count: 80_000) + "\"}", "NaN", "-", "{]", "\u{FEFF}\u{FEFF}{}",
        #"{"inventory":{"disks":[\#(String(repeating: "{},", count: 50_000)){}]}}"#,
        "{" + (0..<20_000).map { "\"k\($0)\":0," }.joined() + "\"bootID\":1}",
    ]

    @Test(.timeLimit(.minutes(1))) func `documents that are traps are refused as what they are`() async throws {
        try await HostileScene.with { scene in
            let responder = scene.parts.provisioningRouter().buildResponder()
            for path in [DiscoveryPath.inventory, DiscoveryPath.enrol, DiscoveryPath.progress, DiscoveryPath.logs] {
                for body in Self.documents {
                    let request = Request(
                        head: HTTPRequest(
                            method: .post, scheme: "https", authority: "x", path: path,
                            headerFields: [.authorization: "Bearer \(scene.taken.session)"]),
                        body: RequestBody(buffer: ByteBuffer(string: body)))
                    let source = ApplicationRequestContextSource(channel: EmbeddedChannel(), logger: Self.quiet)
                    let context = FleetRequestContext(source: source)
                    let status = try await responder.respond(to: request, context: context).status
                    #expect([400, 413].contains(status.code), "\(path) \(body.prefix(40)): \(status)")
                }
            }
        }
    }
}

/// Takes what a body writes.
private final class Collected: ResponseBodyWriter {
    private(set) var text = ""

    func write(_ buffer: ByteBuffer) async throws { text += String(buffer: buffer) }
    func finish(_ trailingHeaders: HTTPFields?) async throws {}
}
