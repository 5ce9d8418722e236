import ControlPlaneBed
import FoundationEssentials
import Glibc

/// This program.
enum Program {
    static var path: String {
        (try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe")) ?? CommandLine.arguments[0]
    }

    static var folder: String { String(path[..<(path.lastIndex(of: "/") ?? path.startIndex)]) }
}

/// Prints a line at once, also into a file or a pipe.
func say(_ line: String) {
    let bytes = Array((line + "\n").utf8)
    _ = bytes.withUnsafeBytes { Glibc.write(STDOUT_FILENO, $0.baseAddress, $0.count) }
}

/// A bed's state for people.
enum StatusTable {
    static func text(_ status: Bed.Status) -> String {
        let newest = status.controllers.compactMap(\.storeRevision).max() ?? 0
        var rows = [["CONTROLLER", "ADDRESS", "RUNS", "ETCD", "CONDUCTOR", "BEHIND", "VIP", "AGENTS", "MIB"]]
        for controller in status.controllers {
            let behind = controller.shownRevision.map { "\(max(0, newest - $0))" }
            rows.append([
                controller.name, controller.address, controller.running.map(\.rawValue).joined(separator: ","),
                controller.storeRevision == nil ? "silent" : controller.leadsStore ? "leader" : "follower",
                controller.shownRevision == nil ? "silent" : controller.leads ? "leader" : "follower",
                behind.map { "\($0) revisions" } ?? "-", controller.hasAddress ? "here" : "",
                status.agents?.streams[controller.name].map { "\($0)" } ?? "-",
                controller.memory.sorted { $0.key < $1.key }.map { "\($0.key) \($0.value)" }.joined(separator: " "),
            ])
        }
        let widths = rows[0].indices.map { column in rows.map { $0[column].count }.max() ?? 0 }
        var lines = rows.map { row in
            zip(row, widths).map { $0 + String(repeating: " ", count: $1 - $0.count) }.joined(separator: "  ")
        }
        if let agents = status.agents {
            lines.append(
                "Of \(agents.wanted) nodes the catalog has \(agents.open) connected, \(agents.unknown) unknown, "
                    + "\(agents.gone) gone.")
        }
        return lines.joined(separator: "\n")
    }
}
