import CatalogBareMetal
import CatalogIdentity
import ClientSDK
import FleetContract
import Identity
import Logging
import Primitives
import ResourceModel
import Synchronization
import TestSupport
import Testing

@testable import BareMetal
@testable import ConductorServer

/// Passwords of BMCs and tokens of operators, changed on request.
@Suite struct FleetAPICredentialTests {
    private static func site(_ passwords: [String: String?]) -> SiteDocument {
        SiteDocument(
            site: Site.Spec(name: "lab", sshKeys: []),
            bmcs: passwords.sorted { $0.key < $1.key }.map { name, password in
                SiteDocument.BMCEntry(
                    name: name, address: "https://\(name).example", username: "muster",
                    password: password.map { Password($0) })
            })
    }

    private static func password(_ slot: PasswordSlot, _ name: String, _ fleet: FleetFixture) async throws -> String? {
        try await VaultPasswords(vault: fleet.vault, store: fleet.store).password(slot, of: name)?.revealed
    }

    /// Carries out what is ordered, at a BMC that takes `taken` and does what it is told.
    private static func settle(_ name: String, _ fleet: FleetFixture, taken: PlainBMC.Taken) async throws -> BMC {
        var logger = Logger(label: "test")
        logger.logLevel = .critical
        let rotator = PasswordRotator(
            store: fleet.store, book: VaultPasswords(vault: fleet.vault, store: fleet.store), bmcs: { [] },
            driver: { PlainBMC(taken: taken, password: $1.revealed) }, record: { _, _ in [] }, turns: BMCTurns(),
            clock: fleet.clock, logger: logger)
        let controller = BMCController(
            store: fleet.store, bmcs: { [] }, nodes: { _ in [] }, passwordVersion: { _ in nil },
            driver: { _ in
                let password = try await fleet.vault.open(PasswordSlot.current.secretName(of: name))
                return PlainBMC(taken: taken, password: password.revealed)
            }, powerRead: { _, _ in }, passwords: rotator, clock: fleet.clock, logger: logger)
        _ = await controller.ask(try #require(try await fleet.store.fetch(BMC.self, name)).value, identifies: true)
        return try #require(try await fleet.store.fetch(BMC.self, name)).value
    }

    @Test func anOrderIsWrittenOnceWithWhoAsked() async throws {
        try await withFleet { fleet in
            try await fleet.with { (client: FleetClient) async throws in
                _ = try await client.applySite(Self.site(["b1": "geheim"]))
                let record = try await client.rotateBMCPassword("b1")
                #expect(record.passwordOrder?.number == 1 && record.isPasswordChanging)
                #expect(record.passwordOrder?.by == "operator:test-admin")
                let again = try await client.rotateBMCPassword("b1")
                #expect(again.passwordOrder == record.passwordOrder, "twice is once")
                // The same file takes nothing back, before and after.
                #expect(try await client.applySite(Self.site(["b1": "geheim"])).changes.isEmpty)
            }
            let events = try await fleet.audit.events().events.filter { $0.spec.verb == "rotate" }
            #expect(events.map(\.spec.summary) == ["password order 1", "password order 1, as before"])
            #expect(events.allSatisfy { $0.spec.resource == BMC.key("b1") })
        }
    }

    @Test func twoThatShareAUserAreRefused() async throws {
        try await withFleet { fleet in
            try await fleet.with { (client: FleetClient) async throws in
                var site = Self.site(["b1": "geheim", "b2": "geheim"])
                site.bmcs[1].address = site.bmcs[0].address
                (site.bmcs[0].system, site.bmcs[1].system) = ("1", "2")
                _ = try await client.applySite(site)
                let refused = await #expect(throws: ClientError.self) { try await client.rotateBMCPassword("b1") }
                #expect(refused?.publicMessage.contains("'b1' and 'b2' are reached as the same user") == true)
            }
        }
    }

    @Test func theSameSiteFileUndoesNoRotationAndAChangedOneWins() async throws {
        let taken = PlainBMC.Taken("geheim")
        try await withFleet { fleet in
            try await fleet.with { (client: FleetClient) async throws in
                _ = try await client.applySite(Self.site(["b1": "geheim"]))
                _ = try await client.rotateBMCPassword("b1")
                let rotated = try await Self.settle("b1", fleet, taken: taken)
                #expect(rotated.status.password?.source == .conductor && rotated.status.isReachable)
                let made = taken.password
                #expect(made.utf8.count == 20)
                #expect(try await Self.password(.current, "b1", fleet) == made)
                #expect(try await Self.password(.given, "b1", fleet) == "geheim")

                // The same file: nothing changes. A file without a password, neither.
                for password in ["geheim", nil] {
                    #expect(try await client.applySite(Self.site(["b1": password])).changes.isEmpty)
                }
                #expect(try await Self.password(.current, "b1", fleet) == made)

                // A changed one is tried, and given to the BMC which does not have it.
                let plan = try await client.applySite(Self.site(["b1": "Neues-Wort1"]))
                #expect(plan.changes.map { "\($0.action.rawValue) \($0.kind)" } == ["update password", "update bmc"])
                #expect(try await Self.password(.current, "b1", fleet) == made, "it is proved first")
                let own = try await Self.settle("b1", fleet, taken: taken)
                #expect(own.status.password?.source == .site && own.status.password?.failure == nil)
                #expect(taken.password == "Neues-Wort1")
                #expect(try await Self.password(.current, "b1", fleet) == "Neues-Wort1")
                #expect(try await Self.password(.given, "b1", fleet) == nil)
                // From here on it is as before any rotation: the file's word counts at once.
                let plain = try await client.applySite(Self.site(["b1": "drei"]))
                #expect(plain.changes.map(\.kind) == ["password"])
                #expect(try await Self.password(.current, "b1", fleet) == "drei")
            }
            for path in ["bmcs", "audit"] {
                let answer = try await fleet.raw("GET", "/fleet/v1/\(path)", token: fleet.tokens[.admin])
                #expect(!answer.body.contains("Neues-Wort1") && !answer.body.contains("geheim"))
            }
        }
    }

    @Test func aTypingErrorInTheSiteFileLosesNoPassword() async throws {
        let taken = PlainBMC.Taken("geheim")
        try await withFleet { fleet in
            try await fleet.with { (client: FleetClient) async throws in
                _ = try await client.applySite(Self.site(["b1": "geheim"]))
                _ = try await client.rotateBMCPassword("b1")
                _ = try await Self.settle("b1", fleet, taken: taken)
                let made = taken.password
                // The BMC would take no such password, and keeps its own.
                _ = try await client.applySite(Self.site(["b1": "mit Leerzeichen"]))
                let kept = try await Self.settle("b1", fleet, taken: taken)
                #expect(kept.status.password?.failure?.contains("printable ASCII") == true)
                #expect(kept.status.password?.source == .conductor && kept.status.isReachable)
                #expect(taken.password == made)
                #expect(try await Self.password(.current, "b1", fleet) == made)
            }
        }
    }

    @Test func aBMCThatLeavesTheSiteAndComesBackIsFoundWithItsPassword() async throws {
        let taken = PlainBMC.Taken("geheim")
        try await withFleet { fleet in
            try await fleet.with { (client: FleetClient) async throws in
                _ = try await client.applySite(Self.site(["b1": "geheim", "b2": "zwei"]))
                _ = try await client.rotateBMCPassword("b1")
                _ = try await Self.settle("b1", fleet, taken: taken)
                let made = taken.password
                let gone = try await client.applySite(Self.site([:]))
                let deleted = gone.changes.filter { $0.kind == "password" }.map(\.name)
                #expect(deleted == ["b2"], "nobody else knows that of b1")
                _ = try await client.applySite(Self.site(["b1": "geheim"]))
                let back = try await Self.settle("b1", fleet, taken: taken)
                #expect(back.openPasswordOrder == nil && back.status.isReachable)
                #expect(taken.password == "geheim" && made != "geheim", "what enters the site has the file's password")
                #expect(try await Self.password(.current, "b1", fleet) == "geheim")
                #expect(try await Self.password(.given, "b1", fleet) == nil)
            }
        }
    }

    @Test func tokensAreMadeReplacedAndRevokedAndEachIsShownOnce() async throws {
        try await withFleet { fleet in
            let seen = Mutex<[String]>([])
            try await fleet.with { (client: FleetClient) async throws in
                let made = try await client.createToken("ann", CreateTokenRequest(role: .reader))
                #expect(fleet.operators.verify(made.token) == KnownOperator(name: "ann", role: .reader))
                let next = try await client.rotateToken("ann", RotateTokenRequest(graceSeconds: 60))
                #expect(next.previousEnds == fleet.clock.now.advanced(by: .seconds(60)))
                #expect(fleet.operators.verify(made.token) != nil && fleet.operators.verify(next.token) != nil)
                let last = try await client.rotateToken("ann", RotateTokenRequest())
                #expect(last.previousEnds == nil && fleet.operators.verify(next.token) == nil)
                let record = try #require(try await client.tokens().first { $0.name == "ann" })
                #expect(record.role == .reader && record.rotated == fleet.clock.now && record.revoked == nil)
                _ = try await client.revokeToken("ann")
                #expect(fleet.operators.verify(last.token) == nil)
                // One's own: the next call needs the new one.
                let own = try await client.rotateToken("test-admin", RotateTokenRequest())
                #expect(fleet.operators.verify(own.token) == KnownOperator(name: "test-admin", role: .admin))
                seen.withLock { $0 = [made.token, next.token, last.token, own.token] }
                let refused = await #expect(throws: ClientError.self) { try await client.tokens() }
                #expect(refused?.exitCode == 4)
            }
            let events = try await fleet.audit.events().events
            #expect(events.filter { $0.spec.verb == "rotate" }.count == 4)
            for event in events {
                #expect(event.spec.resource.kind == OperatorToken.kind)
                for token in seen.withLock({ $0 }) { #expect(event.spec.summary?.contains(token) != true) }
            }
        }
    }
}

/// A BMC that does what it is told by who knows its password.
struct PlainBMC: BMCDriver {
    final class Taken: Sendable {
        private let state: Mutex<String>
        init(_ password: String) { state = Mutex(password) }
        var password: String { state.withLock { $0 } }
        func set(_ password: String) { state.withLock { $0 = password } }
    }

    let taken: Taken
    let password: String

    private func check() throws(BMCError) {
        guard taken.password == password else { throw .badCredentials }
    }

    func powerState() async throws(BMCError) -> PowerState {
        try check()
        return .on
    }
    func setPower(_ action: PowerAction) async throws(BMCError) { try check() }
    func setBoot(_ target: BootTarget, once: Bool, firmware: MachineFirmware?) async throws(BMCError) { try check() }
    func identify() async throws(BMCError) -> BMCIdentification {
        try check()
        return BMCIdentification(system: "1")
    }
    func sensors() async throws(BMCError) -> [SensorReading] { [] }
    func passwordRule() async throws(BMCError) -> PasswordRule {
        try check()
        return PasswordRule()
    }
    func setPassword(_ new: SecretText) async throws(BMCError) {
        try check()
        taken.set(new.revealed)
    }
    func proveLogin() async throws(BMCError) { try check() }
}
