/// What keys mean before a console: Ctrl-] begins a word to muster, everything else is the machine's. A pure step.
struct ConsoleKeys: Hashable, Sendable {
    /// The escape key, Ctrl-].
    static let escape: UInt8 = 0x1D
    /// What is told before the first key.
    static let help = "Escape: Ctrl-] then . to leave, ? for help."
    /// What `?` after the escape key tells.
    static let moreHelp = "Ctrl-] then . leaves, Ctrl-] twice sends Ctrl-], Ctrl-] then anything else sends both."

    enum Effect: Hashable {
        case send([UInt8])
        case leave
        case help
    }

    private var isEscaped = false

    /// What the keys of `bytes` do, in their order; nothing comes after `leave`.
    mutating func take(_ bytes: [UInt8]) -> [Effect] {
        var effects: [Effect] = []
        var sent: [UInt8] = []
        func flush() {
            if !sent.isEmpty { effects.append(.send(sent)) }
            sent = []
        }
        for byte in bytes {
            guard isEscaped else {
                if byte == Self.escape { isEscaped = true } else { sent.append(byte) }
                continue
            }
            isEscaped = false
            switch byte {
            case UInt8(ascii: "."):
                flush()
                return effects + [.leave]
            case UInt8(ascii: "?"):
                flush()
                effects.append(.help)
            case Self.escape: sent.append(byte)
            default: sent += [Self.escape, byte]
            }
        }
        flush()
        return effects
    }
}

/// Lets through what a machine may do to a terminal: text, control characters, moving the cursor and colours. Strings to
/// the terminal (titles, clipboard, device control) and what makes it answer by itself are left out. A pure step.
struct ConsoleFilter: Hashable, Sendable {
    /// The longest sequence that is waited for.
    private static let sequenceLengthMax = 64

    private enum State: Hashable {
        case text
        case escape
        case control([UInt8])
        case string
        case stringEscape
    }

    private var state = State.text

    /// What of `bytes` goes to the terminal.
    mutating func take(_ bytes: some Sequence<UInt8>) -> [UInt8] {
        var shown: [UInt8] = []
        for byte in bytes {
            switch state {
            case .text:
                if byte == 0x1B { state = .escape } else if byte != 0x05 { shown.append(byte) }
            case .escape:
                switch byte {
                case UInt8(ascii: "["): state = .control([])
                // OSC, DCS, PM, APC, SOS: until BEL or ST.
                case UInt8(ascii: "]"), UInt8(ascii: "P"), UInt8(ascii: "^"), UInt8(ascii: "_"), UInt8(ascii: "X"):
                    state = .string
                case 0x1B: break
                // DECID makes the terminal answer.
                case UInt8(ascii: "Z"): state = .text
                default:
                    shown += [0x1B, byte]
                    state = .text
                }
            case .control(let before):
                if byte == 0x1B {
                    state = .escape
                } else if (0x40...0x7E).contains(byte) {
                    // Reports of state, attributes, windows and titles are answers that would be typed.
                    if !"ncty".utf8.contains(byte) { shown += [0x1B, UInt8(ascii: "[")] + before + [byte] }
                    state = .text
                } else if (0x20...0x3F).contains(byte), before.count < Self.sequenceLengthMax {
                    state = .control(before + [byte])
                } else {
                    state = .text
                }
            case .string:
                if byte == 0x07 { state = .text } else if byte == 0x1B { state = .stringEscape }
            case .stringEscape: state = byte == UInt8(ascii: "\\") ? .text : .string
            }
        }
        return shown
    }
}
