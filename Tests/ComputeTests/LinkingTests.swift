import Foundation
import Testing

/// What the programs of nodes link: libvirt brings many libraries, and only hypervisors are to have them.
@Suite struct LinkingTests {
    /// The libraries that the dynamic section of a program built beside these tests names.
    static func needed(_ program: String) throws -> [String] {
        let products = URL(fileURLWithPath: try FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe"))
            .deletingLastPathComponent()
        let process = Process()
        let output = Pipe()
        process.executableURL = URL(fileURLWithPath: "/usr/bin/readelf")
        process.arguments = ["--dynamic", "--wide", products.appendingPathComponent(program).path]
        process.standardOutput = output
        try process.run()
        let text = String(decoding: output.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
        process.waitUntilExit()
        try #require(process.terminationStatus == 0, "readelf cannot read \(program)")
        return text.matches(of: /\(NEEDED\).*\[([^\]]+)\]/).map { String($0.output.1) }
    }

    @Test func onlyHypervisorsLinkLibvirt() throws {
        for program in ["network-agent", "discovery-agent", "muster-conductor", "muster"] {
            let libraries = try Self.needed(program)
            #expect(libraries.contains("libc.so.6"), "\(program): \(libraries)")
            #expect(!libraries.contains { $0.hasPrefix("libvirt") || $0.hasPrefix("libxml2") }, "\(program)")
        }
        for program in ["compute-agent", "node-agent"] {
            let libraries = try Self.needed(program)
            #expect(libraries.contains("libvirt.so.0") && libraries.contains("libxml2.so.2"), "\(program)")
        }
    }
}
