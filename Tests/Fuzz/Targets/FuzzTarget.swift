/// A piece of code that must stand any bytes, and what must hold of it whatever they are.
///
/// `make fuzz` lets libFuzzer look for bytes that break it; `CorpusTests` gives it every input that was kept.
public struct FuzzTarget: Sendable, CustomStringConvertible {
    /// The folder of its inputs in `Tests/Fuzz/Corpora`.
    public let name: String
    /// The most bytes of an input.
    public let sizeMax: Int
    private let check: @Sendable ([UInt8]) async throws -> Void

    /// A target; `check` throws `FuzzFailure` when what must hold does not.
    init(_ name: String, sizeMax: Int, _ check: @escaping @Sendable ([UInt8]) async throws -> Void) {
        self.name = name
        self.sizeMax = sizeMax
        self.check = check
    }

    /// Gives the target one input. Throws what does not hold; a trap is a failure too.
    public func run(_ bytes: [UInt8]) async throws { try await check(bytes) }

    public var description: String { name }

    /// Every target there is.
    public static let all: [FuzzTarget] = [
        .dhcp, .tftp, .lldp, .bootPath, .inventory, .machineMessage, .agentMessage, .webSocket, .chunkManifest,
        .chunkFrames, .siteFile, .siteDocument, .policyFile, .redfish, .ipmi, .gpt, .diskContents, .memoryModules,
        .tokenPayload, .federationMapping, .signedRequest, .issuerFile, .providerToken,
    ]
}

/// What did not hold of a target.
public struct FuzzFailure: Error, CustomStringConvertible {
    /// What was expected, in words.
    public let description: String
}

/// Throws `FuzzFailure` unless `holds`.
func require(_ holds: Bool, _ expected: @autoclosure () -> String) throws(FuzzFailure) {
    guard holds else { throw FuzzFailure(description: expected()) }
}
