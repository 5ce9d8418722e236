import AgentProtocol
import FoundationEssentials
import LinuxSystem
import Primitives

/// The members that this role has made or begun to make, with what tells their disks apart when these are gone; a file
/// on the state partition, written before the disk is.
struct MemberClaims: Codable, Hashable, Sendable {
    /// The most that are kept.
    static let countMax = 4096

    /// The disks, by the identifier of the physical volume.
    var members: [MemberID: Claim] = [:]

    /// A disk when it was taken.
    struct Claim: Codable, Hashable, Sendable {
        var serial: String?
        var model: String?
    }

    /// Those at `path`; none when there is no such file or it is damaged, which makes nothing worse than a member that
    /// was interrupted half-way being refused by name.
    static func load(_ path: String) -> MemberClaims {
        guard let bytes = SystemFile.bytes(path, limit: 1 << 20) else { return MemberClaims() }
        return (try? JSONDecoder().decode(MemberClaims.self, from: Data(bytes))) ?? MemberClaims()
    }

    /// Writes them to `path`.
    func store(_ path: String) throws(SystemError) {
        guard let data = try? JSONEncoder().encode(self) else { return }
        try SystemFile.replace(path, content: Array(data), mode: 0o600)
    }
}
