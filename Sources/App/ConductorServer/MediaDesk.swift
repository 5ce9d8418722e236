import BareMetal
import BootServer
import CatalogBareMetal
import Crypto
import Foundation
import Glibc
import Identity
import NetworkBoot
import Primitives
import ResourceModel

/// Says where the medium of a BMC is, and makes it: the pushed `boot.iso` with this conductor's address in it.
///
/// The path has 128 bits that only the vault's key gives, one for each BMC, and it is served only while the site says
/// that this BMC boots by it.
struct MediaDesk: Sendable {
    private static let secret = "boot-media-key"

    let catalog: LiveCatalog
    let ports: ConductorPorts
    let authorityDigest: @Sendable () -> Primitives.Digest
    private let key: SymmetricKey

    init(
        catalog: LiveCatalog, ports: ConductorPorts, authorityDigest: @escaping @Sendable () -> Primitives.Digest,
        key: SecretText
    ) {
        self.catalog = catalog
        self.ports = ports
        self.authorityDigest = authorityDigest
        self.key = SymmetricKey(data: Array(key.revealed.utf8))
    }

    /// The key of the paths; made at the first start. Throws `VaultError`.
    static func key(in vault: SecretVault) async throws -> SecretText {
        try await vault.open(secret, purpose: "paths of boot media") {
            SecretText(Hex.encode(RandomBytes.system(32)))
        }
    }

    /// Where the BMC or its machine's firmware fetches the medium; throws `NoMedium`.
    func url(of bmc: BMC) throws -> String {
        guard catalog.ramdisk()?.spec.media != nil else { throw NoMedium.notPushed }
        let host = try BMCAddress(bmc.spec.address, user: bmc.spec.username).host
        guard let own = LocalAddresses.own(towards: host) else { throw NoMedium.noWay(host) }
        return "http://\(own):\(ports.boot)/boot/media/\(token(bmc))/boot.iso"
    }

    /// The medium with this token; nil: there is none.
    func medium(_ token: String) -> BootContent.Medium? {
        guard let media = catalog.ramdisk()?.spec.media,
            let bmc = catalog.bmcs().first(where: { bmc in
                [.media, .http].contains(bmc.spec.boot) && self.token(bmc) == token
            })
        else { return nil }
        let node = catalog.nodes(ofBMC: bmc.metadata.name).first
        let server = node.map { catalog.serverAddress(for: $0) } ?? catalog.segments().first.map(catalog.server)
        guard let server else { return nil }
        let text = BootMedium(
            address: server, httpPort: ports.boot, tlsPort: ports.provisioning, caFingerprint: authorityDigest())
        return BootContent.Medium(image: media.image, place: media.place, bytes: text.bytes)
    }

    private func token(_ bmc: BMC) -> String {
        let code = HMAC<SHA256>.authenticationCode(for: Array(bmc.metadata.name.utf8), using: key)
        return Hex.encode(Array(Array(code).prefix(16)))
    }
}

/// Why there is no medium to boot.
enum NoMedium: UserFacingError, Hashable {
    case notPushed
    case noWay(String)

    var publicMessage: String {
        switch self {
        case .notPushed:
            "The BMC is to boot its machine from a medium, and none was pushed: make it with 'Images/discovery/media.sh', then "
                + "'muster image push-ramdisk --media boot.iso …'."
        case .noWay(let host):
            "The conductor's machine has no address from which \(host) can be reached, so its BMC could not fetch a medium."
        }
    }
}

extension LocalAddresses {
    /// The address of this machine that packets to `host` leave from, as the kernel's routes have it; nil: there is no
    /// route, or the name has no IPv4 address.
    static func own(towards host: String) -> IPv4Address? {
        var hints = addrinfo()
        hints.ai_family = AF_INET
        hints.ai_socktype = Int32(SOCK_DGRAM.rawValue)
        var found: UnsafeMutablePointer<addrinfo>?
        guard getaddrinfo(host, "9", &hints, &found) == 0, let list = found else { return nil }
        defer { freeaddrinfo(list) }
        let socket = socket(AF_INET, Int32(SOCK_DGRAM.rawValue), 0)
        guard socket >= 0 else { return nil }
        defer { close(socket) }
        // A datagram socket that is connected sends nothing.
        guard connect(socket, list.pointee.ai_addr, list.pointee.ai_addrlen) == 0 else { return nil }
        var own = sockaddr_in()
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        let result = withUnsafeMutablePointer(to: &own) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { getsockname(socket, $0, &length) }
        }
        return result == 0 ? IPv4Address(UInt32(bigEndian: own.sin_addr.s_addr)) : nil
    }
}
