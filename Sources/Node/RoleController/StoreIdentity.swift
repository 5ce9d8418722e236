import AgentProtocol
import CLinux
import Crypto
import FoundationEssentials
import Glibc
import LinuxSystem
import Primitives
import SwiftASN1
import X509

/// A controller's certificate for the store with its key and its authority: `ca.pem`, `cert.pem` and `key.pem` of one
/// folder, which are replaced together.
struct StoreIdentity: Sendable {
    private let authority: (pem: String, certificate: Certificate, fingerprint: Primitives.Digest)
    private let certificate: (pem: String, certificate: Certificate)
    private let key: String

    /// Reads the three; throws `StoreIdentityProblem` unless they belong together.
    init(authorityPEM: String, certificatePEM: String, keyPEM: String) throws(StoreIdentityProblem) {
        let own: P256.Signing.PrivateKey
        do {
            let root = try PEMDocument(pemString: authorityPEM)
            authority = (
                authorityPEM, try Certificate(pemDocument: root),
                Primitives.Digest(bytes: Array(SHA256.hash(data: root.derBytes)))
            )
            certificate = (certificatePEM, try Certificate(pemEncoded: certificatePEM))
            own = try P256.Signing.PrivateKey(pemRepresentation: keyPEM)
        } catch {
            throw StoreIdentityProblem("it cannot be read")
        }
        key = keyPEM
        let leaf = certificate.certificate
        guard leaf.publicKey == Certificate.PublicKey(own.publicKey) else {
            throw StoreIdentityProblem("it is for another key")
        }
        guard authority.certificate.publicKey.isValidSignature(leaf.signature, for: leaf) else {
            throw StoreIdentityProblem("it is not of the authority that lies beside it")
        }
    }

    /// When it ends.
    var notAfter: Timestamp { Self.timestamp(certificate.certificate.notValidAfter) }

    /// When a third of its life is left.
    var renewal: Timestamp {
        let life = notAfter.since(Self.timestamp(certificate.certificate.notValidBefore))
        return notAfter.advanced(by: .milliseconds(-life.milliseconds / 3))
    }

    /// Throws `StoreIdentityProblem` unless it is what `item` asks for, and good at `now`.
    func check(_ item: ControllerSecretsItem, now: Timestamp) throws(StoreIdentityProblem) {
        guard authority.fingerprint == item.authority else {
            throw StoreIdentityProblem("it is of another authority than the site's store has")
        }
        let names = (try? certificate.certificate.extensions.subjectAlternativeNames).map { Array($0) } ?? []
        let wanted = [ControllerSecretsItem.loopback, item.address].map {
            GeneralName.ipAddress(ASN1OctetString(contentBytes: $0.bytes[...]))
        }
        guard wanted.allSatisfy(names.contains) else {
            throw StoreIdentityProblem("it is not for \(item.address)")
        }
        guard now < notAfter else { throw StoreIdentityProblem("it ended at \(notAfter)") }
    }

    // MARK: Disk

    /// Reads what lies in `folder`; nil: nothing does. Throws `StoreIdentityProblem`.
    static func read(_ folder: String) throws(StoreIdentityProblem) -> StoreIdentity? {
        let texts = ["ca", "cert", "key"].map { SystemFile.text("\(folder)/\($0).pem") }
        guard texts.contains(where: { $0 != nil }) else { return nil }
        guard let root = texts[0], let leaf = texts[1], let key = texts[2] else {
            throw StoreIdentityProblem("one of its files is missing")
        }
        return try StoreIdentity(authorityPEM: root, certificatePEM: leaf, keyPEM: key)
    }

    /// Puts it in the place of what lies in `folder`, all three files at once: whatever happens meanwhile, the old ones
    /// or the new ones are there, on the disk too. Throws `SystemError`.
    func write(_ folder: String) throws(SystemError) {
        let next = "\(folder).new"
        // Left over by one that was broken off.
        try Self.remove(next)
        guard SystemFile.makeDirectory(next) else { throw SystemError("make \(next)", errno: errno) }
        for (name, text) in [("ca", authority.pem), ("cert", certificate.pem), ("key", key)] {
            let line = text.hasSuffix("\n") ? text : text + "\n"
            try SystemFile.replace("\(next)/\(name).pem", content: Array(line.utf8), mode: 0o600)
        }
        let isThere = access(folder, F_OK) == 0
        let code = isThere ? clinux_exchange(next, folder) : (rename(next, folder) == 0 ? 0 : errno)
        guard code == 0 else { throw SystemError("write \(folder)", errno: code) }
        try Self.sync(parentOf: folder)
        if isThere { try Self.remove(next) }
    }

    /// Removes the folder with all that is in it; nothing when it is not there. Throws `SystemError`.
    static func remove(_ folder: String) throws(SystemError) {
        guard access(folder, F_OK) == 0 else { return }
        for name in SystemFile.names(in: folder) { unlink("\(folder)/\(name)") }
        guard rmdir(folder) == 0 else { throw SystemError("remove \(folder)", errno: errno) }
    }

    private static func sync(parentOf folder: String) throws(SystemError) {
        let parent = folder.split(separator: "/", omittingEmptySubsequences: false).dropLast().joined(separator: "/")
        let descriptor = open(parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard descriptor >= 0 else { throw SystemError("sync \(parent)", errno: errno) }
        defer { close(descriptor) }
        guard fsync(descriptor) == 0 else { throw SystemError("sync \(parent)", errno: errno) }
    }

    private static func timestamp(_ date: Date) -> Timestamp {
        Timestamp(millisecondsSinceEpoch: Int64(date.timeIntervalSince1970) * 1000)
    }
}

/// Why a certificate for the store is of no use.
struct StoreIdentityProblem: Error, Hashable {
    /// The cause, after "its certificate for the store:".
    let reason: String

    init(_ reason: String) { self.reason = reason }
}
