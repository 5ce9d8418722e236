import BMCDrivers
import BareMetal
import Foundation
import Glibc
import Logging
import Primitives
import Subprocess
import SystemPackage
import Testing

/// The real `ipmi_sim` of OpenIPMI with a machine that is a few files.
struct SimulatedBMC: Sendable {
    /// The UDP port on 127.0.0.1.
    let port: Int
    private let directory: String

    static let isInstalled = access("/usr/bin/ipmi_sim", X_OK) == 0 && access("/usr/bin/ipmitool", X_OK) == 0

    /// The GUID as the BMC sends it, which is the SMBIOS form of `uuid`.
    static let wireGUID = "c4912a3fd807e14b9c35d1e6f0a7b842"
    static let uuid = "3f2a91c4-07d8-4be1-9c35-d1e6f0a7b842"

    /// A driver of it.
    func driver(
        user: String = "admin", password: String = "hunter2", cipherSuite: Int? = nil, limits: BMCLimits = BMCLimits()
    ) throws -> IPMIDriver {
        try IPMIDriver(
            address: BMCAddress("ipmi://127.0.0.1:\(port)", user: user), password: SecretText(password),
            cipherSuite: cipherSuite, limits: limits, logger: Logger(label: "test"))
    }

    /// The machine's power: `0` or `1`.
    var power: String { text("power") }
    /// The boot device: `none`, `pxe` or `default`.
    var boot: String { text("boot") }
    /// How often the machine was reset.
    var resetCount: Int { text("resets").split(separator: "\n").count }

    private func text(_ name: String) -> String {
        let data = FileManager.default.contents(atPath: "\(directory)/\(name)") ?? Data()
        return String(decoding: data, as: UTF8.self).trimmingCharacters(in: .newlines)
    }

    /// Runs a BMC for the time of `body`; `console` is the device of the machine's serial port.
    static func with(
        console: String? = nil, _ body: @Sendable (SimulatedBMC) async throws -> Void
    ) async throws {
        let directory = FileManager.default.temporaryDirectory.appendingPathComponent("ipmi-\(UUID().uuidString)").path
        try FileManager.default.createDirectory(atPath: directory + "/state", withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(atPath: directory) }
        let bmc = SimulatedBMC(port: try freeUDPPort(), directory: directory)
        try bmc.write(console)
        _ = try await run(
            .path("/usr/bin/ipmi_sim"),
            arguments: ["-c", "\(directory)/lan.conf", "-f", "\(directory)/emu", "-n", "-s", "\(directory)/state"],
            input: .none, output: .discarded, error: .discarded
        ) { execution in
            let outcome: Swift.Result<Void, any Error>
            do {
                try await bmc.waitUntilReady()
                outcome = .success(try await body(bmc))
            } catch { outcome = .failure(error) }
            await execution.teardown(using: [.gracefulShutDown(allowedDurationToNextStep: .seconds(2))])
            try outcome.get()
        }
    }

    private func waitUntilReady() async throws {
        let driver = try driver()
        for _ in 0..<30 {
            do {
                _ = try await driver.powerState()
                return
            } catch {
                guard error.isTransient else { throw error }
            }
        }
        Issue.record("ipmi_sim did not start")
    }

    private func write(_ console: String?) throws {
        let lan = """
            name "machine"
            set_working_mc 0x20
              startlan 1
                addr 127.0.0.1 \(port)
                priv_limit admin
                allowed_auths_user none md5
                allowed_auths_operator none md5
                allowed_auths_admin none md5
                guid \(Self.wireGUID)
              endlan
            \(console.map { "  sol \"\($0)\" 115200" } ?? "")
              chassis_control "\(directory)/chassis"
              startnow false
              user 2 true "admin" "hunter2" admin 10 none md5

            """
        // A product record of Acme, "Rack One", SN-0042, and three sensors.
        let emulation = """
            mc_setbmc 0x20
            mc_add 0x20 0 no-device-sdrs 0x23 9 8 0x9f 0x1291 0xf02 persist_sdr
            sel_enable 0x20 1000 0x0a
            mc_add_fru_data 0x20 0 64 data \(Self.bytes(Self.fru))
            main_sdr_add 0x20 \(Self.bytes(Self.sensor(1, "Ambient", type: 1, unit: 1, exponent: 0)))
            sensor_add 0x20 0 1 1 1
            sensor_set_value 0x20 0 1 42 0
            main_sdr_add 0x20 \(Self.bytes(Self.sensor(2, "Fan 1", type: 4, unit: 18, exponent: 2)))
            sensor_add 0x20 0 2 4 1
            sensor_set_value 0x20 0 2 55 0
            mc_enable 0x20

            """
        let chassis = """
            #!/bin/sh
            cd \(directory) || exit 1
            case "$1" in
            get)
                shift
                for what; do
                    case "$what" in
                    power) echo "power:$(cat power)" ;;
                    boot) echo "boot:$(cat boot)" ;;
                    esac
                done ;;
            set)
                shift
                while [ $# -gt 1 ]; do
                    case "$1" in
                    power|boot) echo "$2" > "$1" ;;
                    reset) echo reset >> resets ;;
                    esac
                    shift 2
                done ;;
            esac

            """
        for (name, text) in [
            ("lan.conf", lan), ("emu", emulation), ("chassis", chassis), ("power", "0\n"), ("boot", "none\n"),
        ] {
            try text.write(toFile: "\(directory)/\(name)", atomically: false, encoding: .utf8)
        }
        guard chmod("\(directory)/chassis", 0o700) == 0 else { throw Errno(rawValue: errno) }
    }

    private static func bytes(_ bytes: [UInt8]) -> String {
        bytes.map { "0x" + Hex.encode([$0]) }.joined(separator: " ")
    }

    private static func packed(_ text: String) -> [UInt8] { [0xC0 | UInt8(text.utf8.count)] + Array(text.utf8) }

    private static func withChecksum(_ bytes: [UInt8]) -> [UInt8] { bytes + [0 &- bytes.reduce(0, &+)] }

    /// A FRU record with a product area (Platform Management FRU Information Storage Definition, section 12).
    private static let fru: [UInt8] = {
        var product: [UInt8] = [1, 0, 0x19]
        for text in ["Acme", "Rack One", "P1", "1", "SN-0042", "A7"] { product += packed(text) }
        product += [0xC0, 0xC1]
        while product.count % 8 != 7 { product.append(0) }
        product[1] = UInt8((product.count + 1) / 8)
        return withChecksum([1, 0, 0, 0, 1, 0, 0]) + withChecksum(product)
    }()

    /// A full sensor record (IPMI v2.0 section 43.1); the reading is the raw value times ten to `exponent`.
    private static func sensor(_ number: UInt8, _ name: String, type: UInt8, unit: UInt8, exponent: UInt8) -> [UInt8] {
        var body: [UInt8] = [0x20, 0, number, 3, 1, 0x67, 0x88, type, 1, 0, 0x80, 0, 0x80, 0, 0, 0, unit, 0, 0]
        body += [1, 0, 0, 0, 0, exponent << 4, 0, 0, 0, 0, 255] + [UInt8](repeating: 0, count: 12) + packed(name)
        return [0, 0, 0x51, 1, UInt8(body.count)] + body
    }
}

/// A UDP port of 127.0.0.1 that is free now.
func freeUDPPort() throws -> Int {
    let descriptor = socket(AF_INET, Int32(SOCK_DGRAM.rawValue), 0)
    guard descriptor >= 0 else { throw Errno(rawValue: errno) }
    defer { close(descriptor) }
    var address = sockaddr_in()
    address.sin_family = sa_family_t(AF_INET)
    address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
    var length = socklen_t(MemoryLayout<sockaddr_in>.size)
    let code = withUnsafeMutablePointer(to: &address) { pointer in
        pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { address in
            bind(descriptor, address, length) == 0 ? getsockname(descriptor, address, &length) : -1
        }
    }
    guard code == 0 else { throw Errno(rawValue: errno) }
    return Int(UInt16(bigEndian: address.sin_port))
}
