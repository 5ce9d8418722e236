import LinuxSystem
import Primitives

/// What the boot script tells the ramdisk on the kernel's command line.
public struct DiscoveryParameters: Hashable, Sendable {
    /// The conductor's address.
    public let server: IPv4Address
    /// The port of its plain HTTP server, for chunks and the CA certificate.
    public let httpPort: Int
    /// The port of its HTTPS server, for everything else.
    public let tlsPort: Int
    /// The SHA-256 of the site's CA certificate in DER.
    public let authority: Digest
    /// The conductor's clock when it wrote the boot script.
    public let bootTime: Timestamp?
    /// The interface that the firmware booted from.
    public let bootInterface: MACAddress?

    /// Reads `muster.server`, `muster.http`, `muster.port`, `muster.ca`, `muster.time` and `BOOTIF`; throws
    /// `InvalidValue`. Only the last two may be missing.
    public init(_ line: KernelCommandLine) throws(InvalidValue) {
        func required(_ name: String) throws(InvalidValue) -> String {
            guard let value = line[name], !value.isEmpty else {
                throw InvalidValue("kernel parameter \(name)", "", expected: "a value; boot by the conductor's script")
            }
            return value
        }
        func port(_ name: String) throws(InvalidValue) -> Int {
            let text = try required(name)
            guard let number = Int(text), (1...65535).contains(number) else {
                throw InvalidValue("kernel parameter \(name)", text, expected: "a port, 1 to 65535")
            }
            return number
        }
        server = try IPv4Address(try required("muster.server"))
        httpPort = try port("muster.http")
        tlsPort = try port("muster.port")
        authority = try Digest(hex: try required("muster.ca"))
        bootTime = line["muster.time"].flatMap { Int64($0) }.flatMap { seconds in
            (0...253_402_300_799).contains(seconds) ? Timestamp(millisecondsSinceEpoch: seconds * 1000) : nil
        }
        bootInterface = line["BOOTIF"].flatMap { try? MACAddress($0.dropFirst($0.hasPrefix("01-") ? 3 : 0)) }
    }
}
