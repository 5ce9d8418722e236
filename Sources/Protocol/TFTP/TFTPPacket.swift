import Primitives
import WireCoding

/// A TFTP message (RFC 1350, with the options of RFC 2347).
public enum TFTPPacket: Hashable, Sendable {
    /// Opcode 1: a client wants a file.
    case readRequest(TFTPRequest)
    /// Opcode 2: a client wants to store a file.
    case writeRequest(TFTPRequest)
    /// Opcode 3: a block of a file; one shorter than the block size is the last.
    case data(block: UInt16, [UInt8])
    /// Opcode 4: all blocks up to this one have arrived.
    case acknowledge(block: UInt16)
    /// Opcode 5: the transfer is over.
    case error(TFTPErrorCode, String)
    /// Opcode 6: the options that the server accepts.
    case optionAcknowledge([TFTPOption])

    /// The most bytes of a message: a block of the largest size with its header.
    public static let sizeMax = 4 + TFTPOption.blockSizeRange.upperBound
    /// The most bytes of a request (RFC 2347).
    public static let requestSizeMax = 512

    /// Reads a message; throws `WireError` for anything that is none, with what is wrong.
    public init(decoding bytes: [UInt8]) throws(WireError) {
        guard bytes.count <= Self.sizeMax else { throw WireError(offset: 0, .tooLong(limit: Self.sizeMax)) }
        var reader = ByteReader(bytes)
        switch try reader.readUInt16() {
        case 1: self = .readRequest(try TFTPRequest(&reader))
        case 2: self = .writeRequest(try TFTPRequest(&reader))
        case 3: self = .data(block: try reader.readUInt16(), Array(reader.rest()))
        case 4:
            // Some clients pad acknowledgements; what follows the number means nothing.
            self = .acknowledge(block: try reader.readUInt16())
        case 5:
            let code = TFTPErrorCode(rawValue: try reader.readUInt16())
            self = .error(code, String(decoding: reader.rest().prefix { $0 != 0 }.prefix(512), as: UTF8.self))
        case 6: self = .optionAcknowledge(try TFTPOption.list(&reader))
        case let opcode: throw WireError(offset: 0, .invalid("there is no TFTP opcode \(opcode)"))
        }
    }

    /// The message's bytes. Texts are cut at their first zero byte, and an error's text to 255 bytes.
    public var encoded: [UInt8] {
        switch self {
        case .readRequest(let request): Self.number(1) + request.encoded
        case .writeRequest(let request): Self.number(2) + request.encoded
        case .data(let block, let bytes): Self.number(3) + Self.number(block) + bytes
        case .acknowledge(let block): Self.number(4) + Self.number(block)
        case .error(let code, let text): Self.number(5) + Self.number(code.rawValue) + Self.text(text)
        case .optionAcknowledge(let options):
            Self.number(6) + options.flatMap { Self.text($0.name) + Self.text($0.value) }
        }
    }

    private static func number(_ number: UInt16) -> [UInt8] { [UInt8(number >> 8), UInt8(number & 0xFF)] }

    static func text(_ text: String) -> [UInt8] { Array(text.utf8.prefix { $0 != 0 }.prefix(255)) + [0] }
}

/// Why a transfer ended (RFC 1350 section "Error Codes", RFC 2347).
public struct TFTPErrorCode: RawRepresentable, Hashable, Sendable {
    public var rawValue: UInt16

    public init(rawValue: UInt16) { self.rawValue = rawValue }

    /// See the text.
    public static let undefined = Self(rawValue: 0)
    /// There is no such file.
    public static let fileNotFound = Self(rawValue: 1)
    /// It may not be read or written.
    public static let accessViolation = Self(rawValue: 2)
    /// The operation is not allowed.
    public static let illegalOperation = Self(rawValue: 4)
    /// The options cannot be agreed on.
    public static let optionsRefused = Self(rawValue: 8)
}

/// What a client asks for.
public struct TFTPRequest: Hashable, Sendable {
    /// The file's name as it was sent, 1 to 255 bytes.
    public var fileName: String
    /// `octet`, `netascii` or `mail`, in lower case.
    public var mode: String
    /// In the order of the request.
    public var options: [TFTPOption]

    /// A request.
    public init(fileName: String, mode: String = "octet", options: [TFTPOption] = []) {
        self.fileName = fileName
        self.mode = mode
        self.options = options
    }

    init(_ reader: inout ByteReader) throws(WireError) {
        guard reader.remaining <= TFTPPacket.requestSizeMax - 2 else {
            throw WireError(offset: 0, .tooLong(limit: TFTPPacket.requestSizeMax))
        }
        fileName = try reader.terminatedText()
        guard !fileName.isEmpty else { throw WireError(offset: reader.offset, .invalid("the file's name is empty")) }
        mode = try reader.terminatedText().lowercasedASCII
        options = try TFTPOption.list(&reader)
    }

    var encoded: [UInt8] {
        TFTPPacket.text(fileName) + TFTPPacket.text(mode)
            + options.flatMap { TFTPPacket.text($0.name) + TFTPPacket.text($0.value) }
    }

    /// The name without what only separates: `\` is `/`; empty and `.` parts go. Nil when it leads upwards.
    public var path: String? {
        let parts = fileName.replacing("\\", with: "/").split(separator: "/").filter { $0 != "." }
        return parts.isEmpty || parts.contains("..") ? nil : parts.joined(separator: "/")
    }
}

/// A named value of a request or of its answer (RFC 2347).
public struct TFTPOption: Hashable, Sendable {
    /// In lower case.
    public var name: String
    /// Decimal digits for all options known here.
    public var value: String

    /// An option.
    public init(_ name: String, _ value: String) {
        self.name = name.lowercasedASCII
        self.value = value
    }

    /// An option with a number.
    public init(_ name: String, _ value: Int) { self.init(name, String(value)) }

    /// Bytes of a block (`blksize`, RFC 2348).
    public static let blockSizeRange = 8...65464
    /// Blocks of a window (`windowsize`, RFC 7440).
    public static let windowSizeRange = 1...65535
    /// Seconds until something is sent again (`timeout`, RFC 2349).
    public static let timeoutRange = 1...255
    /// The most options of one message.
    public static let countMax = 16

    /// The value as a number in `range`.
    public func number(in range: ClosedRange<Int>) -> Int? {
        guard !value.isEmpty, value.utf8.allSatisfy({ (0x30...0x39).contains($0) }) else { return nil }
        return Int(value).flatMap { range.contains($0) ? $0 : nil }
    }

    static func list(_ reader: inout ByteReader) throws(WireError) -> [TFTPOption] {
        var options: [TFTPOption] = []
        while !reader.isAtEnd {
            // Some clients pad their requests with zeros.
            if reader.remainingIsZero { break }
            guard options.count < countMax else { throw WireError(offset: reader.offset, .tooLong(limit: countMax)) }
            options.append(TFTPOption(try reader.terminatedText(), try reader.terminatedText()))
        }
        return options
    }
}

extension ByteReader {
    fileprivate var remainingIsZero: Bool {
        var copy = self
        return copy.rest().allSatisfy { $0 == 0 }
    }

    /// At most 255 bytes of UTF-8 up to a zero, which is read as well.
    fileprivate mutating func terminatedText() throws(WireError) -> String {
        var copy = self
        let rest = copy.rest()
        guard let end = rest.firstIndex(of: 0) else {
            throw WireError(offset: offset, .invalid("a text has no end"))
        }
        let count = end - rest.startIndex
        guard count <= 255 else { throw WireError(offset: offset, .tooLong(limit: 255)) }
        let text = try text(count)
        try skip(1)
        return text
    }
}

extension String {
    /// As long as before, unlike with `lowercased`.
    fileprivate var lowercasedASCII: String {
        String(decoding: utf8.map { (0x41...0x5A).contains($0) ? $0 | 0x20 : $0 }, as: UTF8.self)
    }
}
