import AgentPort
import AgentProtocol
import CatalogIdentity
import Identity
import NodeTransport
import Primitives
import ReconcileRuntime
import ResourceModel
import TestSupport
import Testing
import WebSocketMessages

@testable import ConductorServer
@testable import NodeAgent

/// Revocation and rotation over real TLS, with the real agents' port, hub and agents.
@Suite("Trust", .timeLimit(.minutes(3)))
struct TrustTests {
    /// Tries until it holds; fails after 30 s.
    private func eventually(_ what: String, _ holds: () async throws -> Bool) async throws {
        for _ in 0..<600 {
            if try await holds() { return }
            try await Task.sleep(for: .milliseconds(50))
        }
        Issue.record("in vain: \(what)")
    }

    /// Why a stream with these credentials cannot be opened; nil: it can.
    private func refusal(_ credentials: NodeCredentials, trusting pem: String, _ scene: TrustScene) async throws
        -> String?
    {
        let security = try TransportSecurity.tls(trustRootsPEM: pem, identity: credentials.identity)
        do {
            let connection = try await AgentConnection.open(
                to: Endpoint(scene.endpoint), path: AgentStream.path, security: security, limits: WebSocketLimits())
            connection.abort(.lost("the test is over"))
            return nil
        } catch {
            return "\(error)"
        }
    }

    @Test func `a revoked certificate is out within a second, and another of the node is in`() async throws {
        try await TrustScene.run { scene in
            let (node, other) = (try await scene.addNode(1), try await scene.addNode(2))
            let credentials = try #require(node.files.credentials())
            try await node.runAgent {
                try await other.runAgent {
                    try await eventually("both are connected") { scene.port.connectedNodes == [node.id, other.id] }
                    let begun = ContinuousClock.now
                    try await scene.register.revokeAll(of: node.id, by: "operator:admin", reason: "stolen")
                    try await eventually("the stream ends") { scene.port.connectedNodes == [other.id] }
                    #expect(ContinuousClock.now - begun < .seconds(1))
                    let why = try await refusal(credentials, trusting: scene.authorities.now.bundlePEM, scene)
                    #expect(why?.contains("no longer accepted") == true, "\(why ?? "it is let in")")
                    #expect(scene.port.connectedNodes == [other.id])
                }
            }
            // The way back: what a new deployment puts on its disk.
            let key = NodeKey()
            let authority = scene.authorities.now.issuing
            try await scene.register.beginDeployment(
                of: node.id, trusting: [authority.fingerprint], until: SystemWallClock().now.advanced(by: .seconds(60)))
            let issued = try authority.issueNode(node.id, signingRequestPEM: key.signingRequest(for: node.id))
            try await scene.register.note(issued, of: authority.fingerprint, for: node.id)
            try node.files.store(NodeCredentials(key: key, chainPEM: issued.certificatePEM))
            try await node.runAgent {
                try await eventually("it is back") { scene.port.connectedNodes.contains(node.id) }
            }
        }
    }

    @Test func `a stream that opens while its certificate is revoked does not stay`() async throws {
        try await TrustScene.run { scene in
            for number in 1...8 {
                let node = try await scene.addNode(UInt8(number))
                try await node.runAgent {
                    // The revocation meets the connection wherever it is just then.
                    try await Task.sleep(for: .milliseconds(5 * number))
                    try await scene.register.revokeAll(of: node.id, by: "operator:admin", reason: "stolen")
                    try await eventually("it is out") { !scene.port.connectedNodes.contains(node.id) }
                    try await Task.sleep(for: .milliseconds(100))
                    #expect(!scene.port.connectedNodes.contains(node.id), "node \(number)")
                }
            }
        }
    }

    @Test func `the authority is replaced under agents that go on running`() async throws {
        try await TrustScene.run { scene in
            let node = try await scene.addNode(1)
            let (old, oldPEM) = (scene.authorities.now.issuing, scene.authorities.now.bundlePEM)
            let before = try #require(node.files.credentials())
            try await node.runAgent {
                try await eventually("it is connected") { scene.port.connectedNodes == [node.id] }
                try await scene.order()
                #expect(try await scene.rotation.step())
                guard case .introducing = try await scene.state else {
                    Issue.record("the newer authority is not introduced")
                    return
                }
                let new = scene.authorities.now.issuing
                #expect(new.fingerprint != old.fingerprint)
                // Who trusts only one of both believes the same port.
                #expect(try await refusal(before, trusting: oldPEM, scene) == nil)
                #expect(try await refusal(before, trusting: new.certificatePEM, scene) == nil)
                try await eventually("the agent trusts both") {
                    let trusted = try await scene.certificates(of: node.id)?.status.trusted
                    return try node.files.authority().hasPrefix(new.certificatePEM.dropLast())
                        && trusted == [new.fingerprint, old.fingerprint]
                }
                try await scene.catalog.cache.barrier()
                #expect(try await scene.rotation.step(), "all trust it")
                guard case .replacing = try await scene.state else {
                    Issue.record("the servers do not show the newer authority's certificate")
                    return
                }
                #expect(try await refusal(before, trusting: new.certificatePEM, scene) == nil)
                #expect(try await refusal(before, trusting: oldPEM, scene)?.isEmpty == false)
                #expect(try await !scene.rotation.step(), "the agent's certificate is the older one's")
                try await scene.order { $0.isHastened = true }
                try await eventually("the agent has renewed") {
                    try await scene.certificates(of: node.id)?.held?.authority == new.fingerprint
                }
                try await scene.catalog.cache.barrier()
                #expect(try await scene.rotation.step())
                #expect(try await scene.state == .steady(scene.authorities.now.state.newest))
                #expect(try await refusal(before, trusting: new.certificatePEM, scene)?.isEmpty == false)
                try await eventually("the agent is back with its new certificate") {
                    let held = try await scene.certificates(of: node.id)?.held?.serial
                    return held != nil && scene.port.session(of: node.id)?.certificate.serial == held
                }
                try await eventually("the agent trusts the newer one only") {
                    try node.files.authority() + "\n" == new.certificatePEM
                }
                #expect(try await !scene.rotation.step())
            }
            await #expect(throws: VaultError.unknown("site-ca-key")) { try await scene.vault.open("site-ca-key") }
        }
    }

    @Test func `a conductor that ends between any two steps goes on`() async throws {
        try await TrustScene.run { scene in
            try await scene.order()
            let keys = scene.rotation.keys
            // It ended after the keys were made and before the status was written: no other keys are made.
            let made = try await keys.authority(2)
            #expect(try await scene.rotation.step())
            #expect(scene.authorities.now.issuing.fingerprint == made.fingerprint)
            for _ in 0..<2 {
                let opened = try await AuthorityController.open(store: scene.store, keys: keys)
                #expect(opened.state == scene.authorities.now.state)
                #expect(opened.serving.fingerprint == scene.authorities.now.serving.fingerprint)
                #expect(try await scene.rotation.step())
            }
            #expect(try await !scene.rotation.step())
            // It ended after the older one was dropped and before its key was deleted.
            try await scene.vault.seal("site-ca-key", purpose: "left behind", SecretText("x"))
            let opened = try await AuthorityController.open(store: scene.store, keys: keys)
            #expect(opened.issuing.fingerprint == made.fingerprint)
            await #expect(throws: VaultError.unknown("site-ca-key")) { try await scene.vault.open("site-ca-key") }
        }
    }

    @Test func `an agent that was off all the while is waited for until its certificate ends`() async throws {
        try await TrustScene.run { scene in
            let week = CertificateAuthority.nodeLifetime
            let ended = try await scene.addNode(1, certificateAge: week + .seconds(60))
            try await scene.order()
            #expect(try await scene.rotation.step())
            while try await scene.rotation.step() {}
            guard case .steady(let only) = try await scene.state, only.number == 2 else {
                Issue.record("a certificate that has ended is waited for")
                return
            }
            // It says itself what it needs, as it would without a rotation.
            try await ended.runAgent { try await Task.sleep(for: .milliseconds(300)) }
            #expect(!scene.port.connectedNodes.contains(ended.id))

            let off = try await scene.addNode(2, certificateAge: .seconds(6 * 86_400))
            try await scene.order { $0 = SiteAuthority.Rotation(number: 3, by: "test", at: $0.at) }
            #expect(try await scene.rotation.step())
            #expect(try await !scene.rotation.step(), "six days old is good for another")
            try await scene.order { $0.forced = [.serve] }
            #expect(try await scene.rotation.step())
            #expect(try await !scene.rotation.step())
            let credentials = try #require(off.files.credentials())
            let why = try await refusal(credentials, trusting: off.files.authority(), scene)
            #expect(why?.isEmpty == false, "the servers show what it does not trust")
            try await scene.order { $0.forced = [.serve, .drop] }
            #expect(try await scene.rotation.step())
            try await off.runAgent { try await Task.sleep(for: .milliseconds(300)) }
            #expect(!scene.port.connectedNodes.contains(off.id))
        }
    }

    @Test func `an agent that comes back after six days renews, and after eight says what it needs`() async throws {
        try await TrustScene.run { scene in
            let late = try await scene.addNode(1, certificateAge: .seconds(6 * 86_400))
            try await late.runAgent {
                try await eventually("it has renewed") {
                    guard let held = late.files.credentials()?.validity.serial, held != late.serial else {
                        return false
                    }
                    return try await scene.certificates(of: late.id)?.held?.serial == held
                }
            }
            let gone = try await scene.addNode(2, certificateAge: .seconds(8 * 86_400))
            let credentials = try #require(gone.files.credentials())
            let why = try await refusal(credentials, trusting: scene.authorities.now.bundlePEM, scene)
            #expect(why?.isEmpty == false)
            try await gone.runAgent { try await Task.sleep(for: .milliseconds(300)) }
            #expect(gone.files.credentials()?.validity.serial == gone.serial)
        }
    }
}
