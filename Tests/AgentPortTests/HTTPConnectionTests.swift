import Identity
import NIOCore
import NodeTransport
import Primitives
import Testing

@Suite("HTTPConnection", .timeLimit(.minutes(1)))
struct HTTPConnectionTests {
    private func withServer(
        certificate: IssuedServer? = nil,
        _ answer: @escaping @Sendable (String, String, ByteBuffer) -> MiniServer.Answer,
        _ body: (Endpoint) async throws -> Void
    ) async throws {
        let server = try await MiniServer.start(certificate: certificate, answer)
        do { try await body(server.endpoint) } catch {
            try await server.stop()
            throw error
        }
        try await server.stop()
    }

    @Test func oneConnectionCarriesManyRequests() async throws {
        try await withServer { method, path, body in
            MiniServer.Answer(body: ByteBuffer(string: "\(method) \(path) \(String(buffer: body))"))
        } _: { endpoint in
            let connection = try await HTTPConnection.open(to: endpoint)
            for number in 0..<3 {
                let response = try await connection.send(
                    .init(.post, "/x?\(number)", body: ByteBuffer(string: "b\(number)")))
                #expect(response.status == 200)
                #expect(response.text == "POST /x?\(number) b\(number)")
                #expect(response.header("x-test") == "yes")
            }
            #expect(connection.isOpen)
            await connection.close()
            let error = await #expect(throws: TransportError.self) { try await connection.send(.init(.get, "/")) }
            #expect(error?.kind == .closed)
        }
    }

    @Test func bodiesAboveTheLimitAreRefused() async throws {
        try await withServer { _, _, _ in
            MiniServer.Answer(body: ByteBuffer(repeating: 1, count: 1000))
        } _: { endpoint in
            let error = await #expect(throws: TransportError.self) {
                try await HTTPConnection.once(.init(.get, "/"), to: endpoint, bodyLimit: 999)
            }
            #expect(error?.kind == .tooLarge)
            let response = try await HTTPConnection.once(.init(.get, "/"), to: endpoint, bodyLimit: 1000)
            #expect(response.body.readableBytes == 1000)
        }
    }

    @Test func aStreamedBodyComesInPiecesAndTheConnectionIsUsedAgain() async throws {
        try await withServer { _, _, _ in
            MiniServer.Answer(body: ByteBuffer(repeating: 7, count: 65_536), repeats: 256)
        } _: { endpoint in
            let connection = try await HTTPConnection.open(to: endpoint)
            for _ in 0..<2 {
                let response = try await connection.stream(.init(.get, "/big"))
                #expect(response.header("content-length") == "16777216")
                var count = 0
                for try await piece in response.body { count += piece.readableBytes }
                #expect(count == 16 << 20)
            }
            await connection.close()
        }
    }

    @Test func aBodyThatBreaksOffIsAnError() async throws {
        try await withServer { _, _, _ in
            MiniServer.Answer(body: ByteBuffer(repeating: 7, count: 100), breaksOff: true)
        } _: { endpoint in
            let response = try await HTTPConnection.open(to: endpoint).stream(.init(.get, "/"))
            await #expect(throws: (any Error).self) { for try await _ in response.body {} }
        }
    }

    @Test func silenceAndRefusalAreToldApart() async throws {
        try await withServer { _, _, _ in
            MiniServer.Answer(isSilent: true)
        } _: { endpoint in
            let error = await #expect(throws: TransportError.self) {
                try await HTTPConnection.once(
                    .init(.get, "/"), to: endpoint, limits: TransportLimits(idleTimeout: .milliseconds(200)))
            }
            #expect(error?.kind == .idleTimeout)
            let plain = await #expect(throws: TransportError.self) {
                let authority = try CertificateAuthority.makeRoot(name: "x")
                let security = try TransportSecurity.tls(trustRootsPEM: authority.certificatePEM)
                _ = try await HTTPConnection.once(
                    .init(.get, "/"), to: endpoint, security: security,
                    limits: TransportLimits(connectTimeout: .milliseconds(500)))
            }
            #expect([.tls, .closed, .connectTimeout].contains(plain?.kind))
        }
        let free = try await MiniServer.start { _, _, _ in MiniServer.Answer() }
        try await free.stop()
        let error = await #expect(throws: TransportError.self) {
            try await HTTPConnection.once(.init(.get, "/"), to: free.endpoint)
        }
        #expect(error?.kind == .refused)
    }

    @Test func theServersNameIsVerified() async throws {
        let site = try TestSite()
        let security = try TransportSecurity.tls(trustRootsPEM: site.authority.certificatePEM)
        let answer: @Sendable (String, String, ByteBuffer) -> MiniServer.Answer = { _, _, _ in MiniServer.Answer() }
        try await withServer(certificate: site.server, answer) { endpoint in
            #expect(try await HTTPConnection.once(.init(.get, "/"), to: endpoint, security: security).status == 200)
            let foreign = try TransportSecurity.tls(
                trustRootsPEM: CertificateAuthority.makeRoot(name: "foreign").certificatePEM)
            let error = await #expect(throws: TransportError.self) {
                try await HTTPConnection.once(.init(.get, "/"), to: endpoint, security: foreign)
            }
            #expect(error?.kind == .notTrusted)
        }
        let other = try site.authority.issueServer(dnsNames: ["conductor.test"], addresses: [])
        try await withServer(certificate: other, answer) { endpoint in
            let error = await #expect(throws: TransportError.self) {
                try await HTTPConnection.once(.init(.get, "/"), to: endpoint, security: security)
            }
            #expect(error?.kind == .notTrusted)
        }
    }

    @Test func cancellingEndsARequest() async throws {
        try await withServer { _, _, _ in
            MiniServer.Answer(isSilent: true)
        } _: { endpoint in
            let connection = try await HTTPConnection.open(to: endpoint)
            let error = await withTaskGroup(of: TransportError?.self) { group in
                group.addTask {
                    do throws(TransportError) {
                        _ = try await connection.send(.init(.get, "/"))
                        return nil
                    } catch {
                        return error
                    }
                }
                group.cancelAll()
                return await group.next() ?? nil
            }
            #expect(error?.kind == .cancelled)
        }
    }

    @Test(arguments: ["10.0.0.1:443", "[::1]:80", "conductor.lab:8443"])
    func endpointsAreRead(_ text: String) throws {
        #expect(try Endpoint(text).description == text)
    }

    @Test(arguments: ["", "host", "host:", "host:0", "host:70000", ":80", "ho st:80", "ho\nst:80"])
    func badEndpointsAreRefused(_ text: String) {
        #expect(throws: InvalidValue.self) { try Endpoint(text) }
    }
}
