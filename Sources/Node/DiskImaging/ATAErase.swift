import LinuxSystem
import Primitives
import ProgramRuns

/// What an ATA disk says of its own means to erase itself, as `hdparm -I` tells (ACS-4, SECURITY and SANITIZE feature
/// sets).
struct ATASecurity: Hashable, Sendable {
    /// Whether the disk has passwords and SECURITY ERASE UNIT.
    var isSupported = false
    /// Whether somebody has set a password.
    var isEnabled = false
    /// Whether it gives no data until it is told the password.
    var isLocked = false
    /// Whether the firmware has forbidden changes until the next power cycle.
    var isFrozen = false
    /// Whether it can erase with the manufacturer's pattern, spare blocks included.
    var hasEnhancedErase = false
    /// How long the disk says that takes, in minutes, plain and enhanced; nil: it does not say.
    var minutes: Int?
    var enhancedMinutes: Int?

    /// Reads the section `Security:` of `hdparm -I`; nil when there is none, as for disks that are not ATA.
    init?(hdparm text: String) {
        let lines = text.split(whereSeparator: \.isNewline)
        guard let start = lines.firstIndex(where: { $0.hasPrefix("Security:") }) else { return nil }
        for line in lines[(start + 1)...] {
            // The section ends with the first line that is not indented.
            guard let first = line.first, first == "\t" || first == " " else { break }
            let words = line.split { $0 == "\t" || $0 == " " }.map(String.init)
            switch words {
            case ["supported"]: isSupported = true
            case ["enabled"]: isEnabled = true
            case ["locked"]: isLocked = true
            case ["frozen"]: isFrozen = true
            case ["supported:", "enhanced", "erase"]: hasEnhancedErase = true
            default: break
            }
            for (index, word) in words.enumerated() where word.hasSuffix("min") && index + 2 < words.count {
                let number = Int(word.dropLast(3))
                if words[index + 2] == "SECURITY" { minutes = number }
                if words[index + 2] == "ENHANCED" { enhancedMinutes = number }
            }
        }
    }

    /// How the disk is to be erased; throws `DiskError.cannotErase` with why not and what to do.
    func plan(path: String) throws(DiskError) -> (isEnhanced: Bool, limit: Duration) {
        let otherwise = "choose the method 'overwrite'"
        guard isSupported else { throw .cannotErase(path: path, why: "it has no SECURITY ERASE UNIT; \(otherwise)") }
        guard !isLocked else {
            throw .cannotErase(
                path: path, why: "it is locked by a password that nobody here knows; unlock it or replace it")
        }
        guard !isEnabled else {
            throw .cannotErase(path: path, why: "somebody has set a password on it; take that away, or \(otherwise)")
        }
        guard !isFrozen else {
            throw .cannotErase(
                path: path,
                why:
                    "the machine's firmware has frozen it until the next power cycle of the disk; unplug and plug it, change "
                    + "the firmware's settings, or \(otherwise)")
        }
        let told = hasEnhancedErase ? enhancedMinutes ?? minutes : minutes
        // Disks that tell 508 minutes mean "that or more" (ACS-4, word 89).
        let minutes = told.map { $0 >= 508 ? 3 * 1440 : $0 * 2 + 10 } ?? 3 * 1440
        return (hasEnhancedErase, .seconds(minutes * 60))
    }
}

/// Has an ATA disk erase itself. Not proved on hardware: no emulator has the SECURITY feature set.
struct ATAErase: Sendable {
    /// The password that the protocol asks for; the erasure takes it away again.
    static let password = "muster"
    static let program = "/sbin/hdparm"

    /// How a program ended, and all that it wrote.
    struct Outcome: Sendable, Hashable {
        var status: Int32
        var output: String
    }

    /// Runs a program to its end.
    var run: @Sendable (_ program: String, _ arguments: [String], _ limit: Duration) throws(SystemError) -> Outcome =
        { (program, arguments, limit) throws(SystemError) in
            let outcome = try ProgramRun(program, arguments, patience: limit, outputMax: 1 << 20).outcome()
            return Outcome(
                status: outcome.status, output: String(decoding: outcome.output + outcome.errors, as: UTF8.self))
        }

    /// Erases the disk at `path`; returns whether spare blocks were erased too. Throws `DiskError`; a password that was set
    /// for it is taken away again where the disk lets that.
    func erase(_ path: String) throws(DiskError) -> Bool {
        let before = try security(path)
        let plan = try before.plan(path: path)
        try hdparm(["--user-master", "u", "--security-set-pass", Self.password, path], path)
        let order = plan.isEnhanced ? "--security-erase-enhanced" : "--security-erase"
        do throws(DiskError) {
            try hdparm(["--user-master", "u", order, Self.password, path], path, limit: plan.limit)
            guard try !security(path).isEnabled else {
                throw .cannotErase(path: path, why: "it still has the password that its erasure should have taken away")
            }
        } catch {
            _ = try? hdparm(["--user-master", "u", "--security-disable", Self.password, path], path)
            throw error
        }
        return plan.isEnhanced
    }

    private func security(_ path: String) throws(DiskError) -> ATASecurity {
        let text = try hdparm(["-I", path], path)
        guard let security = ATASecurity(hdparm: text) else {
            throw .cannotErase(
                path: path, why: "it is no ATA disk with a SECURITY feature set; choose the method 'overwrite'")
        }
        return security
    }

    @discardableResult
    private func hdparm(
        _ arguments: [String], _ path: String, limit: Duration = .seconds(60)
    ) throws(DiskError) -> String {
        let outcome: Outcome
        do throws(SystemError) { outcome = try run(Self.program, arguments, limit) } catch {
            throw .cannotErase(path: path, why: error.publicMessage)
        }
        // hdparm ends with 0 in spite of some errors of the disk, which it tells of.
        guard outcome.status == 0, !outcome.output.contains("SG_IO: bad/missing sense data") else {
            throw .cannotErase(path: path, why: "hdparm: \(outcome.output.printable(limit: 200))")
        }
        return outcome.output
    }
}
