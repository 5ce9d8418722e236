import Primitives

/// Why a BMC did not do what `ipmitool` asked.
public enum IPMIFailure: Error, Sendable, Hashable {
    /// The password is wrong: the BMC's proof does not fit it (section 13.20, RAKP message 2).
    case wrongPassword
    /// The BMC has no such user.
    case unknownUser
    /// The user may not do this.
    case privilege(String)
    /// The BMC does not speak this cipher suite.
    case cipherRefused
    /// No answer, or no way to the BMC.
    case unreachable(String)
    /// The BMC has no room for a session now, or is busy.
    case busy(String)
    /// The BMC does not know the command.
    case unsupported(String)
    /// Anything else that the tool says.
    case other(String)
}

/// What `ipmitool` left behind.
public struct IPMIAnswer: Sendable, Hashable {
    /// Its exit status.
    public var status: Int32
    /// Its standard output.
    public var output: String
    /// Its standard error.
    public var errorOutput: String

    /// An answer.
    public init(status: Int32, output: String, errorOutput: String) {
        self.status = status
        self.output = output
        self.errorOutput = errorOutput
    }

    /// The output of a command that was carried out; throws `IPMIFailure` otherwise.
    public func succeeded() throws(IPMIFailure) -> [Substring] {
        guard status == 0 else { throw failure }
        return output.split(whereSeparator: \.isNewline)
    }

    private var failure: IPMIFailure {
        let lines = (errorOutput + "\n" + output).split(whereSeparator: \.isNewline).map { Self.trimmed($0) }
            .filter { line in !line.isEmpty && !Self.chatter.contains { line.hasPrefix($0) } }
        func line(with words: String...) -> String? {
            lines.first { line in words.contains { line.contains($0) } }.map { $0.printable(limit: 200) }
        }
        if line(with: "HMAC is invalid") != nil { return .wrongPassword }
        if line(with: "unauthorized name") != nil { return .unknownUser }
        if line(with: "Unsupported cipher suite", "algorithm", "no matching cipher suite") != nil {
            return .cipherRefused
        }
        if let text = line(with: "privilege level", "Privilege Level", "invalid role") { return .privilege(text) }
        if let text = line(with: "insufficient resources", "Node busy", "Out of space") { return .busy(text) }
        if let text = line(with: "Address lookup", "Could not open socket") { return .unreachable(text) }
        if line(with: "Get Auth Capabilities error", "Get Channel Authentication Capabilities") != nil {
            return .unreachable("no answer")
        }
        if let text = line(with: "Invalid command", "not supported", "Command illegal", "Unsupported") {
            return .unsupported(text)
        }
        if line(with: "Unable to establish IPMI v2 / RMCP+ session") != nil {
            return .unreachable("no session: \(lines.prefix(2).joined(separator: "; ").printable(limit: 200))")
        }
        return .other(lines.last?.printable(limit: 200) ?? "exit status \(status)")
    }

    /// How lines begin that `ipmitool -v` prints whether or not the command succeeds.
    private static let chatter = [
        "Loading IANA", "Get HPM.x", "Running Get", "Invalid completion code received", "Discovered IPMB",
    ]

    static func trimmed(_ text: some StringProtocol) -> String {
        let start = text.drop { $0.isWhitespace }
        let end = start.lastIndex { !$0.isWhitespace }.map(start.index(after:)) ?? start.startIndex
        return String(start[..<end])
    }
}

/// What the answers say.
extension IPMIAnswer {
    /// Whether the machine is on; nil: it does not say.
    public func isPoweredOn() throws(IPMIFailure) -> Bool? {
        for line in try succeeded() where line.hasPrefix("Chassis Power is ") {
            switch line.dropFirst("Chassis Power is ".count) {
            case "on": return true
            case "off": return false
            default: return nil
            }
        }
        return nil
    }

    /// The system's GUID in SMBIOS byte order, lowercase with hyphens; nil: none, or one of zeros only.
    public func guid() throws(IPMIFailure) -> String? {
        guard let text = try fields()["System GUID"]?.lowercased(), text.utf8.count == 36 else { return nil }
        let digits = text.filter { $0 != "-" }
        guard digits.count == 32, digits.allSatisfy({ $0.isASCII && $0.isHexDigit }), Set(digits).count > 1 else {
            return nil
        }
        return text
    }

    /// Vendor, product and serial number of the machine.
    public func product() throws(IPMIFailure) -> IPMIProduct {
        let fields = try fields()
        func text(_ names: String...) -> String? {
            for name in names {
                if let value = fields[name], !value.isEmpty { return value.printable(limit: 128) }
            }
            return nil
        }
        return IPMIProduct(
            manufacturer: text("Product Manufacturer", "Board Mfg"), name: text("Product Name", "Board Product"),
            serial: text("Product Serial", "Chassis Serial"))
    }

    /// The BMC's firmware version; nil: it does not say.
    public func firmwareVersion() throws(IPMIFailure) -> String? {
        try fields()["Firmware Revision"]?.printable(limit: 64)
    }

    /// The sensors' readings, at most `IPMISensor.countMax`; those without a number are left out.
    public func sensors() throws(IPMIFailure) -> [IPMISensor] {
        Array(try succeeded().lazy.compactMap { IPMISensor(line: $0) }.prefix(IPMISensor.countMax))
    }

    /// The number of the user with this name, 1 to 63; nil: there is none.
    public func number(ofUser name: String) throws(IPMIFailure) -> UInt8? {
        for line in try succeeded().prefix(1000) {
            let fields = line.split(separator: ",", omittingEmptySubsequences: false)
            guard fields.count >= 2, fields[1] == name, let number = UInt8(fields[0]), (1...63).contains(number)
            else { continue }
            return number
        }
        return nil
    }

    /// Lines of the form `name : value`; the first of a name counts.
    private func fields() throws(IPMIFailure) -> [String: String] {
        var fields: [String: String] = [:]
        for line in try succeeded().prefix(1000) {
            guard let colon = line.firstIndex(of: ":") else { continue }
            let name = Self.trimmed(line[..<colon])
            if fields[name] == nil { fields[name] = Self.trimmed(line[line.index(after: colon)...]) }
        }
        return fields
    }
}

/// What a machine's FRU record says that it is.
public struct IPMIProduct: Sendable, Hashable {
    /// The manufacturer.
    public var manufacturer: String?
    /// The product's name.
    public var name: String?
    /// The serial number.
    public var serial: String?

    /// A product.
    public init(manufacturer: String? = nil, name: String? = nil, serial: String? = nil) {
        self.manufacturer = manufacturer
        self.name = name
        self.serial = serial
    }
}

/// One sensor's reading.
public struct IPMISensor: Sendable, Hashable {
    /// The most sensors of one BMC that are looked at.
    public static let countMax = 256

    /// Its name.
    public var name: String
    /// The reading.
    public var value: Double
    /// The unit as the tool writes it, for example `degrees C`, `RPM`, `Volts`, `Watts`.
    public var unit: String
    /// Whether the BMC calls the reading good.
    public var isGood: Bool

    /// A reading.
    public init(name: String, value: Double, unit: String, isGood: Bool) {
        self.name = name
        self.value = value
        self.unit = unit
        self.isGood = isGood
    }

    /// A line of `ipmitool -c sdr elist full`: name, reading, unit, state, and more; nil: no sensor with a reading.
    init?(line: Substring) {
        let parts = line.split(separator: ",", omittingEmptySubsequences: false)
        guard parts.count >= 4, !parts[0].isEmpty, let value = Double(parts[1]), value.isFinite else { return nil }
        self.init(
            name: String(parts[0]).printable(limit: 64), value: value, unit: String(parts[2]).printable(limit: 32),
            isGood: parts[3] == "ok")
    }
}
