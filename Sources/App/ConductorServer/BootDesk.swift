import BareMetal
import BlobStore
import BootServer
import CatalogBareMetal
import Identity
import ImageChunks
import Logging
import NIOCore
import NetworkBoot
import Primitives

/// Decides what machines boot, from the catalog.
struct BootDesk: Sendable {
    let catalog: LiveCatalog
    let ports: ConductorPorts
    let programs: BootPrograms
    let authorities: SiteAuthorities
    let clock: any WallClock
    let logger: Logger

    /// A deployed machine boots its disk, every other one the discovery ramdisk.
    func decide(_ request: BootRequest) -> BootScript { script(for: request.mac, at: server(for: request)) }

    /// The same for the machine with the address `mac`, which came to the conductor's address `server`.
    func script(for mac: MACAddress, at server: IPv4Address) -> BootScript {
        do {
            let retry = try BootURL(
                host: server, port: ports.boot, path: "/boot/ipxe", query: [.init("mac", "\(mac)")])
            if let node = catalog.node(withMAC: mac), node.bootsItsDisk {
                logger.info("\(node.spec.name) asked for the network; it is told to boot its disk")
                return .localDisk(chainLoader: localLoader(at: server))
            }
            guard catalog.ramdisk() != nil else {
                logger.warning("\(mac) asks for the ramdisk, but there is none: muster image push-ramdisk")
                return .wait(seconds: 10, retry: retry)
            }
            return .discovery(
                try DiscoveryBoot(
                    kernel: try BootURL(host: server, port: ports.boot, path: "/boot/\(Ramdisk.discovery)/vmlinuz"),
                    initrd: try BootURL(host: server, port: ports.boot, path: "/boot/\(Ramdisk.discovery)/initrd.zst"),
                    retry: retry,
                    conductor: DiscoveryBoot.Conductor(
                        address: server, httpPort: ports.boot, tlsPort: ports.provisioning,
                        caFingerprint: authorities.now.issuing.fingerprint, time: clock.now),
                    bootInterface: mac))
        } catch {
            logger.error("no boot script for \(mac): \(error)")
            return .localDisk(chainLoader: localLoader(at: server))
        }
    }

    /// Where the program that starts a disk's loader on UEFI is; nil when the conductor has none.
    private func localLoader(at server: IPv4Address) -> BootURL? {
        let name = BootPrograms.Name.uefiLocalDisk
        guard programs[name] != nil else { return nil }
        return try? BootURL(host: server, port: ports.boot, path: BootFileChoice.programPath + name.rawValue)
    }

    /// The conductor's address on the segment that the request came from.
    private func server(for request: BootRequest) -> IPv4Address {
        let segments = catalog.segments()
        let address = request.remoteAddress.flatMap { try? IPv4Address($0) }
        let own = segments.first { segment in address.map { segment.spec.network.contains($0) } ?? false }
        return (own ?? segments.first).map(catalog.server) ?? .any
    }
}

/// Boot files and chunks out of the blob store, read outside of Swift's pool of threads.
struct BlobReader: BlobSource {
    let blobs: SiteBlobs

    /// Bytes of a blob that is checked each time it is read; parts of larger ones rely on the check of the first.
    private static let checkedSizeMax = 1 << 20

    func size(of blob: Digest) async throws -> UInt64? { try await blobs.size(of: blob) }

    func read(_ blob: Digest, at offset: UInt64, count: Int) async throws -> ByteBuffer {
        let bytes = try await blobs.fetching(blob) { (blobs) throws(BlobError) -> [UInt8] in
            if offset == 0, count <= Self.checkedSizeMax, let size = try blobs.size(of: blob), size <= count {
                return try blobs.get(blob)
            }
            return try blobs.read(blob, at: offset, count: count)
        }
        return ByteBuffer(bytes: bytes)
    }
}

extension Ramdisk {
    /// The blob of one of its files.
    func digest(of file: BootFileName) -> Digest { file == .kernel ? spec.kernel : spec.initrd }
}
