import BMCDrivers
import BareMetal
import CatalogBareMetal
import FleetContract
import Logging
import Primitives
import Testing

@testable import ConductorServer

/// The BMC check through the driver and a real connection.
@Suite(.timeLimit(.minutes(1))) struct SiteCheckBMCTests {
    private func rows(port: Int, reply: @escaping @Sendable (StubRequest, Int) -> StubReply) async throws
        -> [SiteCheckReply.Row]
    {
        let opener = BMCOpener(
            limits: BMCLimits(
                connect: .seconds(2), request: .seconds(2), call: .seconds(4), attemptCountMax: 1),
            logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() })
        return try await StubBMC.with(reply: reply) { bmc in
            let spec = BMC.Spec(
                address: "http://127.0.0.1:\(port == 0 ? bmc.port : port)", system: "1", username: "admin",
                passwordSecret: "x")
            let site = SiteUnderCheck(
                site: Site.Spec(name: "lab", sshKeys: []), segments: [],
                bmcs: [CheckedBMC(name: "b1", spec: spec, password: SecretText("hunter2"))], roles: [], ports: [])
            let now = Timestamp(millisecondsSinceEpoch: 0)
            let around = CheckSurroundings(
                clock: SystemWallClock(), interfaces: { [:] }, foreignServers: { _, _ in [] }, holder: { _ in .nobody },
                ask: { _, _, _ in [] },
                addresses: { _ in [] }, hardwareClock: { nil },
                identify: { spec, password in try await opener.driver(of: spec, password: password).identify() },
                reach: { _ in .silent }, stateDirectory: "/", freeSpace: { _ in nil },
                images: { ImageFacts(hasRamdisk: false, roles: [], missing: []) }, authority: (now, now))
            return await SiteChecker(checks: [BMCCheck()]).findings(site, around)
        }
    }

    @Test func aGoodPasswordIsTaken() async throws {
        let rows = try await rows(port: 0, reply: proper)
        #expect(rows.map(\.outcome) == [.ok])
        #expect(rows[0].found.contains("serial SN1"))
    }

    @Test func aWrongPasswordSaysWhichToCorrect() async throws {
        let rows = try await rows(port: 0) { _, _ in .answer(401, "{}") }
        #expect(rows.map(\.outcome) == [.failed])
        #expect(rows[0].found.hasPrefix("The BMC refuses the user or the password."))
        #expect(rows[0].change == "correct 'username' or the password of 'b1', and apply the site")
    }

    @Test func aBMCThatIsNotThereIsTold() async throws {
        let rows = try await rows(port: 1, reply: proper)
        #expect(rows.map(\.outcome) == [.failed])
        #expect(rows[0].change?.hasPrefix("check 'address' of 'b1'") == true)
    }
}
