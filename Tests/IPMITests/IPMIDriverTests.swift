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

    @Test func `the user's password is changed, and the one before lets nobody in`() async throws {
        try await SimulatedBMC.with { bmc in
            let old = try bmc.driver()
            try await old.proveLogin()
            #expect(try await old.passwordRule().length() == 16)
            // What would mean something to a shell, or to the tool, is what it is.
            for (before, after) in [("hunter2", "Ab3-xyz.Q7_mnop9"), ("Ab3-xyz.Q7_mnop9", #"#"'~\$(x);"#)] {
                try await bmc.driver(password: before).setPassword(SecretText(after))
                await #expect(throws: BMCError.badCredentials) { try await bmc.driver(password: before).proveLogin() }
                try await bmc.driver(password: after).proveLogin()
            }
        }
    }

    @Test func `a password that cannot be one changes nothing`() async throws {
        try await SimulatedBMC.with { bmc in
            for bad in ["", "with space", "über", "a\nb", "nul\0", String(repeating: "x", count: 21)] {
                await #expect(throws: BMCError.self, "\(bad)") { try await bmc.driver().setPassword(SecretText(bad)) }
            }
            try await bmc.driver().proveLogin()
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

    @Test func `a new password goes through a pipe, and stands in no argument, variable or error`() async throws {
        let script = #"""
            case "$*" in
            *"user list"*) echo "1,,true,false,false,Unknown"; echo "7,admin,true,false,true,ADMINISTRATOR" ;;
            *) echo "$*" > arguments; env > environment; cat > input; echo "failed, somehow" >&2; exit 1 ;;
            esac
            """#
        try await with(script: script) { driver, directory in
            let error = await #expect(throws: BMCError.self) {
                try await driver.setPassword(SecretText("Ab3-xyz.Q7_mnop9"))
            }
            #expect(error == .refused("failed, somehow"))
            let arguments = text(directory + "/arguments")
            #expect(arguments.contains("-L ADMINISTRATOR") && arguments.hasSuffix("exec /dev/stdin\n"))
            #expect(!arguments.contains(" -v "), "it would repeat the bytes")
            let bytes = "Ab3-xyz.Q7_mnop9".utf8.map { "0x" + Hex.encode([$0]) }.joined(separator: " ")
            #expect(text(directory + "/input") == "raw 0x06 0x47 0x07 0x02 \(bytes)\n")
            for file in ["arguments", "environment"] {
                #expect(!text("\(directory)/\(file)").contains("Ab3") && !text("\(directory)/\(file)").contains("0x41"))
            }
        }
    }

    @Test func `a user who may not change passwords is told to be made an Administrator`() async throws {
        let script = #"""
            case "$*" in
            *"user list"*) echo "2,admin,true,false,true,OPERATOR" ;;
            *) echo "Unable to send RAW command (channel=0x0 netfn=0x6 lun=0x0 cmd=0x47 rsp=0xd4):" \
                "Insufficient privilege level" >&2; exit 1 ;;
            esac
            """#
        try await with(script: script) { driver, _ in
            let error = await #expect(throws: BMCError.self) {
                try await driver.setPassword(SecretText("Ab3-xyz.Q7_mnop9"))
            }
            guard case .privilege? = error else { return #expect(Bool(false), "\(String(describing: error))") }
            #expect(error?.publicMessage.contains("Administrator") == true)
        }
        try await with(script: "echo 3,somebody,true,false,true,ADMINISTRATOR") { driver, _ in
            let error = await #expect(throws: BMCError.self) {
                try await driver.setPassword(SecretText("Ab3-xyz.Q7_mnop9"))
            }
            #expect(error == .refused("it shows no user 'admin' among its users"))
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
