import Glibc

/// A standard stream that is written at once, whole or not at all.
enum FileHandleText: Int32 {
    case standardOutput = 1
    case standardError = 2

    /// Nobody reads any more, or the disk is full.
    struct Closed: Error {}

    func write(_ text: String) throws { try write(Array(text.utf8)) }

    func write(_ bytes: [UInt8]) throws {
        var rest = bytes[...]
        while !rest.isEmpty {
            let count = rest.withUnsafeBytes { Glibc.write(rawValue, $0.baseAddress, $0.count) }
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { throw Closed() }
            rest = rest.dropFirst(count)
        }
    }
}

/// Columns that are as wide as their widest cell.
func table(_ rows: [[String]]) -> String {
    let count = rows.map(\.count).max() ?? 0
    let widths = (0..<count).map { column in rows.map { $0.count > column ? $0[column].count : 0 }.max() ?? 0 }
    return rows.map { row in
        let cells = row.enumerated().map { index, cell in
            index == row.count - 1 ? cell : cell + String(repeating: " ", count: widths[index] - cell.count)
        }
        return cells.joined(separator: "  ") + "\n"
    }.joined()
}
