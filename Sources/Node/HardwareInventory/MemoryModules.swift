import AgentProtocol
import Primitives

/// Reads the memory modules from the table of SMBIOS structures (DSP0134 section 7.18, type 17).
public enum MemoryModules {
    private static let memoryDevice: UInt8 = 17
    private static let endOfTable: UInt8 = 127

    /// The modules that `table` names, without empty slots; total over any bytes.
    public static func parse(_ table: [UInt8]) -> [InventoryReport.Memory.Module] {
        var modules: [InventoryReport.Memory.Module] = []
        var at = 0
        while at + 4 <= table.count, modules.count < InventoryReport.Limit.memoryModules {
            let length = Int(table[at + 1])
            guard length >= 4, at + length <= table.count, table[at] != endOfTable else { break }
            let (strings, next) = readStrings(table, from: at + length)
            if table[at] == memoryDevice, let module = module(Array(table[at..<(at + length)]), strings) {
                modules.append(module)
            }
            at = next
        }
        return modules
    }

    private static func module(_ body: [UInt8], _ strings: [String]) -> InventoryReport.Memory.Module? {
        guard body.count >= 0x15 else { return nil }
        func word(_ offset: Int) -> Int {
            offset + 2 <= body.count ? Int(body[offset]) | Int(body[offset + 1]) << 8 : 0
        }
        func text(_ offset: Int) -> String? {
            guard offset < body.count, body[offset] > 0, Int(body[offset]) <= strings.count else { return nil }
            return strings[Int(body[offset]) - 1]
        }
        let size = word(0x0C)
        let bytes: UInt64
        switch size {
        case 0, 0xFFFF: return nil
        case 0x7FFF where body.count >= 0x20:
            bytes = UInt64(word(0x1C) | (word(0x1E) & 0x7FFF) << 16) << 20
        case 0x8000...: bytes = UInt64(size & 0x7FFF) << 10
        default: bytes = UInt64(size) << 20
        }
        let speed = word(0x15)
        return InventoryReport.Memory.Module(
            slot: text(0x10) ?? "unnamed", size: ByteCount(bytes: bytes), speed: speed > 0 ? speed : nil,
            serial: text(0x18))
    }

    /// The strings behind a structure, and where the next structure begins.
    private static func readStrings(_ table: [UInt8], from start: Int) -> ([String], Int) {
        var strings: [String] = []
        var at = start
        while at < table.count, table[at] != 0 {
            let end = table[at...].firstIndex(of: 0) ?? table.count
            strings.append(String(decoding: table[at..<end], as: UTF8.self))
            at = end + 1
        }
        return (strings, strings.isEmpty ? start + 2 : at + 1)
    }
}
