import LinuxSystem
import ProgramRuns
import Primitives

/// Makes the kernel follow files of systemd-networkd that have changed.
public protocol NetworkControl: Sendable {
    /// Takes devices away and has the rest made; throws what can be shown to people.
    func follow(_ change: NetworkChange) throws
}

/// systemd-networkd itself.
public struct SystemdNetworkControl: NetworkControl {
    /// The longest that it may take to answer.
    static let patience: Duration = .seconds(30)

    /// systemd-networkd as the image has it.
    public init() {}

    public func follow(_ change: NetworkChange) throws {
        if !change.removed.isEmpty {
            let netlink = try Netlink()
            let kinds: Set<String?> = ["bond", "vlan"]
            let links = try netlink.links()
            // VLANs before what they stand on; taking that away takes them along.
            for link in links.filter({ change.removed.contains($0.name) && kinds.contains($0.kind) })
                .sorted(by: { $0.index > $1.index })
            {
                try? netlink.delete(index: link.index)
            }
        }
        // A reload makes new devices, but none anew of a file that was there before: that takes a restart, which takes
        // the members of every bond down and up.
        if !change.isRemade {
            try Self.run("/usr/bin/networkctl", ["reload"])
        } else {
            try Self.run("/usr/bin/systemctl", ["restart", "systemd-networkd.service"])
        }
    }

    private static func run(_ path: String, _ arguments: [String]) throws {
        let outcome = try ProgramRun(path, arguments, patience: patience).outcome()
        guard outcome.status == 0 else {
            throw SystemError(
                "run \(([path] + arguments).joined(separator: " "))", errno: 0,
                detail: outcome.words.isEmpty ? "it ended with \(outcome.status)" : outcome.words)
        }
    }
}
