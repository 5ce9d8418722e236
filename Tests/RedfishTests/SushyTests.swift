import BMCDrivers
import BareMetal
import CatalogBareMetal
import Foundation
import Logging
import Primitives
import Subprocess
import SystemPackage
import Testing

/// The real sushy-emulator with its fake machines.
enum Sushy {
    static let machine = "27946b59-9e44-4fa7-8e91-f3527a1ef094"

    /// `MUSTER_SUSHY_VENV`, else `.cache/sushy-venv`; nil when neither has the emulator.
    static let program: String? = {
        let venv = ProcessInfo.processInfo.environment["MUSTER_SUSHY_VENV"] ?? ".cache/sushy-venv"
        let path = venv + "/bin/sushy-emulator"
        return FileManager.default.isExecutableFile(atPath: path) ? path : nil
    }()

    /// Runs the emulator for the time of `body`, which gets its port.
    static func with(_ program: String, _ body: @Sendable (Int) async throws -> Void) async throws {
        let directory = FileManager.default.temporaryDirectory.appendingPathComponent("sushy-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: directory, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: directory) }
        let port = try await StubBMC.with(reply: proper) { $0.port }
        let settings = """
            SUSHY_EMULATOR_LISTEN_IP = '127.0.0.1'
            SUSHY_EMULATOR_LISTEN_PORT = \(port)
            SUSHY_EMULATOR_FAKE_DRIVER = True
            SUSHY_EMULATOR_STATE_DIR = '\(directory.path)'
            SUSHY_EMULATOR_AUTH_FILE = '\(directory.path)/htpasswd'
            """
        try settings.write(toFile: directory.path + "/sushy.conf", atomically: true, encoding: .utf8)
        // bcrypt of 'hunter2'
        let user = "admin:$2b$04$Ygcz6yMsRr6YC6tpB3GCUORXwmfSkfg5Lgy1tUvrxQGh0gYSLi7EG"
        try user.write(toFile: directory.path + "/htpasswd", atomically: true, encoding: .utf8)
        _ = try await run(
            .path(FilePath(program)), arguments: ["--config", directory.path + "/sushy.conf"], input: .none,
            output: .discarded, error: .discarded
        ) { execution in
            let outcome: Swift.Result<Void, any Error>
            do { outcome = .success(try await body(port)) } catch { outcome = .failure(error) }
            await execution.teardown(using: [.gracefulShutDown(allowedDurationToNextStep: .seconds(2))])
            try outcome.get()
        }
    }
}

@Suite(.timeLimit(.minutes(3)), .enabled(if: Sushy.program != nil, "sushy-tools is not installed"))
struct SushyTests {
    @Test func machineIsReadSwitchedAndBooted() async throws {
        try await Sushy.with(#require(Sushy.program)) { port in
            let only = redfish(port: port, system: nil)
            try await ready(only)
            let found = try await only.identify()
            #expect(found.system == Sushy.machine)
            #expect(found.uuid == Sushy.machine)
            #expect(try await only.powerState() == .off)

            let sessions = redfish(port: port, system: Sushy.machine, logins: LoginSessions())
            #expect(try await sessions.powerState() == .off, "it has no sessions and takes the password")
            for sensor in try await sessions.sensors() { #expect(!sensor.name.isEmpty) }

            let named = redfish(port: port, system: Sushy.machine)
            try await named.setBoot(.network, once: true, firmware: nil)
            try await named.setBoot(.disk, once: false, firmware: nil)
            try await named.setPower(.forceOff)
            try await named.setPower(.on)
            try await named.waitForPower(.on, within: .seconds(60), every: .milliseconds(200))
            let power = try await redfish(port: port, system: "fake").powerState()
            #expect(power == .on, "by name, over a redirect")

            await #expect(throws: BMCError.notFound(system: "nope", available: [Sushy.machine])) {
                try await redfish(port: port, system: "nope").powerState()
            }
            let wrong = RedfishDriver(
                address: try BMCAddress(scheme: .http, host: "127.0.0.1", port: port, system: nil, user: "admin"),
                password: SecretText("wrong"), logger: Logger(label: "test"))
            await #expect(throws: BMCError.badCredentials) { try await wrong.powerState() }
        }
    }

    @Test func aServiceWithoutAccountsKeepsItsPassword() async throws {
        try await Sushy.with(#require(Sushy.program)) { port in
            let driver = redfish(port: port, system: Sushy.machine, logins: LoginSessions())
            try await ready(driver)
            try await driver.proveLogin()
            await #expect(throws: BMCError.noPasswordControl) { try await driver.passwordRule() }
            await #expect(throws: BMCError.noPasswordControl) {
                try await driver.setPassword(SecretText("Another-Pass.word1"))
            }
            let wrong = RedfishDriver(
                address: try BMCAddress(scheme: .http, host: "127.0.0.1", port: port, system: nil, user: "admin"),
                password: SecretText("wrong"), logins: LoginSessions(), logger: Logger(label: "test"))
            await #expect(throws: BMCError.badCredentials) { try await wrong.proveLogin() }
        }
    }

    /// Waits until the emulator listens.
    private func ready(_ driver: RedfishDriver) async throws {
        for _ in 0..<300 {
            do throws(BMCError) {
                _ = try await driver.powerState()
                return
            } catch {
                guard error.isTransient else { throw error }
                try await Task.sleep(for: .milliseconds(100))
            }
        }
        Issue.record("the emulator did not start")
    }
}
