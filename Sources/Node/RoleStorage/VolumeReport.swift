import FoundationEssentials
import LinuxSystem
import Primitives

/// A volume group, as `vgs` reports it.
struct VolumeGroup: Hashable, Sendable {
    var uuid: String
    var name: String
    var tags: [String]
    var size: ByteCount
    var free: ByteCount
}

/// A physical volume, as `pvs` reports it.
struct PhysicalVolume: Hashable, Sendable {
    var uuid: MemberID
    /// `/dev/vdb`; `[unknown]` when it is missing.
    var path: String
    /// nil: it is in no group.
    var groupUUID: String?
    var groupName: String?
    var size: ByteCount
    var isMissing: Bool
}

/// What LVM knows of this machine.
struct VolumeReport: Hashable, Sendable {
    var groups: [VolumeGroup] = []
    var members: [PhysicalVolume] = []
}

extension VolumeReport {
    /// The fields that are asked for.
    static let groupFields = "vg_uuid,vg_name,vg_tags,vg_size,vg_free"
    static let memberFields = "pv_uuid,pv_name,vg_uuid,vg_name,pv_size,dev_size,pv_missing"

    /// Reads the JSON of `vgs` and `pvs` (lvmreport(7), `--reportformat json --units b --nosuffix`).
    init(groups: [UInt8], members: [UInt8]) throws(SystemError) {
        do {
            let vgs = try JSONDecoder().decode(GroupDocument.self, from: Data(groups))
            let pvs = try JSONDecoder().decode(MemberDocument.self, from: Data(members))
            self.groups = vgs.report.flatMap(\.vg).map { row in
                VolumeGroup(
                    uuid: row.vg_uuid, name: row.vg_name,
                    tags: row.vg_tags.split(separator: ",").map(String.init), size: Self.bytes(row.vg_size),
                    free: Self.bytes(row.vg_free))
            }
            self.members = pvs.report.flatMap(\.pv).filter { !$0.pv_uuid.isEmpty }.map { row in
                PhysicalVolume(
                    uuid: row.pv_uuid, path: row.pv_name, groupUUID: row.vg_uuid.isEmpty ? nil : row.vg_uuid,
                    groupName: row.vg_name.isEmpty ? nil : row.vg_name,
                    size: max(Self.bytes(row.dev_size), Self.bytes(row.pv_size)), isMissing: !row.pv_missing.isEmpty)
            }
        } catch {
            throw SystemError("read LVM's report", errno: 0, detail: "\(error)")
        }
    }

    private static func bytes(_ text: String) -> ByteCount { ByteCount(bytes: UInt64(text) ?? 0) }

    private struct GroupDocument: Decodable {
        var report: [Report]
        struct Report: Decodable { var vg: [Row] }
        struct Row: Decodable {
            var vg_uuid, vg_name, vg_tags, vg_size, vg_free: String
        }
    }

    private struct MemberDocument: Decodable {
        var report: [Report]
        struct Report: Decodable { var pv: [Row] }
        struct Row: Decodable {
            var pv_uuid, pv_name, vg_uuid, vg_name, pv_size, dev_size, pv_missing: String
        }
    }
}
