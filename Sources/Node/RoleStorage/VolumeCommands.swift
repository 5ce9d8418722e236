import AgentProtocol
import HardwareInventory
import LinuxSystem
import Primitives
import ProgramRuns

/// Runs lvm2's commands.
///
/// They are never told to answer questions with yes: what LVM asks about (a signature, a used disk) is left alone.
struct VolumeCommands: Sendable {
    /// The program.
    var program = "/usr/sbin/lvm"
    /// Where LVM keeps copies of its metadata.
    var backups: String
    /// Tells the only devices to look at; nil: all.
    var devices: (@Sendable () -> [String])?
    /// Whether device mapper can be used; without it no volume is activated.
    var hasDeviceMapper = true

    /// The volume groups and physical volumes of this machine.
    func report() throws(SystemError) -> VolumeReport {
        func rows(_ command: String, _ fields: String) throws(SystemError) -> [UInt8] {
            try run(
                command, ["--reportformat", "json", "--units", "b", "--nosuffix", "--options", fields], "look for pools"
            )
        }
        return try VolumeReport(
            groups: rows("vgs", VolumeReport.groupFields), members: rows("pvs", VolumeReport.memberFields))
    }

    /// Carries one step out. Throws `SystemError` with LVM's own words.
    func execute(_ step: StorageStep) throws(SystemError) {
        switch step {
        case .makeMember(let disk, let uuid):
            try run("pvcreate", ["--uuid", uuid, "--norestorefile", disk.path], "take \(StoragePlan.name(disk))")
        case .createPool(let name, let tags, let paths):
            try run("vgcreate", tags.flatMap { ["--addtag", $0] } + [name] + paths, "make the pool \(name)")
        case .extendPool(let name, let paths):
            try run("vgextend", [name] + paths, "extend the pool \(name)")
        }
    }

    @discardableResult
    private func run(_ command: String, _ arguments: [String], _ action: String) throws(SystemError) -> [UInt8] {
        let config =
            "backup { backup=1 archive=1 retain_days=30 backup_dir=\"\(backups)/backup\" archive_dir=\"\(backups)/archive\" }"
        var words = [command, "--config", config]
        if let devices { words += ["--devices", devices().joined(separator: ",")] }
        if !hasDeviceMapper { words += ["--driverloaded", "n"] }
        let outcome = try ProgramRun(
            program, words + arguments, variables: ["LVM_SUPPRESS_FD_WARNINGS": "1"], patience: .seconds(40)
        ).outcome()
        guard outcome.status == 0 else { throw SystemError(action, errno: 0, detail: outcome.words) }
        return outcome.output
    }
}
