import HTTPTypes
import Hummingbird
import Identity
import NIOCore
import Primitives
import TestSupport
import Testing

@testable import IdentityAPI

/// Logins that take up all places keep nobody out but those who make them.
@Suite struct LoginPlacesTests {
    private static func login(_ name: String) -> JSONValue {
        let user: JSONValue = ["name": .string(name), "domain": ["id": "default"], "password": "wrong"]
        return ["auth": ["identity": ["methods": ["password"], "password": ["user": user]]]]
    }

    private static func send(_ cloud: CloudScene, _ name: String, from address: String) async throws
        -> CloudScene.Answer
    {
        try await cloud.send(
            .post, "/v3/auth/tokens", RequestBody(buffer: ByteBuffer(bytes: login(name).text)),
            [.contentType: "application/json"], from: address)
    }

    /// A cloud with two places for an address and one for a name, where somebody at 192.0.2.1 is logging in as `ann`.
    private static func withBusyPlaces(
        _ body: @escaping @Sendable (CloudScene, LoginPlaces) async throws -> Void
    ) async throws {
        try await withCloud { cloud in
            let places = LoginPlaces(perAddress: 2, perName: 1)
            var backend = cloud.backend
            backend.logins = places
            try await body(cloud.with(backend), places)
        }
    }

    @Test func `an address and a name have so many logins at once, and others are not held up`() async throws {
        try await Self.withBusyPlaces { cloud, places in
            let proofs: [AuthenticationRequest.Proof] = [
                .password(.name("ann", domain: .id("default")), SecretText("x"))
            ]
            let ann = try places.take(for: proofs, from: "192.0.2.1")
            let named = try await Self.send(cloud, "ann", from: "192.0.2.9")
            #expect(named.status == 429, "a second login as ann")
            #expect(named.headers[.retryAfter] == "1")
            #expect(named["error/title"] == "Too Many Requests")
            #expect(try await Self.send(cloud, "bob", from: "192.0.2.1").status == 401, "there is a place left")
            let bob = try places.take(for: [.password(.id("bob"), SecretText("x"))], from: "192.0.2.1")
            #expect(try await Self.send(cloud, "eve", from: "192.0.2.1").status == 429, "a third login of one address")
            #expect(try await Self.send(cloud, "eve", from: "192.0.2.2").status == 401, "another address")
            withExtendedLifetime((ann, bob)) {}
        }
    }

    @Test func `places come back when logins end, however they do`() async throws {
        try await Self.withBusyPlaces { cloud, _ in
            for _ in 0..<5 {
                let answer = try await Self.send(cloud, "ann", from: "192.0.2.1")
                #expect(answer.status == 401)
            }
        }
    }

    @Test func `tokens and passcodes take no place`() throws {
        let places = LoginPlaces(perAddress: 0, perName: 0)
        _ = try places.take(for: [.token("x"), .passcode(.id("a"), SecretText("1"))], from: "192.0.2.1")
        #expect(throws: (any Error).self) {
            try places.take(for: [.applicationCredential(.id("a"), SecretText("x"))], from: "192.0.2.1")
        }
    }
}
