import Primitives

/// Makes lines of what a serial console sends: escape sequences (ECMA-48) are left out, other control characters are made
/// visible, long lines are cut. A pure step.
struct ConsoleText: Hashable, Sendable {
    /// The most characters of a line.
    static let lineLengthMax = 1000

    private var line: [UInt8] = []
    private var escape = Escape.none

    private enum Escape {
        case none
        /// After ESC.
        case begun
        /// Within CSI: until a final byte.
        case control
        /// Within a string (OSC and the like): until BEL or ESC \.
        case string
        /// Within a string after ESC.
        case stringEnd
    }

    /// The lines that end within `bytes`.
    mutating func take(_ bytes: some Sequence<UInt8>) -> [String] {
        var lines: [String] = []
        for byte in bytes {
            switch escape {
            case .none: break
            case .begun:
                switch byte {
                case UInt8(ascii: "["): escape = .control
                case UInt8(ascii: "]"), UInt8(ascii: "P"), UInt8(ascii: "^"), UInt8(ascii: "_"): escape = .string
                case 0x20...0x2F: break
                default: escape = .none
                }
                continue
            case .control:
                if (0x40...0x7E).contains(byte) || byte == 0x0A { escape = .none }
                continue
            case .string:
                if byte == 0x1B { escape = .stringEnd } else if byte == 0x07 || byte == 0x0A { escape = .none }
                continue
            case .stringEnd:
                escape = .none
                continue
            }
            switch byte {
            case 0x1B: escape = .begun
            case 0x0A: lines.append(end())
            case 0x0D, 0x00, 0x07: break
            case 0x08: if line.last.map({ $0 < 0x80 }) == true { line.removeLast() }
            default:
                line.append(byte)
                if line.count >= Self.lineLengthMax { lines.append(end()) }
            }
        }
        return lines
    }

    /// What stands in the line that has not ended, such as a prompt; nil: nothing.
    mutating func flush() -> String? { line.isEmpty ? nil : end() }

    private mutating func end() -> String {
        defer { line = [] }
        return String(decoding: line, as: UTF8.self).printable(limit: Self.lineLengthMax)
    }
}
