import FoundationEssentials
import Glibc
import HardwareInventory
import Primitives
import ProgramRuns
import TestSupport

/// The authority of a maker of software TPMs: `swtpm_localca` with everything in one folder.
final class SoftwareTPMMaker: Sendable {
    private let folder: TemporaryDirectory

    init() throws {
        folder = try TemporaryDirectory("tpm-maker")
        let config = """
            statedir = \(folder.path)
            signingkey = \(folder.path)/signkey.pem
            issuercert = \(folder.path)/issuercert.pem
            certserial = \(folder.path)/certserial
            """
        try folder.write("localca.conf", Array(config.utf8))
        try folder.write("localca.options", Array("--platform-manufacturer Muster\n".utf8))
        let setup = """
            create_certs_tool = /usr/bin/swtpm_localca
            create_certs_tool_config = \(folder.path)/localca.conf
            create_certs_tool_options = \(folder.path)/localca.options
            active_pcr_banks = sha256
            """
        try folder.write("setup.conf", Array(setup.utf8))
    }

    /// Makes the state of a TPM in `state`, with a P-384 endorsement key's certificate or with none.
    func make(in state: String, certificate: Bool) async throws {
        let certified = certificate ? ["--ecc", "--create-ek-cert", "--lock-nvram"] : []
        let outcome = try await ProgramRun(
            "swtpm_setup", ["--tpm2", "--tpmstate", state, "--config", folder.appending("setup.conf")] + certified
        ).finish()
        guard outcome.status == 0 else { throw SoftwareTPMError(what: outcome.words) }
    }

    /// The certificate that signs endorsement certificates, in PEM; there once a TPM was made with one.
    func certificate() throws -> String {
        String(decoding: try Data(contentsOf: URL(filePath: folder.appending("issuercert.pem"))), as: UTF8.self)
    }
}

struct SoftwareTPMError: Error {
    var what: String
}

/// A TPM of software that runs beside a test and ends with it.
struct SoftwareTPM: Sendable {
    private let socket: String

    /// Runs one while `body` works.
    static func running<Result: Sendable>(
        by maker: SoftwareTPMMaker, certificate: Bool = true,
        _ body: @escaping @Sendable (SoftwareTPM) async throws -> Result
    ) async throws -> Result {
        let folder = try TemporaryDirectory("tpm")
        try await maker.make(in: folder.path, certificate: certificate)
        let socket = folder.appending("socket")
        let program = ProgramRun(
            "swtpm",
            [
                "socket", "--tpm2", "--tpmstate", "dir=\(folder.path)", "--server", "type=unixio,path=\(socket)",
                "--flags", "not-need-init,startup-clear",
            ], patience: .seconds(120))
        return try await withThrowingTaskGroup(of: Result?.self) { group in
            group.addTask {
                let outcome = try await program.finish()
                throw SoftwareTPMError(what: "swtpm ended: \(outcome.words)")
            }
            group.addTask { try await body(SoftwareTPM(socket: socket)) }
            defer { group.cancelAll() }
            guard let result = try await group.next() ?? nil else { throw SoftwareTPMError(what: "no result") }
            return result
        }
    }

    /// A connection; the TPM takes one at a time. Waits for the TPM to come up.
    func open() throws -> TPMDevice {
        for _ in 0..<200 {
            let descriptor = Glibc.socket(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0)
            guard descriptor >= 0 else { throw SoftwareTPMError(what: "no socket") }
            var address = sockaddr_un()
            address.sun_family = sa_family_t(AF_UNIX)
            let bytes = Array(socket.utf8)
            guard bytes.count < MemoryLayout.size(ofValue: address.sun_path) else {
                close(descriptor)
                throw SoftwareTPMError(what: "the socket's path is too long")
            }
            withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: bytes) }
            let size = socklen_t(MemoryLayout<sockaddr_un>.size)
            let code = withUnsafePointer(to: address) { pointer in
                pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { connect(descriptor, $0, size) }
            }
            if code == 0 { return TPMDevice(descriptor: descriptor) }
            close(descriptor)
            // Synchronous as all of the TPM's calls; the program that was just started listens within a second.
            usleep(25_000)
        }
        throw SoftwareTPMError(what: "the TPM does not come up")
    }

    /// Extends a PCR of the SHA-256 bank (TPM2_PCR_Extend), as other firmware would have done.
    func extend(pcr: UInt8) throws {
        let digest = [UInt8](repeating: 0xA5, count: 32)
        let authorization: [UInt8] = [0x40, 0, 0, 0x09, 0, 0, 0, 0, 0]
        let body: [UInt8] = [0, 0, 0, pcr, 0, 0, 0, 9] + authorization + [0, 0, 0, 1, 0, 0x0B] + digest
        let command: [UInt8] = [0x80, 0x02, 0, 0, 0, UInt8(10 + body.count), 0, 0, 0x01, 0x82] + body
        let answer = try open().exchange(command)
        guard answer.count >= 10, answer[6..<10].allSatisfy({ $0 == 0 }) else {
            throw SoftwareTPMError(what: "the PCR was not extended: \(Hex.encode(answer))")
        }
    }
}
