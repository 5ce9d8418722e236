import CatalogBareMetal
import FleetContract
import FoundationEssentials
import Primitives

extension SiteCheck {
    mutating func bmc(_ entry: SiteDocument.BMCEntry, at path: String) {
        check("\(path).address") { () throws(InvalidValue) in try Self.checkAddress(entry.address) }
        text("\(path).username", entry.username)
        if let system = entry.system {
            text("\(path).system", system)
            if system.contains(where: { "/?#% ".contains($0) }) {
                report("\(path).system", "'\(system.printable(limit: 80))' must be a Redfish identifier, not a path")
            }
        }
        if let console = entry.console {
            check("\(path).console") { () throws(InvalidValue) in _ = try ConsoleAddress(console) }
        }
        if entry.recordsConsole == true, entry.console == nil, !entry.address.hasPrefix("ipmi://") {
            report("\(path).recordsConsole", "no console of this BMC is known; name it with 'console'")
        }
        ipmi(entry, at: path)
        if entry.certificateDigest != nil, !entry.address.hasPrefix("https://") {
            report("\(path).certificateDigest", "only an https:// address has a certificate")
        }
        if let password = entry.password?.clearText {
            let isRight =
                password.hasOnlyPrintableScalars && (1...SiteLimit.passwordLength).contains(password.utf8.count)
            if !isRight {
                report(
                    "\(path).password",
                    "the password must have 1 to \(SiteLimit.passwordLength) bytes, without "
                        + "newlines and control characters")
            }
        }
    }

    /// What IPMI does not allow, and what only IPMI has (IPMI v2.0 sections 22.15.2, 22.28 and 22.30).
    private mutating func ipmi(_ entry: SiteDocument.BMCEntry, at path: String) {
        guard entry.address.hasPrefix("ipmi://") else {
            let isIPMI = entry.console?.hasPrefix("ipmi://") == true
            if entry.cipherSuite != nil, !isIPMI {
                report("\(path).cipherSuite", "only an ipmi:// address has a cipher suite")
            }
            return
        }
        if let suite = entry.cipherSuite, !(1...17).contains(suite) {
            report("\(path).cipherSuite", "\(suite) is not between 1 and 17")
        }
        if entry.boot == .media || entry.boot == .http {
            report("\(path).boot", "IPMI has no media; only a Redfish BMC can boot by 'media' or 'http'")
        }
        if entry.system != nil {
            report("\(path).system", "an IPMI BMC has one machine only; leave 'system' out")
        }
        if entry.username.utf8.count > 16 {
            report("\(path).username", "a user of IPMI has at most 16 bytes")
        }
        if let password = entry.password?.clearText, password.utf8.count > 20 {
            report("\(path).password", "a password of IPMI has at most 20 bytes")
        }
    }

    mutating func sameBMC(_ bmcs: [SiteDocument.BMCEntry]) {
        var seen: [String: Int] = [:]
        for (index, entry) in bmcs.enumerated() {
            let key = "\(entry.address) \(entry.system ?? "")"
            if let first = seen[key] {
                report("bmcs[\(index)].address", "is the same system of the same BMC as bmcs[\(first)]")
            } else {
                seen[key] = index
            }
        }
    }

    /// `http://host`, `https://host` or `ipmi://host`, with an optional port and nothing else.
    private static func checkAddress(_ text: String) throws(InvalidValue) {
        let wrong = InvalidValue(
            "BMC address", text, expected: "http://, https:// or ipmi://, a host, and a port if it is not the usual one"
        )
        let schemes = ["http://", "https://", "ipmi://"]
        guard let scheme = schemes.first(where: text.hasPrefix), text.utf8.count <= SiteLimit.textLength else {
            throw wrong
        }
        var host = text.dropFirst(scheme.count)
        if let colon = host.lastIndex(of: ":"), !host.hasSuffix("]") {
            let port = host[host.index(after: colon)...]
            guard let number = UInt16(port), number > 0, String(number) == port else { throw wrong }
            host = host[..<colon]
        }
        if host.hasPrefix("["), host.hasSuffix("]") {
            let isAddress = host.dropFirst().dropLast().utf8.allSatisfy { byte in
                byte == UInt8(ascii: ":") || Hex.decode("0" + String(Unicode.Scalar(byte))) != nil
            }
            guard isAddress, host.contains(":") else { throw wrong }
            return
        }
        let labels = host.split(separator: ".", omittingEmptySubsequences: false)
        guard labels.allSatisfy({ (try? DNSLabel($0.lowercased())) != nil }) else { throw wrong }
    }
}

/// The form of an OpenSSH public key line (RFC 4253 section 6.6; OpenSSH sshd(8), AUTHORIZED_KEYS FILE FORMAT).
enum SSHKeyForm {
    private static let types = [
        "ssh-ed25519", "ssh-rsa", "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521",
        "sk-ssh-ed25519@openssh.com", "sk-ecdsa-sha2-nistp256@openssh.com",
    ]

    /// Throws `InvalidValue` unless `line` is a type, a key of that type in base64, and at most a comment.
    static func check(_ line: String) throws(InvalidValue) {
        let wrong = InvalidValue(
            "SSH public key", line, expected: "one line such as 'ssh-ed25519 AAAA… name', without options before it")
        guard line.hasOnlyPrintableScalars, line.utf8.count <= SiteLimit.sshKeyLength else { throw wrong }
        let parts = line.split(separator: " ", maxSplits: 2)
        guard parts.count >= 2, types.contains(String(parts[0])), let blob = Data(base64Encoded: String(parts[1])),
            blob.count > 4
        else { throw wrong }
        let length = blob.prefix(4).reduce(0) { $0 << 8 | Int($1) }
        guard length == parts[0].utf8.count, Array(blob.dropFirst(4).prefix(length)) == Array(parts[0].utf8) else {
            throw wrong
        }
    }
}
