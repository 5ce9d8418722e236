import Primitives

/// One word of the kernel's command line: `name` or `name=value`.
///
/// Only characters that mean nothing to iPXE, GRUB and the kernel's parser are accepted, so that no name of a
/// machine or of a file can add a command to a boot script.
public struct KernelParameter: Hashable, Sendable, CustomStringConvertible {
    /// For example `muster.server`.
    public let name: String
    /// For example `10.77.0.1`; nil for a parameter without `=`.
    public let value: String?

    /// Checks both; throws `InvalidValue` for a blank, quote, control character, `$`, `&`, `|`, `;`, `#` or `\`,
    /// for letters outside ASCII, for a name over 64 and a value over 255 bytes.
    public init(_ name: String, _ value: String? = nil) throws(InvalidValue) {
        guard (1...64).contains(name.utf8.count), name.utf8.allSatisfy(BootText.isNameByte) else {
            throw InvalidValue("kernel parameter name", name, expected: "1 to 64 of A-Z, a-z, 0-9, '.', '_' and '-'")
        }
        if let value, !(value.utf8.count <= 255 && value.utf8.allSatisfy(BootText.isValueByte)) {
            throw InvalidValue(
                "value for the kernel parameter \(name)", value,
                expected: "at most 255 of A-Z, a-z, 0-9 and ._-:,/=+@%~[]; no blanks, quotes or control characters")
        }
        self.name = name
        self.value = value
    }

    private init(unchecked name: String, _ value: String) {
        self.name = name
        self.value = value
    }

    /// A parameter whose value is made of the accepted characters by its type.
    static func trusted(_ name: String, _ value: some CustomStringConvertible) -> KernelParameter {
        KernelParameter(unchecked: name, "\(value)")
    }

    public var description: String { value.map { "\(name)=\($0)" } ?? name }
}

/// The characters that may stand in a boot script.
enum BootText {
    static func isNameByte(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "a")...UInt8(ascii: "z"): true
        case UInt8(ascii: "0")...UInt8(ascii: "9"): true
        case UInt8(ascii: "."), UInt8(ascii: "_"), UInt8(ascii: "-"): true
        default: false
        }
    }

    static func isValueByte(_ byte: UInt8) -> Bool { isNameByte(byte) || Array(":,/=+@%~[]".utf8).contains(byte) }

    static func isQueryByte(_ byte: UInt8) -> Bool { isNameByte(byte) || byte == UInt8(ascii: ":") }
}
