import CatalogBareMetal
import Primitives

/// What a BMC can be told to do with the power.
public enum PowerAction: String, Sendable, Hashable, Codable, CaseIterable {
    /// Switch on; nothing happens to a machine that is on.
    case on
    /// Cut the power without asking the operating system; nothing happens to a machine that is off.
    case forceOff
    /// Reset without asking the operating system; a machine that is off is switched on.
    case reset
}

/// What a machine boots next.
public enum BootTarget: String, Sendable, Hashable, Codable, CaseIterable {
    /// The network (PXE).
    case network
    /// The first disk.
    case disk
}

/// Reads and switches a machine's power out of band.
public protocol PowerControl: Sendable {
    /// The power as the BMC tells now, `unknown` while it is between two states; a BMC that cannot be asked is an error,
    /// never `off`.
    func powerState() async throws(BMCError) -> PowerState

    /// Orders `action` and returns when the BMC has accepted it; the power follows some seconds later.
    func setPower(_ action: PowerAction) async throws(BMCError)
}

/// Chooses what a machine boots.
public protocol BootControl: Sendable {
    /// Sets the boot target for the next start (`once`) or for all.
    ///
    /// There are BMCs that take `once` and keep it for ever, so set the other target when the boot is over. `firmware` is
    /// the machine's; nil: it is not known.
    func setBoot(_ target: BootTarget, once: Bool, firmware: MachineFirmware?) async throws(BMCError)
}

/// What starts a machine; the raw values are those of the inventory.
public enum MachineFirmware: String, Sendable, Hashable, Codable {
    /// The PC's old BIOS, or UEFI that acts as one.
    case bios
    /// UEFI.
    case uefi
}

/// Everything that a BMC is used for.
public protocol BMCDriver: PowerControl, BootControl, MediaControl, PasswordControl {
    /// Which machine the BMC belongs to, as it says.
    func identify() async throws(BMCError) -> BMCIdentification

    /// What its sensors tell, at most `SensorReading.countMax`; empty when it has none.
    func sensors() async throws(BMCError) -> [SensorReading]
}

/// What a BMC tells of its machine.
public struct BMCIdentification: Sendable, Hashable, Codable {
    /// The BMC's own name for the machine, for example the last part of the Redfish system's path.
    public var system: String
    /// The machine's serial number.
    public var serial: String?
    /// The SMBIOS UUID, lowercase with hyphens.
    public var uuid: String?
    /// The manufacturer.
    public var manufacturer: String?
    /// The model.
    public var model: String?
    /// The version of the BMC's own firmware.
    public var firmwareVersion: String?

    /// What a BMC tells.
    public init(
        system: String, serial: String? = nil, uuid: String? = nil, manufacturer: String? = nil, model: String? = nil,
        firmwareVersion: String? = nil
    ) {
        self.system = system
        self.serial = serial
        self.uuid = uuid
        self.manufacturer = manufacturer
        self.model = model
        self.firmwareVersion = firmwareVersion
    }
}

/// Where a BMC is and as whom to speak to it.
public struct BMCAddress: Sendable, Hashable, CustomStringConvertible {
    /// How to speak to it.
    public enum Scheme: String, Sendable, Hashable, Codable {
        /// Redfish over plain HTTP.
        case http
        /// Redfish over TLS.
        case https
        /// IPMI 2.0 over UDP.
        case ipmi

        /// The usual port.
        public var port: Int {
            switch self {
            case .http: 80
            case .https: 443
            case .ipmi: 623
            }
        }
    }

    /// Plain HTTP is used only when the address says so.
    public let scheme: Scheme
    /// A name or an address; an IPv6 address without brackets.
    public let host: String
    /// The TCP port, or the UDP port of IPMI.
    public let port: Int
    /// The system's identifier at the BMC; nil: the only one there is.
    public let system: String?
    /// The user.
    public let user: String

    /// An address of typed parts; throws `InvalidValue` for a host, port, system or user that cannot be one.
    public init(
        scheme: Scheme, host: String, port: Int? = nil, system: String? = nil, user: String
    ) throws(InvalidValue) {
        guard Self.isHost(host) else {
            throw InvalidValue("BMC host", host, expected: "a name or an address such as 10.77.0.1")
        }
        let port = port ?? scheme.port
        guard (1...65535).contains(port) else {
            throw InvalidValue("BMC port", String(port), expected: "1 to 65535")
        }
        if let system, !Self.isSystem(system) {
            throw InvalidValue("BMC system", system, expected: "1 to 128 of letters, digits, '-', '_', '.' and ':'")
        }
        guard (1...64).contains(user.utf8.count), user.hasOnlyPrintableScalars, !user.contains(":") else {
            throw InvalidValue("BMC user", user, expected: "1 to 64 printable characters without ':'")
        }
        self.scheme = scheme
        self.host = host
        self.port = port
        self.system = system
        self.user = user
    }

    /// Parses `http://host[:port]`, `https://host[:port]` or `ipmi://host[:port]`; throws `InvalidValue` for anything else.
    public init(_ text: String, system: String? = nil, user: String) throws(InvalidValue) {
        let wrong = InvalidValue(
            "BMC address", text, expected: "https://HOST[:PORT], http://HOST[:PORT] or ipmi://HOST[:PORT]")
        let parts = text.split(separator: "://", maxSplits: 1, omittingEmptySubsequences: false)
        guard parts.count == 2, let scheme = Scheme(rawValue: String(parts[0])) else { throw wrong }
        var rest = parts[1]
        if rest.hasSuffix("/") { rest.removeLast() }
        var host = rest
        var port: Int?
        if rest.hasPrefix("["), let end = rest.firstIndex(of: "]") {
            host = rest[rest.index(after: rest.startIndex)..<end]
            rest = rest[rest.index(after: end)...]
            guard rest.isEmpty || rest.hasPrefix(":") else { throw wrong }
        } else if let colon = rest.firstIndex(of: ":") {
            host = rest[..<colon]
            rest = rest[colon...]
        } else {
            rest = ""
        }
        if !rest.isEmpty {
            guard let number = Int(rest.dropFirst()) else { throw wrong }
            port = number
        }
        try self.init(scheme: scheme, host: String(host), port: port, system: system, user: user)
    }

    /// The address without user and system, for example `https://10.77.0.1:8001`.
    public var description: String { "\(scheme.rawValue)://\(authority)" }

    /// Host and port as a URL and the `Host` header have them.
    public var authority: String { host.contains(":") ? "[\(host)]:\(port)" : "\(host):\(port)" }

    private static func isHost(_ text: String) -> Bool {
        (1...253).contains(text.utf8.count)
            && text.utf8.allSatisfy { byte in isAlphanumeric(byte) || "-.:_".utf8.contains(byte) }
    }

    private static func isSystem(_ text: String) -> Bool {
        (1...128).contains(text.utf8.count) && text != "." && text != ".."
            && text.utf8.allSatisfy { byte in isAlphanumeric(byte) || "-_.:".utf8.contains(byte) }
    }

    private static func isAlphanumeric(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
            UInt8(ascii: "0")...UInt8(ascii: "9"):
            true
        default: false
        }
    }
}

extension PowerControl {
    /// Asks every `interval` until the power is `state`; throws `BMCError.timeout` after `limit`, and at once what
    /// cannot pass by itself. A BMC that does not answer in between is asked again.
    public func waitForPower(
        _ state: PowerState, within limit: Duration, every interval: Duration = .seconds(1),
        clock: some Clock<Duration> = ContinuousClock()
    ) async throws(BMCError) {
        let deadline = clock.now.advanced(by: limit)
        while true {
            do {
                if try await powerState() == state { return }
            } catch {
                guard error.isTransient else { throw error }
            }
            guard clock.now.advanced(by: interval) <= deadline else {
                throw .timeout("the power did not become '\(state.rawValue)' within \(limit.milliseconds / 1000) s")
            }
            do { try await clock.sleep(for: interval) } catch { throw .cancelled }
        }
    }
}
