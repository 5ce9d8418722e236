import BareMetal
import CatalogBareMetal
import IPMI
import Logging
import Primitives
import ProgramRuns

/// Drives a machine through IPMI over the network (IPMI v2.0 section 13, RMCP+), by way of `ipmitool`.
///
/// Each command is one run of the tool in a session of its own, which ends within `BMCLimits.request`, and each call
/// ends within `BMCLimits.call`. The password goes by the tool's environment, never by its command line.
public struct IPMIDriver: BMCDriver {
    private let connection: IPMIConnection
    private let password: SecretText
    private let limits: BMCLimits
    private let program: String
    private let logger: Logger

    /// The most bytes that an answer may have.
    private static let outputMax = 256 << 10

    /// A driver of the BMC at `address`, whose scheme is `ipmi`.
    ///
    /// Throws `InvalidValue` when user or password are longer than IPMI allows.
    /// - Parameter program: the `ipmitool` to run.
    public init(
        address: BMCAddress, password: SecretText, cipherSuite: Int? = nil, limits: BMCLimits = BMCLimits(),
        program: String = "ipmitool", logger: Logger
    ) throws(InvalidValue) {
        guard address.user.utf8.count <= IPMIConnection.userLengthMax else {
            throw InvalidValue(
                "BMC user", address.user, expected: "at most \(IPMIConnection.userLengthMax) bytes, as IPMI allows")
        }
        guard password.revealed.utf8.count <= IPMIConnection.passwordLengthMax else {
            throw InvalidValue(
                "BMC password", "•••", expected: "at most \(IPMIConnection.passwordLengthMax) bytes, as IPMI allows")
        }
        let suite = cipherSuite ?? IPMIConnection.cipherSuite
        guard IPMIConnection.cipherSuites.contains(suite) else {
            throw InvalidValue("cipher suite", String(suite), expected: "1 to 17")
        }
        connection = IPMIConnection(
            host: address.host, port: address.port, user: address.user, cipherSuite: suite,
            retries: limits.attemptCountMax - 1)
        self.password = password
        self.limits = limits
        self.program = program
        self.logger = logger
    }

    public func powerState() async throws(BMCError) -> PowerState {
        try await power(call())
    }

    public func setPower(_ action: PowerAction) async throws(BMCError) {
        let call = call()
        let now = try await power(call)
        let word: IPMICommand.Power
        switch (action, now) {
        case (.on, .on), (.forceOff, .off): return
        case (.on, _), (.reset, .off): word = .on
        case (.forceOff, _): word = .off
        case (.reset, _): word = .reset
        }
        _ = try await ask(.power(word), call) { answer throws(IPMIFailure) in try answer.succeeded() }
    }

    /// Sets the boot device. What the firmware is decides a flag of the order; unless told, it is taken to be UEFI.
    ///
    /// A BMC forgets the order after 60 s unless the machine is started (section 28.12), so a reset follows at once.
    public func setBoot(_ target: BootTarget, once: Bool, firmware: MachineFirmware?) async throws(BMCError) {
        let device: IPMICommand.BootDevice =
            switch target {
            case .network: .network
            case .disk: .disk
            }
        let order = IPMICommand.bootDevice(device, isOnce: once, isUEFI: firmware != .bios)
        _ = try await ask(order, call()) { answer throws(IPMIFailure) in try answer.succeeded() }
    }

    /// Asks for the GUID and the FRU record; a BMC that has one of them only is identified by that.
    public func identify() async throws(BMCError) -> BMCIdentification {
        let call = call()
        let firmware = try await ask(.controller, call) { answer throws(IPMIFailure) in
            try answer.firmwareVersion()
        }
        let guid = try await ifThere { () throws(BMCError) in
            try await ask(.guid, call) { answer throws(IPMIFailure) in try answer.guid() }
        }
        let product = try await ifThere { () throws(BMCError) in
            try await ask(.fru, call) { answer throws(IPMIFailure) in try answer.product() }
        }
        return BMCIdentification(
            system: connection.host, serial: product?.serial, uuid: guid ?? nil, manufacturer: product?.manufacturer,
            model: product?.name, firmwareVersion: firmware)
    }

    public func sensors() async throws(BMCError) -> [SensorReading] {
        let found = try await ask(.sensors, call()) { answer throws(IPMIFailure) in try answer.sensors() }
        return found.prefix(SensorReading.countMax).map { sensor in
            let unit: SensorReading.Unit =
                switch sensor.unit {
                case "degrees C": .celsius
                case "RPM": .rpm
                case "percent", "%": .percent
                case "Volts": .volts
                case "Watts": .watts
                case "Amps": .amperes
                default: .other
                }
            return SensorReading(name: sensor.name, value: sensor.value, unit: unit, isGood: sensor.isGood)
        }
    }

    // MARK: The password

    /// Longer ones than 16 bytes are cut by BMCs that say nothing of it.
    public func passwordRule() async throws(BMCError) -> PasswordRule {
        PasswordRule(lengthMax: PasswordRule.lengthOfIPMI)
    }

    /// Changes the password of the user (section 22.30). The command goes to the tool by a pipe.
    public func setPassword(_ new: SecretText) async throws(BMCError) {
        let call = call()
        let user = connection.user
        guard PasswordRule.canBeSent(new), new.revealed.utf8.count <= IPMIConnection.passwordLengthMax else {
            throw .refused(
                "a new password is printable ASCII without spaces, at most \(IPMIConnection.passwordLengthMax) bytes")
        }
        let number = try await ask(.users, call) { answer throws(IPMIFailure) in try answer.number(ofUser: user) }
        guard let number, let line = IPMIPasswordLine.set(new, user: number) else {
            throw .refused("it shows no user '\(user)' among its users")
        }
        _ = try await ask(.script, call, input: line) { answer throws(IPMIFailure) in try answer.succeeded() }
    }

    public func proveLogin() async throws(BMCError) {
        _ = try await power(call())
    }

    // MARK: Running the tool

    private struct Call {
        let deadline: ContinuousClock.Instant
    }

    private func call() -> Call { Call(deadline: .now.advanced(by: limits.call)) }

    private func power(_ call: Call) async throws(BMCError) -> PowerState {
        let isOn = try await ask(.powerStatus, call) { answer throws(IPMIFailure) in try answer.isPoweredOn() }
        return isOn.map { $0 ? .on : .off } ?? .unknown
    }

    /// Nil when the BMC understands the question and has no answer.
    private func ifThere<Value>(_ body: () async throws(BMCError) -> Value) async throws(BMCError) -> Value? {
        do { return try await body() } catch {
            switch error {
            case .refused, .unsupported: return nil
            default: throw error
            }
        }
    }

    private func ask<Value>(
        _ command: IPMICommand, _ call: Call, input: SecretText? = nil,
        _ read: (IPMIAnswer) throws(IPMIFailure) -> Value
    ) async throws(BMCError) -> Value {
        let time = min(ContinuousClock.now.duration(to: call.deadline), limits.request)
        guard time > .zero else { throw .timeout("the call took longer than \(limits.call.seconds)") }
        let outcome: ProgramRun.Outcome
        do {
            outcome = try await ProgramRun(
                program, connection.arguments(command), secrets: [IPMIConnection.passwordVariable: password],
                input: input, patience: time, outputMax: Self.outputMax
            ).finish()
        } catch {
            switch error {
            case .notInstalled: throw .noProgram("ipmitool")
            case .timeout: throw .timeout("no complete answer within \(time.seconds)")
            case .tooMuchOutput: throw .protocolViolation("ipmitool wrote more than \(Self.outputMax >> 10) KiB")
            case .cancelled: throw .cancelled
            case .system: throw .refused("ipmitool could not be run: \(error.why)")
            }
        }
        let answer = IPMIAnswer(
            status: outcome.status, output: String(decoding: outcome.output, as: UTF8.self),
            errorOutput: String(decoding: outcome.errors, as: UTF8.self))
        do { return try read(answer) } catch {
            logger.debug(
                "IPMI command failed",
                metadata: ["bmc": .string(connection.host), "cause": .string("\(error)".printable(limit: 300))])
            throw BMCError(error, cipherSuite: connection.cipherSuite)
        }
    }
}

extension BMCError {
    init(_ failure: IPMIFailure, cipherSuite: Int) {
        self =
            switch failure {
            case .wrongPassword, .unknownUser: .badCredentials
            case .privilege(let message): .privilege(message)
            case .cipherRefused: .cipherRefused(suite: cipherSuite)
            case .unreachable(let cause): .unreachable(cause: cause)
            case .busy: .busy(retryAfter: nil)
            case .unsupported(let message): .unsupported(message)
            case .other(let message): .refused(message)
            }
    }
}
