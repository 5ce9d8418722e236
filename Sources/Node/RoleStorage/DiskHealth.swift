import AgentProtocol
import FoundationEssentials
import LinuxSystem
import Primitives
import ProgramRuns

/// What a disk says of itself, from smartctl's JSON (smartmontools 7).
struct DiskHealth: Hashable, Sendable {
    var verdict = StorageFacts.Health.unknown
    /// Why it is failing, or worth looking at; a phrase each.
    var notes: [String] = []
    /// Degrees Celsius.
    var temperature: Int?
    var powerOnHours: Int?
    /// Per cent of its written life (NVMe).
    var percentUsed: Int?
    /// Sectors or errors that the medium has lost: reallocated and pending sectors, media errors, grown defects.
    var mediaErrors: UInt64?
}

extension DiskHealth {
    /// Reads the JSON of `smartctl --json --info --health --attributes`; any bytes give an answer.
    ///
    /// A device without SMART (virtio, most virtual disks) is `none`, what cannot be understood `unknown`.
    init(smartctl bytes: [UInt8]) {
        guard let document = try? JSONDecoder().decode(Document.self, from: Data(bytes)) else {
            notes = ["smartctl's answer cannot be read"]
            return
        }
        temperature = document.temperature?.current
        powerOnHours = document.power_on_time?.hours
        guard let passed = document.smart_status?.passed else {
            let isWithout = document.smart_support?.available == false || document.isUnknownDevice
            verdict = isWithout ? .none : .unknown
            if !isWithout { notes = [document.smartctl?.messages?.first?.string ?? "it does not tell its health"] }
            return
        }
        verdict = .good
        if !passed { fail("its own assessment has failed") }
        if let table = document.ata_smart_attributes?.table { read(table) }
        if let log = document.nvme_smart_health_information_log { read(log) }
        readSCSI(document)
        notes = Array(notes.prefix(8))
    }

    private mutating func fail(_ note: String) {
        verdict = .failing
        notes.append(note)
    }

    private mutating func read(_ table: [Document.Attribute]) {
        var lost: UInt64 = 0
        for attribute in table {
            if attribute.when_failed == "now" { fail("\(attribute.name.printable(limit: 40)) is below its threshold") }
            // 5: reallocated, 197: pending, 198: uncorrectable sectors.
            guard [5, 197, 198].contains(attribute.id), let count = attribute.raw?.value, count > 0 else { continue }
            // The upper bytes of the raw value hold other things with some vendors.
            let sectors = count & 0xFFFF_FFFF
            lost += sectors
            if sectors > 0 { notes.append("\(attribute.name.printable(limit: 40)) is \(sectors)") }
        }
        mediaErrors = lost
    }

    private mutating func read(_ log: Document.NVMeLog) {
        // NVM Express base specification, SMART / health information log, critical warning.
        let warnings = [
            "its spare blocks are below the threshold", "its temperature is out of bounds",
            "its reliability is degraded", "its medium is read-only", "its volatile memory backup has failed",
            "its persistent memory region is read-only",
        ]
        for (bit, text) in warnings.enumerated() where (log.critical_warning ?? 0) & (1 << bit) != 0 { fail(text) }
        percentUsed = log.percentage_used
        mediaErrors = log.media_errors
        if let used = log.percentage_used, used >= 100 { notes.append("\(used) % of its written life is used") }
        if let errors = log.media_errors, errors > 0 { notes.append("\(errors) media errors") }
    }

    private mutating func readSCSI(_ document: Document) {
        if let defects = document.scsi_grown_defect_list {
            mediaErrors = defects
            if defects > 0 { notes.append("\(defects) grown defects") }
        }
        let counters = document.scsi_error_counter_log
        for (name, counter) in [
            ("read", counters?.read), ("write", counters?.write), ("verify", counters?.verify),
        ] {
            guard let errors = counter?.total_uncorrected_errors, errors > 0 else { continue }
            notes.append("\(errors) uncorrected \(name) errors")
        }
    }

    /// Asks the disk at `path`; a disk in standby is not woken.
    static func ask(_ path: String, program: String = "/usr/sbin/smartctl") -> DiskHealth {
        let arguments = ["--json=c", "--info", "--health", "--attributes", "--nocheck=standby", path]
        do {
            return DiskHealth(
                smartctl: try ProgramRun(program, arguments, patience: .seconds(15), outputMax: 1 << 20).run().output
            )
        } catch {
            return DiskHealth(notes: [error.publicMessage])
        }
    }
}

private struct Document: Decodable {
    var smartctl: Program?
    var smart_support: Support?
    var smart_status: Status?
    var temperature: Temperature?
    var power_on_time: PowerOnTime?
    var ata_smart_attributes: Attributes?
    var nvme_smart_health_information_log: NVMeLog?
    var scsi_grown_defect_list: UInt64?
    var scsi_error_counter_log: Counters?

    var isUnknownDevice: Bool {
        smartctl?.messages?.contains { $0.string.contains("Unable to detect device type") } == true
    }

    struct Program: Decodable {
        var messages: [Message]?
        struct Message: Decodable { var string: String }
    }
    /// An object, or with some versions of smartctl a plain truth.
    struct Support: Decodable {
        var available: Bool?

        init(from decoder: any Decoder) throws {
            if let plain = try? decoder.singleValueContainer().decode(Bool.self) {
                available = plain
            } else {
                available = try decoder.container(keyedBy: Keys.self).decodeIfPresent(Bool.self, forKey: .available)
            }
        }

        enum Keys: CodingKey { case available }
    }
    struct Status: Decodable { var passed: Bool? }
    struct Temperature: Decodable { var current: Int? }
    struct PowerOnTime: Decodable { var hours: Int? }
    struct Attributes: Decodable { var table: [Attribute] }
    struct Attribute: Decodable {
        var id: Int
        var name: String
        var when_failed: String?
        var raw: Raw?
        struct Raw: Decodable { var value: UInt64? }
    }
    struct NVMeLog: Decodable {
        var critical_warning: Int?
        var percentage_used: Int?
        var media_errors: UInt64?
    }
    struct Counters: Decodable {
        var read, write, verify: Counter?
        struct Counter: Decodable { var total_uncorrected_errors: UInt64? }
    }
}
