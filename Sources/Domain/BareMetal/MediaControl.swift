import CatalogBareMetal
import Primitives

/// Boots a machine from an image that the conductor serves over HTTP, without PXE.
///
/// A BMC that cannot answers with `BMCError.unsupported`.
public protocol MediaControl: Sendable {
    /// Inserts the image at `url` as a virtual CD, in place of what is in it, and boots that next.
    func boot(medium url: String) async throws(BMCError)

    /// Has UEFI firmware fetch the image at `url` by HTTP and boot it next (UEFI 2.5, HTTP Boot).
    func boot(http url: String) async throws(BMCError)

    /// Ejects the virtual CD when it is the image at `url`; another's is left where it is.
    func eject(medium url: String) async throws(BMCError)
}

extension MediaControl {
    public func boot(medium url: String) async throws(BMCError) {
        throw .unsupported("it has no virtual media; set 'boot: network' for it in the site file")
    }

    public func boot(http url: String) async throws(BMCError) {
        throw .unsupported("it cannot name a URI to boot from; set 'boot: network' for it in the site file")
    }

    public func eject(medium url: String) async throws(BMCError) {}
}

/// Where the medium of a BMC's machine is to be had; throws an error that says what is missing.
public typealias MediumURL = @Sendable (BMC) throws -> String

/// Of a conductor that serves no media.
public let noMedium: MediumURL = { _ in
    throw BMCError.unsupported("this conductor serves no media; set 'boot: network' for the BMC in the site file")
}

extension BMC {
    /// Has the machine boot the ramdisk next, in the way that the site says.
    func setRamdiskBoot(_ driver: any BMCDriver, firmware: MachineFirmware?, medium: MediumURL) async throws {
        switch spec.boot ?? .network {
        case .network: try await driver.setBoot(.network, once: true, firmware: firmware)
        case .media: try await driver.boot(medium: try medium(self))
        case .http:
            guard firmware != .bios else {
                throw BMCError.refused(
                    "the machine has no UEFI firmware, so it cannot boot by HTTP; set 'boot: network' or 'boot: media' for "
                        + "its BMC in the site file")
            }
            try await driver.boot(http: try medium(self))
        }
    }

    /// Has the machine boot its disk from now on, and takes the medium out.
    func setDiskBoot(_ driver: any BMCDriver, firmware: MachineFirmware?, medium: MediumURL) async throws {
        if spec.boot == .media || spec.boot == .http, let url = try? medium(self) {
            try await driver.eject(medium: url)
        }
        // For good: BMCs that turn "once" into "always" would boot the network for ever.
        try await driver.setBoot(.disk, once: false, firmware: firmware)
    }
}
