import BMCDrivers
import BareMetal
import CatalogBareMetal
import Foundation
import Glibc
import Logging
import Primitives
import Testing

@Suite(.timeLimit(.minutes(2)), .enabled(if: SimulatedBMC.isInstalled, "openipmi or ipmitool is not installed"))
struct IPMIDriverTests {
    @Test func `a machine is identified, switched and told what to boot`() async throws {
        try await SimulatedBMC.with { bmc in
            let driver = try bmc.driver()
            let found = try await driver.identify()
            #expect(found.uuid == SimulatedBMC.uuid)
            #expect(found.serial == "SN-0042" && found.manufacturer == "Acme" && found.model == "Rack One")
            #expect(found.firmwareVersion == "9.08")

            let sensors = try await driver.sensors()
            #expect(
                sensors == [
                    SensorReading(name: "Ambient", value: 42, unit: .celsius, isGood: true),
                    SensorReading(name: "Fan 1", value: 5500, unit: .rpm, isGood: true),
                ])

            #expect(try await driver.powerState() == .off)
            try await driver.setBoot(.network, once: true, firmware: .uefi)
            #expect(bmc.boot == "pxe")
            try await driver.setPower(.reset)
            #expect(try await driver.powerState() == .on, "a machine that is off is switched on")
            #expect(bmc.resetCount == 0)
            try await driver.setPower(.reset)
            #expect(bmc.resetCount >= 1)
            try await driver.setBoot(.disk, once: false, firmware: .bios)
            #expect(bmc.boot == "default", "the simulator's word for the disk")
            try await driver.setPower(.forceOff)
            #expect(bmc.power == "0")
            #expect(try await driver.powerState() == .off)
        }
    }

    @Test func `wrong users, passwords and ciphers are told apart from a dead BMC`() async throws {
        try await SimulatedBMC.with { bmc in
            await #expect(throws: BMCError.badCredentials) {
                try await bmc.driver(password: "wrong").powerState()
            }
            await #expect(throws: BMCError.badCredentials) { try await bmc.driver(user: "nobody").powerState() }
            let error = await #expect(throws: BMCError.self) { try await bmc.driver(cipherSuite: 17).powerState() }
            #expect(error == .cipherRefused(suite: 17))
            #expect(error?.publicMessage.contains("cipherSuite") == true)
        }
    }

    @Test func `a dead address is unreachable and not off`() async throws {
        let driver = try IPMIDriver(
            address: BMCAddress("ipmi://127.0.0.1:\(try freeUDPPort())", user: "admin"),
            password: SecretText("hunter2"), limits: BMCLimits(attemptCountMax: 1), logger: Logger(label: "test"))
        let error = await #expect(throws: BMCError.self) { try await driver.powerState() }
        guard case .unreachable = error else { return #expect(Bool(false), "\(error!)") }
        #expect(error?.isTransient == true)
    }

    @Test func `what IPMI cannot have is refused before anything is sent`() throws {
        let logger = Logger(label: "test")
        let address = try BMCAddress("ipmi://bmc.example:6230", user: "admin")
        #expect(address.description == "ipmi://bmc.example:6230")
        #expect(try BMCAddress("ipmi://[fd00::1]", user: "admin").port == 623)
        let long = String(repeating: "p", count: 21)
        let error = #expect(throws: InvalidValue.self) {
            try IPMIDriver(address: address, password: SecretText(long), logger: logger)
        }
        #expect(error?.publicMessage.contains("ppp") == false)
        #expect(throws: InvalidValue.self) {
            try IPMIDriver(address: address, password: SecretText("p"), cipherSuite: 0, logger: logger)
        }
        let user = try BMCAddress("ipmi://bmc.example", user: String(repeating: "u", count: 17))
        #expect(throws: InvalidValue.self) { try IPMIDriver(address: user, password: SecretText("p"), logger: logger) }
    }

    @Test func `the address chooses the driver`() throws {
        let opener = BMCOpener(logger: Logger(label: "test"))
        func driver(_ address: String) throws -> any BMCDriver {
            try opener.driver(
                of: BMC.Spec(address: address, system: nil, username: "admin", passwordSecret: "bmc.x"),
                password: SecretText("p"))
        }
        #expect(try driver("ipmi://10.0.0.5") is IPMIDriver)
        #expect(try driver("https://10.0.0.5") is RedfishDriver)
        #expect(throws: InvalidValue.self) { try driver("telnet://10.0.0.5") }
    }
}

/// The tool is a script here that does what the test wants.
@Suite(.timeLimit(.minutes(1))) struct IPMIToolTests {
    private func with(
        script: String, limits: BMCLimits = BMCLimits(), _ body: (IPMIDriver, String) async throws -> Void
    ) async throws {
        let directory = FileManager.default.temporaryDirectory.appendingPathComponent("tool-\(UUID().uuidString)").path
        try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(atPath: directory) }
        let program = directory + "/tool"
        try "#!/bin/sh\ncd \(directory)\n\(script)\n".write(toFile: program, atomically: false, encoding: .utf8)
        #expect(chmod(program, 0o700) == 0)
        let driver = try IPMIDriver(
            address: BMCAddress("ipmi://bmc.example", user: "admin"), password: SecretText("hunter2"), limits: limits,
            program: program, logger: Logger(label: "test"))
        try await body(driver, directory)
    }

    private func text(_ path: String) -> String {
        String(decoding: FileManager.default.contents(atPath: path) ?? Data(), as: UTF8.self)
    }

    @Test func `the password is in the environment and in no argument`() async throws {
        try await with(script: #"echo "$*" > arguments; env > environment; echo "Chassis Power is on""#) {
            driver, directory in
            let power = try await driver.powerState()
            #expect(power == .on)
            let arguments = text(directory + "/arguments")
            #expect(arguments.contains("-I lanplus -H bmc.example -p 623 -U admin -E -C 3 -L OPERATOR"))
            #expect(!arguments.contains("hunter2"))
            let variables = text(directory + "/environment").split(separator: "\n").map(String.init)
            #expect(variables.contains("IPMI_PASSWORD=hunter2"))
            #expect(!variables.contains { $0.hasPrefix("HOME=") }, "nothing of the conductor's own environment")
        }
    }

    @Test func `a tool that hangs is killed with all that it has started`() async throws {
        let script = "sleep 600 &\necho $! > child\necho $$ > self\nwait"
        try await with(script: script, limits: BMCLimits(request: .seconds(1))) { driver, directory in
            let error = await #expect(throws: BMCError.self) { try await driver.powerState() }
            guard case .timeout = error else { return #expect(Bool(false), "\(error!)") }
            for name in ["self", "child"] {
                let pid = try #require(Int32(text("\(directory)/\(name)").trimmingCharacters(in: .newlines)))
                // An orphan is a zombie until whoever adopts it has waited for it.
                for _ in 0..<500 where isRunning(pid) { try await Task.sleep(for: .milliseconds(10)) }
                #expect(!isRunning(pid), "\(name)")
            }
        }
    }

    private func isRunning(_ pid: Int32) -> Bool {
        let stat = text("/proc/\(pid)/stat")
        guard let end = stat.lastIndex(of: ")") else { return false }
        return !stat[end...].hasPrefix(") Z")
    }

    @Test func `endless output and a tool that is not there are errors`() async throws {
        try await with(script: "yes") { driver, _ in
            let error = await #expect(throws: BMCError.self) { try await driver.powerState() }
            guard case .protocolViolation = error else { return #expect(Bool(false), "\(error!)") }
        }
        let driver = try IPMIDriver(
            address: BMCAddress("ipmi://bmc.example", user: "admin"), password: SecretText("p"),
            program: "/nowhere/ipmitool", logger: Logger(label: "test"))
        await #expect(throws: BMCError.noProgram("ipmitool")) { try await driver.powerState() }
    }
}
