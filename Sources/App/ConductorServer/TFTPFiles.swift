import BootServer
import CatalogBareMetal
import Logging
import NetworkBoot
import Primitives

/// What machines get by TFTP: programs, and for Secure Boot GRUB's configuration with the kernel and the ramdisk.
struct TFTPFiles: Sendable {
    private let programs: BootPrograms
    private let desk: BootDesk
    private let ramdisk: RamdiskMemory
    private let logger: Logger

    init(programs: BootPrograms, desk: BootDesk, ramdisk: RamdiskMemory, logger: Logger) {
        self.programs = programs
        self.desk = desk
        self.ramdisk = ramdisk
        self.logger = logger
    }

    /// The bytes of exactly this name for a client of the server at `address`; nil: there are none.
    func bytes(named name: String, at address: IPv4Address) async -> [UInt8]? {
        if let program = programs.bytes(named: name) { return program }
        if name == GRUBScript.entryName { return Array(GRUBScript.entry.utf8) }
        if let mac = GRUBScript.machine(ofFile: name) {
            return Array(GRUBScript.text(desk.script(for: mac, at: address)).utf8)
        }
        if BootPrograms.Name(rawValue: name)?.isSigned == true {
            logger.warning(
                "a machine asks for \(name), which is not here: install shim-signed and grub-efi-amd64-signed")
        }
        guard let file = BootFileName.allCases.first(where: { name == "boot/\(Ramdisk.discovery)/\($0.rawValue)" })
        else {
            return nil
        }
        return await ramdisk.bytes(of: file)
    }
}

/// The newest kernel and ramdisk in memory, so that machines which load them by TFTP at the same time share one copy.
actor RamdiskMemory {
    /// The most bytes of one of them.
    static let sizeMax: UInt64 = 512 << 20

    private let digest: @Sendable (BootFileName) -> Digest?
    private let read: @Sendable (Digest) async throws -> [UInt8]?
    private let logger: Logger
    private var kept: [BootFileName: (digest: Digest, loading: Task<[UInt8]?, Never>)] = [:]

    /// `digest` names the newest of each, `read` gives a blob's bytes; nil when it is too large.
    init(
        digest: @escaping @Sendable (BootFileName) -> Digest?,
        read: @escaping @Sendable (Digest) async throws -> [UInt8]?, logger: Logger
    ) {
        self.digest = digest
        self.read = read
        self.logger = logger
    }

    /// The bytes of the newest `file`; nil when there is none or it cannot be read.
    func bytes(of file: BootFileName) async -> [UInt8]? {
        guard let newest = digest(file) else { return nil }
        if let known = kept[file], known.digest == newest { return await known.loading.value }
        let (read, logger) = (read, logger)
        let loading = Task<[UInt8]?, Never> {
            do { return try await read(newest) } catch {
                logger.error("\(file.rawValue) cannot be read for TFTP: \(error)")
                return nil
            }
        }
        kept[file] = (newest, loading)
        let bytes = await loading.value
        // What failed is tried again by the next machine that asks.
        if bytes == nil, kept[file]?.digest == newest { kept[file] = nil }
        return bytes
    }
}
