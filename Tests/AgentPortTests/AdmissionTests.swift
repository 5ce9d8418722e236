import AgentPort
import AgentProtocol
import Identity
import NIOCore
import NIOSSL
import NodeTransport
import Primitives
import Testing
import WebSocketMessages

@Suite("AgentPort admission", .timeLimit(.minutes(2)))
struct AdmissionTests {
    let site: TestSite

    init() throws { site = try TestSite() }

    @Test func nodeIsWhoItsCertificateSays() async throws {
        try await withPort(site) { port, endpoint, recorder in
            let first = try await connect(endpoint, site.security(for: TestSite.node(1)))
            let second = try await connect(endpoint, site.security(for: TestSite.node(2)))
            let nodes = Set([await recorder.nextConnected()?.node, await recorder.nextConnected()?.node])
            #expect(nodes == [try TestSite.node(1), try TestSite.node(2)])
            #expect(port.connectedNodes == [try TestSite.node(1), try TestSite.node(2)])
            first.close(reason: "done")
            second.close(reason: "done")
        }
    }

    @Test func withoutCertificateNobodyComesIn() async throws {
        try await withPort(site) { port, endpoint, _ in
            let security = try TransportSecurity.tls(trustRootsPEM: site.authority.certificatePEM)
            let error = await #expect(throws: TransportError.self) { try await connect(endpoint, security) }
            #expect([.tls, .closed].contains(error?.kind))
            #expect(port.statistics.sessions == 0)
        }
    }

    @Test func foreignAuthorityIsRefused() async throws {
        let foreign = try CertificateAuthority.makeRoot(name: "foreign")
        let security = try site.security(for: TestSite.node(1), issuer: foreign)
        try await withPort(site) { port, endpoint, _ in
            let error = await #expect(throws: TransportError.self) { try await connect(endpoint, security) }
            #expect([.tls, .closed].contains(error?.kind))
            #expect(port.statistics.sessions == 0)
        }
    }

    @Test func expiredCertificateIsRefused() async throws {
        let longAgo = SystemWallClock().now.advanced(by: .zero - CertificateAuthority.nodeLifetime - .seconds(86_400))
        let security = try site.security(for: TestSite.node(1), at: longAgo)
        try await withPort(site) { port, endpoint, _ in
            let error = await #expect(throws: TransportError.self) { try await connect(endpoint, security) }
            #expect([.tls, .closed].contains(error?.kind))
            #expect(port.statistics.sessions == 0)
        }
    }

    @Test func serverCertificateIsNoNode() async throws {
        let security = try TransportSecurity.tls(
            trustRootsPEM: site.authority.certificatePEM,
            identity: ClientIdentity(
                certificateChainPEM: site.server.certificatePEM, privateKeyPEM: site.server.privateKeyPEM))
        try await withPort(site) { port, endpoint, _ in
            await #expect(throws: TransportError.self) { try await connect(endpoint, security) }
            #expect(port.statistics.sessions == 0)
        }
    }

    @Test func revokedNodeIsToldSo() async throws {
        let revoked = try TestSite.node(1)
        try await withPort(site, isRevoked: { node, _ in node == revoked }) { _, endpoint, _ in
            let error = await #expect(throws: TransportError.self) {
                try await connect(endpoint, site.security(for: revoked))
            }
            #expect(error?.kind == .upgradeRefused(status: 403))
            #expect(error?.detail.contains("nodeRevoked") == true)
        }
    }

    @Test func impostorServerIsNotTrusted() async throws {
        let foreign = try CertificateAuthority.makeRoot(name: "foreign")
        let server = try TestSite.issueServer(foreign)
        var certificates = site.certificates(server)
        certificates.authoritiesPEM = foreign.certificatePEM
        try await withPort(site, tls: TLSContextHolder(certificates)) { _, endpoint, _ in
            let error = await #expect(throws: TransportError.self) {
                try await connect(endpoint, site.security(for: TestSite.node(1)))
            }
            #expect(error?.kind == .notTrusted)
        }
    }

    @Test func addressThatTheCertificateDoesNotNameIsNotTrusted() async throws {
        let server = try site.authority.issueServer(dnsNames: [], addresses: [IPv4Address("10.9.9.9")])
        try await withPort(site, tls: TLSContextHolder(site.certificates(server))) { _, endpoint, _ in
            let error = await #expect(throws: TransportError.self) {
                try await connect(endpoint, site.security(for: TestSite.node(1)))
            }
            #expect(error?.kind == .notTrusted)
        }
    }

    @Test func otherPathsAndMissingHelloAreRefused() async throws {
        let security = try site.security(for: TestSite.node(1))
        try await withPort(site, change: { $0.admissionTimeout = .seconds(5) }) { port, endpoint, _ in
            let wrong = await #expect(throws: TransportError.self) {
                try await AgentConnection.open(to: endpoint, path: "/other", security: security)
            }
            #expect(wrong?.kind == .upgradeRefused(status: 404))
            let plain = try await HTTPConnection.once(.init(.get, AgentStream.path), to: endpoint, security: security)
            #expect(plain.status == 426)
            let silent = try await AgentConnection.open(to: endpoint, path: AgentStream.path, security: security)
            for await _ in silent.messages {}
            let talker = try await AgentConnection.open(to: endpoint, path: AgentStream.path, security: security)
            try talker.send(.renew(signingRequest: "x"))
            for await _ in talker.messages {}
            guard case .closedByPeer(let code, _) = talker.end else {
                Issue.record("the stream ended otherwise: \(String(describing: talker.end))")
                return
            }
            #expect(code == 1002)
            #expect(port.statistics.sessions == 0)
        }
    }

    @Test func moreConnectionsThanAllowedAreClosed() async throws {
        try await withPort(site, change: { $0.connectionCountMax = 2 }) { port, endpoint, recorder in
            let one = try await connect(endpoint, site.security(for: TestSite.node(1)))
            let two = try await connect(endpoint, site.security(for: TestSite.node(2)))
            await #expect(throws: TransportError.self) {
                try await connect(endpoint, site.security(for: TestSite.node(3)))
            }
            #expect(port.statistics.overLimit == 1)
            one.close(reason: "done")
            _ = await recorder.nextDisconnected()
            let three = try await connect(endpoint, site.security(for: TestSite.node(3)))
            _ = await recorder.nextConnected()
            two.close(reason: "done")
            three.close(reason: "done")
        }
    }

    @Test func takenPortIsAClearError() async throws {
        try await withPort(site) { _, endpoint, _ in
            let second = AgentPortServer(
                configuration: AgentPortConfiguration(host: "127.0.0.1", port: endpoint.port),
                tls: try TLSContextHolder(site.certificates), delegate: Recorder(), logger: quiet)
            let error = await #expect(throws: AgentPortError.self) { try await second.run() }
            #expect(error == .portTaken(host: "127.0.0.1", port: endpoint.port))
            #expect(error?.publicMessage.contains("ss -ltnp") == true)
        }
    }

    @Test func keyOfAnotherCertificateIsRefusedAndTheOldOneStays() async throws {
        let holder = try TLSContextHolder(site.certificates)
        var broken = site.certificates
        broken.authoritiesPEM = "nonsense"
        #expect(throws: AgentPortError.self) { try holder.swap(to: broken) }
        try await withPort(site, tls: holder) { _, endpoint, recorder in
            let connection = try await connect(endpoint, site.security(for: TestSite.node(1)))
            #expect(await recorder.nextConnected() != nil)
            connection.close(reason: "done")
        }
    }
}
