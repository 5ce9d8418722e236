import Primitives

/// What a BMC is asked through `ipmitool` (ipmitool(1); IPMI v2.0, revision 1.1).
public enum IPMICommand: Sendable, Hashable {
    /// Whether the machine is on (section 28.2).
    case powerStatus
    /// Switches the power (section 28.3).
    case power(Power)
    /// Chooses what is booted (section 28.12): `isOnce` for the next start only, `isUEFI` with UEFI firmware.
    case bootDevice(BootDevice, isOnce: Bool, isUEFI: Bool)
    /// The BMC's own version and vendor (section 20.1).
    case controller
    /// The system's GUID (section 22.14), shown in SMBIOS byte order.
    case guid
    /// The vendor, product and serial number of the machine (section 34, FRU 0).
    case fru
    /// The readings of all sensors with a full record (sections 33 and 35).
    case sensors
    /// Serial over LAN (sections 15 and 24): opens the console on this terminal, or ends what is open.
    case console(Console)
    /// The users of the channel that is used (sections 22.27 and 22.29), one a line with commas between the fields.
    case users
    /// Commands that come by standard input, one a line: what stands there is seen by nobody on the host.
    case script

    /// The words of `sol`. Ctrl-] is `ipmitool`'s escape key there.
    public enum Console: String, Sendable, Hashable {
        case activate
        case deactivate
    }

    /// The words of `chassis power`.
    public enum Power: String, Sendable, Hashable {
        case on
        case off
        case reset
    }

    /// The words of `chassis bootdev`.
    public enum BootDevice: String, Sendable, Hashable {
        case network = "pxe"
        case disk
    }

    /// The words after the options of the connection.
    public var arguments: [String] {
        switch self {
        case .powerStatus: ["chassis", "power", "status"]
        case .power(let power): ["chassis", "power", power.rawValue]
        case .bootDevice(let device, let isOnce, let isUEFI):
            ["chassis", "bootdev", device.rawValue] + Self.options(isOnce: isOnce, isUEFI: isUEFI)
        case .controller: ["mc", "info"]
        case .guid: ["mc", "guid", "smbios"]
        case .fru: ["fru", "print", "0"]
        case .sensors: ["-c", "sdr", "elist", "full"]
        case .console(let word): ["-e", "\u{1D}", "sol", word.rawValue]
        case .users: ["-c", "user", "list"]
        case .script: ["exec", "/dev/stdin"]
        }
    }

    private static func options(isOnce: Bool, isUEFI: Bool) -> [String] {
        let words = (isOnce ? [] : ["persistent"]) + (isUEFI ? ["efiboot"] : [])
        return words.isEmpty ? [] : ["options=" + words.joined(separator: ",")]
    }
}

/// How `ipmitool` reaches a BMC over the network (RMCP+, section 13). The password goes by the environment.
public struct IPMIConnection: Sendable, Hashable {
    /// The variable from which `ipmitool -E` reads the password.
    public static let passwordVariable = "IPMI_PASSWORD"
    /// The longest password (section 22.30).
    public static let passwordLengthMax = 20
    /// The longest user name (section 22.28).
    public static let userLengthMax = 16
    /// The cipher suite unless another is named: RAKP-HMAC-SHA1, HMAC-SHA1-96, AES-CBC-128 (section 22.15.2).
    public static let cipherSuite = 3
    /// The numbers that a cipher suite can have (section 22.15.2).
    public static let cipherSuites = 1...17

    /// A name or an address, an IPv6 address without brackets.
    public var host: String
    /// The UDP port.
    public var port: Int
    /// The user.
    public var user: String
    /// The cipher suite; with none given, `ipmitool` asks for a list that many BMCs need 10 s to refuse.
    public var cipherSuite: Int
    /// How often an unanswered message is repeated, at least once.
    public var retries: Int

    /// A connection.
    public init(
        host: String, port: Int = 623, user: String, cipherSuite: Int = Self.cipherSuite, retries: Int = 2
    ) {
        self.host = host
        self.port = port
        self.user = user
        self.cipherSuite = cipherSuite
        self.retries = max(retries, 1)
    }

    /// The arguments of `ipmitool` for `command`.
    ///
    /// The role is Operator, the least that may switch the power; only an Administrator may change a password. `-v` makes
    /// the tool say why a session was refused. With two retries, a BMC that does not answer is given up after about 6 s.
    public func arguments(_ command: IPMICommand) -> [String] {
        // What `-v` adds would stand among what the machine sends, and repeats the bytes of a raw command.
        ([.console(.activate), .script].contains(command) ? [] : ["-v"]) + [
            "-I", "lanplus", "-H", host, "-p", String(port), "-U", user, "-E", "-C", String(cipherSuite),
            "-L", command == .script ? "ADMINISTRATOR" : "OPERATOR", "-N", "1", "-R", String(retries),
        ] + command.arguments
    }
}

/// The command Set User Password (section 22.30) as a line for `IPMICommand.script`.
public enum IPMIPasswordLine {
    /// The bytes of a password that BMCs before IPMI 2.0 keep; longer ones, up to `IPMIConnection.passwordLengthMax`, are
    /// sent in the other form of the command.
    public static let lengthShort = 16

    /// The line that gives the user with this number the password; nil: the user or the password cannot be one.
    ///
    /// The bytes stand as numbers, so that nothing in them can mean anything else to `ipmitool`.
    public static func set(_ password: SecretText, user: UInt8) -> SecretText? {
        let bytes = Array(password.revealed.utf8)
        guard (1...63).contains(user), (1...IPMIConnection.passwordLengthMax).contains(bytes.count),
            !bytes.contains(0)
        else { return nil }
        let isLong = bytes.count > lengthShort
        let size = isLong ? IPMIConnection.passwordLengthMax : lengthShort
        let padded = bytes + [UInt8](repeating: 0, count: size - bytes.count)
        let data = [user | (isLong ? 0x80 : 0), 0x02] + padded
        let numbers = ([0x06, 0x47] + data).map { "0x" + Hex.encode([$0]) }
        return SecretText("raw " + numbers.joined(separator: " ") + "\n")
    }
}
