import Crypto
import Foundation
import HTTPTypes
import Hummingbird
import HummingbirdCore
import Identity
import Logging
import NIOCore
import NIOHTTP1
import Primitives
import Synchronization
import TestSupport
import Testing

@testable import ConductorServer
@testable import OpenIDIssuers

/// An identity provider on loopback, over TLS with an authority of its own.
private struct LocalProvider: Sendable {
    let port: Int
    /// The authority's file.
    let caFile: String

    var url: String { "https://localhost:\(port)" }

    func issuer(caFile: String?? = nil, isPrivate: Bool = true) -> IssuerSettings.Issuer {
        IssuerSettings.Issuer(
            url: url, audiences: ["muster"], caFile: caFile ?? self.caFile, allowsPrivateAddresses: isPrivate)
    }

    /// What the provider answers to a path; `%` in a body stands for its own address.
    typealias Pages = [String: (status: HTTPResponse.Status, body: String)]

    static func with(_ pages: Pages, _ body: @escaping @Sendable (LocalProvider) async throws -> Void) async throws {
        let directory = try TemporaryDirectory("provider")
        let clock = SystemWallClock()
        let authority = try CertificateAuthority.makeRoot(name: "provider", clock: clock)
        let logger = Logger(label: "provider") { _ in SwiftLogNoOpLogHandler() }
        let certificate = try ServerCertificate(
            authorities: SiteAuthorities(try .only(authority)), names: [],
            addresses: { [IPv4Address(0x7F00_0001)] }, clock: clock, logger: logger)
        let caFile = directory.appending("ca.pem")
        try Data(authority.certificatePEM.utf8).write(to: URL(fileURLWithPath: caFile))
        let router = Router()
        let port = Mutex(0)
        for (path, page) in pages {
            router.get(RouterPath(path)) { request, _ in
                if path == "/slow" { try await Task.sleep(for: .seconds(30)) }
                let own = "https://\(request.head.authority ?? "")"
                return Response(
                    status: page.status, headers: [.location: "\(own)/good"],
                    body: .init(byteBuffer: ByteBuffer(string: page.body.replacing("%", with: own))))
            }
        }
        let (ports, running) = AsyncStream.makeStream(of: Int.self)
        let application = Application(
            router: router, server: .https(certificate, addresses: AddressLimit(64, boundsLoopback: false)),
            configuration: .init(address: .hostname("localhost", port: 0)),
            onServerRunning: { channel in running.yield(channel.localAddress?.port ?? 0) }, logger: logger)
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { try await application.runService(gracefulShutdownSignals: []) }
            for await found in ports {
                port.withLock { $0 = found }
                break
            }
            defer { group.cancelAll() }
            try await body(LocalProvider(port: port.withLock { $0 }, caFile: caFile))
        }
        withExtendedLifetime(directory) {}
    }
}

/// The documents of identity providers, over real sockets and TLS.
@Suite struct IssuerFetchTests {
    private static let pages: LocalProvider.Pages = [
        "/good": (.ok, "{}"), "/moved": (.found, ""), "/missing": (.notFound, "{}"), "/slow": (.ok, "{}"),
        "/large": (.ok, String(repeating: " ", count: IssuerFetch.sizeMax + 1)),
        "/whole": (.ok, String(repeating: " ", count: IssuerFetch.sizeMax)),
    ]

    private func fetch(_ issuer: IssuerSettings.Issuer, time: Duration = .seconds(10)) throws -> IssuerFetch {
        try IssuerFetch(IssuerSettings([issuer]), path: "f.yaml", time: time)
    }

    private func refuses(
        _ path: String, _ part: String, of issuer: IssuerSettings.Issuer, time: Duration = .seconds(10)
    ) async throws {
        let fetch = try fetch(issuer, time: time)
        let error = await #expect(throws: IssuerFetchError.self) {
            try await fetch.document(at: issuer.url + path, of: issuer)
        }
        #expect(error?.why.contains(part) == true, "\(path): \(error?.why ?? "nothing")")
    }

    @Test(.timeLimit(.minutes(1))) func `a document comes over TLS from its own authority, whole or not at all`()
        async throws
    {
        try await LocalProvider.with(Self.pages) { provider in
            let issuer = provider.issuer()
            let fetch = try fetch(issuer)
            #expect(try await fetch.document(at: "\(provider.url)/good", of: issuer) == Array("{}".utf8))
            #expect(try await fetch.document(at: "\(provider.url)/whole", of: issuer).count == IssuerFetch.sizeMax)
            try await refuses("/large", "larger than", of: issuer)
            try await refuses("/moved", "no redirect is followed", of: issuer)
            try await refuses("/missing", "404", of: issuer)
            try await refuses("/slow", "no whole answer", of: issuer, time: .milliseconds(300))
            try await refuses("/good", "CERTIFICATE_VERIFY_FAILED", of: provider.issuer(caFile: .some(nil)))
            let error = await #expect(throws: IssuerFetchError.self) {
                try await fetch.document(at: "http://127.0.0.1:\(provider.port)/good", of: issuer)
            }
            #expect(error?.why.contains("no https") == true)
        }
    }

    @Test(.timeLimit(.minutes(1))) func `addresses that are not public need the operator's word`() async throws {
        try await LocalProvider.with(Self.pages) { provider in
            let issuer = provider.issuer(isPrivate: false)
            try await refuses("/good", "allowPrivateAddresses: true", of: issuer)
            let fetch = try fetch(issuer)
            for host in ["127.0.0.1", "[::1]", "10.0.0.1", "169.254.169.254", "[fe80::1]", "[::ffff:10.0.0.1]", "0"] {
                let error = await #expect(throws: IssuerFetchError.self) {
                    try await fetch.document(at: "https://\(host):\(provider.port)/good", of: issuer)
                }
                #expect(error?.why.contains("not of the public Internet") == true, "\(host): \(error?.why ?? "")")
            }
        }
    }

    @Test func `which addresses are public`() {
        for text in ["8.8.8.8", "100.63.255.255", "172.15.0.1", "172.32.0.1", "192.167.255.255", "223.255.255.255"] {
            #expect(PublicAddress.isPublic(text), "\(text)")
        }
        for text in [
            "0.0.0.0", "10.255.255.255", "100.64.0.1", "127.1.2.3", "169.254.169.254", "172.31.0.1", "192.168.0.1",
            "198.19.0.1", "224.0.0.1", "255.255.255.255",
        ] {
            #expect(!PublicAddress.isPublic(text), "\(text)")
        }
        for (text, isPublic) in [
            ("2a00:1450:4001::1", true), ("2001:4860:4860::8888", true), ("::", false), ("::1", false),
            ("fe80::1", false), ("fc00::1", false), ("fd12::1", false), ("ff02::1", false), ("::ffff:8.8.8.8", false),
            ("64:ff9b::808:808", false), ("2001:db8::1", false), ("2001::1", false), ("2002:a00:1::1", false),
            ("x", false), ("", false),
        ] {
            #expect(PublicAddress.isPublic(text) == isPublic, "\(text)")
        }
    }

    @Test(.timeLimit(.minutes(1)))
    func `a token of a provider on loopback is verified with the keys that it publishes`() async throws {
        let key = P256.Signing.PrivateKey()
        @Sendable func text(_ bytes: [UInt8]) -> String { Base64.urlSafe.encode(bytes) }
        let point = key.publicKey.rawRepresentation
        let keys: JSONValue = [
            "keys": [
                [
                    "kid": "1", "kty": "EC", "crv": "P-256", "x": .string(text(Array(point.prefix(32)))),
                    "y": .string(text(Array(point.suffix(32)))),
                ]
            ]
        ]
        let pages: LocalProvider.Pages = [
            "/.well-known/openid-configuration": (.ok, #"{"issuer":"%","jwks_uri":"%/keys"}"#),
            "/keys": (.ok, String(decoding: keys.text, as: UTF8.self)),
        ]
        try await LocalProvider.with(pages) { provider in
            let directory = try TemporaryDirectory("settings")
            let file = directory.appending("oidc.yaml")
            let settings = """
                issuers:
                  \(provider.url):
                    audiences: [muster]
                    caFile: \(provider.caFile)
                    allowPrivateAddresses: true
                """
            try Data(settings.utf8).write(to: URL(fileURLWithPath: file))
            let verifier = try #require(try CloudIdentity.openID(file, clock: SystemWallClock()))
            let now = SystemWallClock().now.millisecondsSinceEpoch / 1000
            let claims: JSONValue = [
                "iss": .string(provider.url), "aud": "muster", "sub": "u-1", "exp": .integer(now + 300),
            ]
            let signed = "\(text(Array(#"{"alg":"ES256","kid":"1"}"#.utf8))).\(text(claims.text))"
            let token = "\(signed).\(text(Array(try key.signature(for: Data(signed.utf8)).rawRepresentation)))"
            #expect(try await verifier.claims(of: token, from: [provider.url])["sub"] == "u-1")
            await #expect(throws: FederationError.self) {
                try await verifier.claims(of: token, from: ["https://other"])
            }
        }
    }

    @Test func `what is wrong in the operator's file is told at the start`() throws {
        let directory = try TemporaryDirectory("settings")
        let file = directory.appending("oidc.yaml")
        for (text, part) in [
            ("issuers: 1", "line 1"),
            ("issuers:\n  https://sso.example:\n    audiences: [a]\n    caFile: /none", "/none"),
        ] {
            try Data(text.utf8).write(to: URL(fileURLWithPath: file))
            let error = #expect(throws: IssuerSettingsError.self) {
                try CloudIdentity.openID(file, clock: SystemWallClock())
            }
            #expect(error?.publicMessage.contains(file) == true && error?.publicMessage.contains(part) == true)
        }
        #expect(throws: IssuerSettingsError.self) { try CloudIdentity.openID("/none", clock: SystemWallClock()) }
        #expect(try CloudIdentity.openID(nil, clock: SystemWallClock()) == nil)
    }
}
