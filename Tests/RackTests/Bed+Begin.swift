import Foundation
import Primitives

@testable import VirtualRack

/// What a rack's conductor is given first.
extension PathTests.Bed {
    /// The rack's site file, with the key that `begin` makes.
    var siteWithKey: String { rack.siteFile(sshKeyFiles: ["\(key).pub"]) }

    /// Starts the conductor and gives it the ramdisk and the images of `roles`; before that, makes a key for logins if asked.
    func begin(images roles: [String] = [], makesKey: Bool = false) async throws {
        if makesKey {
            try await rack.run(inNamespace: ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key])
        }
        try await startConductor()
        let images = PathTests.images
        try await must(["image", "push-ramdisk", "--kernel", "\(images)/vmlinuz", "--initrd", "\(images)/initrd.zst"])
        for role in roles { try await pushImage(of: role) }
    }

    /// Pushes the image of a role's nodes and gives what `muster` says.
    @discardableResult
    func pushImage(of role: String) async throws -> String {
        try await must(
            ["image", "push", "node-\(role)", "--role", role, "--file", "\(PathTests.images)/node-\(role).raw"],
            timeout: .seconds(300))
    }

    /// Writes a site file and gives its path.
    func writeSite(_ text: String) throws -> String {
        let site = "\(rack.stateDirectory)/site.yaml"
        try text.write(toFile: site, atomically: true, encoding: .utf8)
        return site
    }

    /// Writes a site file and applies it.
    func applySite(_ text: String) async throws { try await must(["site", "apply", try writeSite(text)]) }

    /// Applies the site file at `site`, first with a password that the BMC refuses.
    func applyWithWrongPasswordFirst(_ site: String) async throws {
        try await must(["site", "apply", site], password: "not-the-password")
        try await waitUntil("the BMC to refuse the password", within: .seconds(60)) {
            try await must(["bmc", "list", "--json"]).contains("refuses the user or the password")
        }
        try await must(["site", "apply", site])
    }
}
