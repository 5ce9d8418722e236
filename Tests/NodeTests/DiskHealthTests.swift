import AgentProtocol
import Primitives
import Testing

@testable import RoleStorage

/// What smartctl says, in the form that version 7 gives it for each sort of disk, cut to what matters here.
@Suite struct DiskHealthTests {
    private static func health(_ text: String) -> DiskHealth { DiskHealth(smartctl: Array(text.utf8)) }

    private static func ata(passed: Bool, _ attributes: [(Int, String, String, Int)]) -> String {
        let table = attributes.map { id, name, failed, raw in
            """
            {"id":\(id),"name":"\(name)","value":100,"worst":100,"thresh":5,"when_failed":"\(failed)",
             "flags":{"value":51,"string":"PO--CK ","prefailure":true},"raw":{"value":\(raw),"string":"\(raw)"}}
            """
        }
        return """
            {"json_format_version":[1,0],"smartctl":{"version":[7,3],"exit_status":0},
             "device":{"name":"/dev/sda","info_name":"/dev/sda [SAT]","type":"sat","protocol":"ATA"},
             "smart_support":{"available":true,"enabled":true},"smart_status":{"passed":\(passed)},
             "ata_smart_attributes":{"revision":16,"table":[\(table.joined(separator: ","))]},
             "power_on_time":{"hours":43549},"temperature":{"current":31}}
            """
    }

    @Test("An ATA disk that is well")
    func ata() {
        let health = Self.health(
            Self.ata(passed: true, [(5, "Reallocated_Sector_Ct", "", 0), (194, "Temperature_Celsius", "", 31)]))
        #expect(health.verdict == .good && health.notes.isEmpty && health.mediaErrors == 0)
        #expect(health.temperature == 31 && health.powerOnHours == 43_549 && health.percentUsed == nil)
    }

    @Test("An ATA disk that is failing: its own word, and the attribute that is below its threshold")
    func ataFailing() {
        let health = Self.health(
            Self.ata(
                passed: false,
                [
                    (5, "Reallocated_Sector_Ct", "now", 1975), (197, "Current_Pending_Sector", "", 8),
                    (190, "Airflow_Temperature_Cel", "past", 40),
                ]))
        #expect(health.verdict == .failing && health.mediaErrors == 1983)
        #expect(
            health.notes == [
                "its own assessment has failed", "Reallocated_Sector_Ct is below its threshold",
                "Reallocated_Sector_Ct is 1975", "Current_Pending_Sector is 8",
            ])
    }

    @Test("Pending sectors alone are told and are no failure")
    func ataPending() {
        let health = Self.health(Self.ata(passed: true, [(197, "Current_Pending_Sector", "", 8)]))
        #expect(health.verdict == .good && health.notes == ["Current_Pending_Sector is 8"])
    }

    private static func nvme(warning: Int, used: Int, errors: Int, passed: Bool = true) -> String {
        """
        {"smartctl":{"version":[7,3],"exit_status":0},"device":{"name":"/dev/nvme0","type":"nvme","protocol":"NVMe"},
         "smart_support":{"available":true,"enabled":true},
         "smart_status":{"passed":\(passed),"nvme":{"value":\(warning)}},
         "nvme_smart_health_information_log":{"critical_warning":\(warning),"temperature":35,"available_spare":99,
           "available_spare_threshold":10,"percentage_used":\(used),"data_units_read":17176794,
           "media_errors":\(errors),"num_err_log_entries":62,"temperature_sensors":[35,39]},
         "temperature":{"current":35},"power_on_time":{"hours":12798}}
        """
    }

    @Test("NVMe disks: well, worn out, failing")
    func nvme() {
        let good = Self.health(Self.nvme(warning: 0, used: 3, errors: 0))
        #expect(good.verdict == .good && good.notes.isEmpty && good.percentUsed == 3 && good.temperature == 35)
        let worn = Self.health(Self.nvme(warning: 0, used: 104, errors: 7))
        #expect(worn.verdict == .good && worn.mediaErrors == 7)
        #expect(worn.notes == ["104 % of its written life is used", "7 media errors"])
        let failing = Self.health(Self.nvme(warning: 0b1001, used: 3, errors: 0, passed: false))
        #expect(failing.verdict == .failing)
        #expect(
            failing.notes == [
                "its own assessment has failed", "its spare blocks are below the threshold", "its medium is read-only",
            ])
    }

    @Test("SCSI disks: grown defects and uncorrected errors are told")
    func scsi() {
        let health = Self.health(
            """
            {"device":{"name":"/dev/sdg","type":"scsi","protocol":"SCSI"},"smart_status":{"passed":true},
             "temperature":{"current":34,"drive_trip":68},"scsi_grown_defect_list":56,
             "power_on_time":{"hours":43549,"minutes":33},
             "scsi_error_counter_log":{
               "read":{"total_errors_corrected":300357663,"gigabytes_processed":"176987.332","total_uncorrected_errors":2},
               "write":{"total_errors_corrected":0,"gigabytes_processed":"86472.611","total_uncorrected_errors":0}}}
            """)
        #expect(health.verdict == .good && health.mediaErrors == 56 && health.temperature == 34)
        #expect(health.notes == ["56 grown defects", "2 uncorrected read errors"])
    }

    @Test("A disk without SMART is none of these, an answer that is none is unknown")
    func without() {
        let virtio = Self.health(
            """
            {"json_format_version":[1,0],"smartctl":{"version":[7,3],"messages":
              [{"string":"/dev/vda: Unable to detect device type","severity":"error"}],"exit_status":1}}
            """)
        #expect(virtio == DiskHealth(verdict: .none))
        let virtual = Self.health(
            #"{"device":{"type":"scsi"},"smart_support":{"available":false},"smartctl":{"exit_status":4}}"#)
        #expect(virtual.verdict == .none)
        #expect(Self.health(#"{"smart_support":false}"#).verdict == .none)
        let asleep = Self.health(
            #"{"smartctl":{"messages":[{"string":"Device is in STANDBY mode","severity":"information"}]}}"#)
        #expect(asleep.verdict == .unknown && asleep.notes == ["Device is in STANDBY mode"])
        #expect(Self.health("").verdict == .unknown && Self.health("no JSON").notes.count == 1)
    }

    @Test("Any damage is read to an end")
    func damaged() {
        var random = SeededRandom(seed: 5)
        let bytes = Array(Self.nvme(warning: 9, used: 3, errors: 1).utf8)
        for _ in 0..<300 {
            var copy = bytes
            for _ in 0..<3 {
                copy[Int.random(in: 0..<copy.count, using: &random)] = .random(in: 0...255, using: &random)
            }
            #expect(DiskHealth(smartctl: copy).notes.count <= 8)
        }
    }

    @Test("smartctl itself, asked about what is no disk")
    func program() {
        #expect(DiskHealth.ask("/dev/null").verdict != .good)
        #expect(DiskHealth.ask("/dev/null", program: "/nowhere/smartctl").notes.first?.contains("smartctl") == true)
    }
}
