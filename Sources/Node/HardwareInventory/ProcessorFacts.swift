import AgentProtocol
import LinuxSystem
import Primitives

/// Reads what /proc/cpuinfo says.
enum ProcessorFacts {
    /// What placement and virtualization ask for.
    private static let wanted: Set<String> = [
        "vmx", "svm", "lm", "nx", "aes", "avx", "avx2", "avx512f", "sse4_1", "sse4_2", "ssse3", "popcnt", "rdrand",
        "sha_ni", "pdpe1gb", "ept", "npt", "smep", "smap", "hypervisor", "constant_tsc", "nonstop_tsc", "tdx_guest",
        "sev", "sev_es", "sme",
    ]

    /// The processors that `cpuinfo` lists, on the instruction set `architecture`.
    static func parse(_ cpuinfo: String, architecture: String) -> InventoryReport.CPU {
        var first: [Substring: Substring] = [:]
        var sockets: Set<Substring> = []
        var cores: Set<String> = []
        var threads = 0
        var socket: Substring = "0"
        for line in cpuinfo.split(separator: "\n") {
            let parts = line.split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false)
            guard parts.count == 2 else { continue }
            let name = parts[0].trimmed
            let value = parts[1].trimmed
            switch name {
            case "processor": threads += 1
            case "physical id":
                socket = value
                sockets.insert(value)
            case "core id": cores.insert("\(socket)/\(value)")
            default: break
            }
            if first[name] == nil { first[name] = value }
        }
        let flags = (first["flags"] ?? "").split(separator: " ").map(String.init)
        return InventoryReport.CPU(
            model: first["model name"].map(String.init), vendor: first["vendor_id"].map(String.init),
            architecture: architecture, sockets: max(1, sockets.count), cores: cores.isEmpty ? threads : cores.count,
            threads: threads, flags: flags.filter { wanted.contains($0) }.sorted())
    }
}

extension Substring {
    /// Without blanks around it.
    var trimmed: Substring {
        let rest = drop { $0 == " " || $0 == "\t" }
        guard let last = rest.lastIndex(where: { $0 != " " && $0 != "\t" }) else { return "" }
        return rest[...last]
    }
}
