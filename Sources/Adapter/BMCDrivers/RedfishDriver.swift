import AsyncHTTPClient
import BareMetal
import CatalogBareMetal
import Logging
import NIOCore
import NIOPosix
import Primitives
import Redfish

/// Drives a machine through its BMC's Redfish service (DSP0266, DSP0268).
///
/// Each call makes its own connection, so nothing has to be shut down. Every call ends within `BMCLimits.call`. Reads
/// are repeated when the BMC cannot be reached or is busy; what changes something is sent once, but for a boot override
/// that met another version of the system.
public struct RedfishDriver: BMCDriver {
    private let address: BMCAddress
    private let password: SecretText
    private let trust: BMCTrust
    let limits: BMCLimits
    private let quirks: [RedfishQuirks.Row]
    private let logins: LoginSessions?
    private let group: any EventLoopGroup
    private let logger: Logger

    /// A driver of the BMC at `address`; `logins` holds its session between calls, and without it each request has the
    /// password.
    public init(
        address: BMCAddress, password: SecretText, trust: BMCTrust = .systemStore, limits: BMCLimits = BMCLimits(),
        quirks: [RedfishQuirks.Row] = RedfishQuirks.table, logins: LoginSessions? = nil,
        group: any EventLoopGroup = MultiThreadedEventLoopGroup.singleton,
        logger: Logger
    ) {
        self.address = address
        self.password = password
        self.trust = trust
        self.limits = limits
        self.quirks = quirks
        self.logins = logins
        self.group = group
        self.logger = logger
    }

    /// The same driver with other sessions.
    func with(logins: LoginSessions) -> RedfishDriver {
        RedfishDriver(
            address: address, password: password, trust: trust, limits: limits, quirks: quirks, logins: logins,
            group: group, logger: logger)
    }

    public func powerState() async throws(BMCError) -> PowerState {
        try await call { session throws(BMCError) in
            switch try await system(session).resource.powerState {
            case .on: .on
            case .off: .off
            case .poweringOn, .poweringOff, .paused, nil: .unknown
            }
        }
    }

    public func setPower(_ action: PowerAction) async throws(BMCError) {
        try await call { session throws(BMCError) in
            let system = try await system(session).resource
            guard let types = Self.resetTypes(for: action, when: system.powerState) else { return }
            guard let reset = system.reset else { throw .refused("the system '\(system.id)' has no reset action") }
            guard let type = types.first(where: { reset.allowableTypes?.contains($0.rawValue) ?? true }) else {
                let offered = reset.allowableTypes?.joined(separator: ", ") ?? ""
                throw .refused("it cannot do '\(types[0].rawValue)'; it offers: \(offered)")
            }
            let answer = try await session.finish(try await session.send(.reset(reset, type: type)))
            if [400, 409].contains(answer.response.status),
                Self.resetTypes(for: action, when: try await self.system(session).resource.powerState) == nil
            {
                return
            }
            try session.check(answer)
        }
    }

    public func setBoot(_ target: BootTarget, once: Bool, firmware: MachineFirmware?) async throws(BMCError) {
        try await call { session throws(BMCError) in
            try await setOverride(target == .network ? .network : .disk, once: once, session)
        }
    }

    /// Sets the boot override and reads it back; `uri` goes with `.http`.
    func setOverride(
        _ source: BootSource, uri: String? = nil, once: Bool, _ session: RedfishSession
    ) async throws(BMCError) {
        for isLast in [false, true] {
            let (path, system, tag) = try await self.system(session)
            if let offered = system.boot?.allowableTargets, !offered.isEmpty, !offered.contains(source.rawValue) {
                throw .refused("it cannot boot '\(source.rawValue)'; it offers: \(offered.joined(separator: ", "))")
            }
            let keepsOnce = RedfishQuirks.of(system, in: quirks).keepsOnce
            let answer = try await session.send(
                .boot(
                    path, target: source, uri: uri, enabled: once && !keepsOnce ? .once : .continuous,
                    ifMatch: isLast ? tag?.strong : tag))
            if !isLast, [409, 412, 428].contains(answer.response.status) { continue }
            try session.check(try await session.finish(answer))
            try await confirm(source, isOnce: once && !keepsOnce, session)
            return
        }
    }

    /// Reads the boot override back: there are services that answer well and do nothing.
    private func confirm(
        _ source: BootSource, isOnce: Bool, _ session: RedfishSession
    ) async throws(BMCError) {
        var told: String?
        for attempt in 0..<3 {
            if attempt > 0 {
                do { try await Task.sleep(for: limits.backoff * (1 << attempt)) } catch { throw .cancelled }
            }
            let system = try await system(session).resource
            guard let boot = system.boot, let target = boot.target else { return }
            let isTaken =
                target == source.rawValue || RedfishQuirks.of(system, in: quirks).words[source.rawValue] == target
            if isTaken, boot.enabled != "Disabled" {
                if isOnce, boot.enabled == BootOverride.continuous.rawValue {
                    logger.notice("\(address): it was told to boot '\(target)' once and will do so for ever")
                }
                return
            }
            told = "\(target), \(boot.enabled ?? "not enabled")"
        }
        throw .refused("it took the order to boot '\(source.rawValue)' but still tells '\(told ?? "")'")
    }

    public func identify() async throws(BMCError) -> BMCIdentification {
        try await call { session throws(BMCError) in
            let system = try await system(session).resource
            var firmware: String?
            if let manager = system.managers.first {
                firmware =
                    try await optional { () throws(BMCError) in
                        try await session.read(ManagementController.self, at: manager).resource.firmwareVersion
                    } ?? nil
            }
            return BMCIdentification(
                system: system.id, serial: system.serialNumber, uuid: system.uuid?.lowercased(),
                manufacturer: system.manufacturer, model: system.model, firmwareVersion: firmware)
        }
    }

    /// Reads at most four chassis: their Thermal and Power resources, or at most 64 of their sensors where they have
    /// neither.
    public func sensors() async throws(BMCError) -> [SensorReading] {
        try await call { session throws(BMCError) in
            var found: [RedfishReading] = []
            for path in try await system(session).resource.chassis.prefix(4) {
                let chassis = try await session.read(Chassis.self, at: path).resource
                if let thermal = chassis.thermal {
                    found +=
                        try await optional { () throws(BMCError) in
                            try await session.read(Thermal.self, at: thermal).resource.readings
                        } ?? []
                }
                if let power = chassis.power {
                    found +=
                        try await optional { () throws(BMCError) in
                            try await session.read(PowerMetrics.self, at: power).resource.readings
                        } ?? []
                }
                guard chassis.thermal == nil, chassis.power == nil, let sensors = chassis.sensors else { continue }
                for sensor in try await session.read(ResourceCollection.self, at: sensors).resource.members.prefix(64) {
                    let reading =
                        try await optional { () throws(BMCError) in
                            try await session.read(Sensor.self, at: sensor).resource.reading
                        } ?? nil
                    if let reading { found.append(reading) }
                }
            }
            return found.prefix(SensorReading.countMax).map(SensorReading.init)
        }
    }

    /// Ends a session at the service.
    func end(_ login: LoginSessions.Login) async {
        do {
            try await call { session throws(BMCError) in try await session.logout(login) }
        } catch {
            logger.debug("\(address): a session was not ended: \(error)")
        }
    }

    /// Nil when the service has an answer but not this one.
    func optional<Value>(_ body: () async throws(BMCError) -> Value) async throws(BMCError) -> Value? {
        do { return try await body() } catch {
            switch error {
            case .refused, .protocolViolation, .unsupported: return nil
            default: throw error
            }
        }
    }

    /// What to ask for; nil when there is nothing to do.
    private static func resetTypes(for action: PowerAction, when power: ComputerSystem.Power?) -> [ResetType]? {
        switch (action, power) {
        case (.on, .on), (.forceOff, .off): nil
        case (.on, _), (.reset, .off): [.on, .forceOn]
        case (.forceOff, _): [.forceOff]
        case (.reset, _): [.forceRestart, .powerCycle]
        }
    }

    /// The named system, or the only one.
    func system(
        _ session: RedfishSession
    ) async throws(BMCError) -> (path: ResourcePath, resource: ComputerSystem, tag: EntityTag?) {
        let answer: RedfishSession.Answer
        if let name = address.system {
            let path: ResourcePath
            do { path = try ResourcePath.systems.appending(name) } catch {
                throw .notFound(system: name, available: [])
            }
            let direct = try await session.get(path)
            if direct.response.status == 404 {
                answer = try await session.get(try await member(named: name, session))
            } else {
                answer = direct
            }
        } else {
            answer = try await session.get(try await member(named: nil, session))
        }
        let system = try session.decode(ComputerSystem.self, answer)
        if let own = system.path, !own.isSame(as: answer.path) {
            throw .protocolViolation("it answered with \(own) when asked for \(answer.path)")
        }
        return (answer.path, system, answer.response.etag ?? system.etag)
    }

    private func member(named name: String?, _ session: RedfishSession) async throws(BMCError) -> ResourcePath {
        let root = try await session.read(ServiceRoot.self, at: .serviceRoot).resource
        let members = try await session.read(ResourceCollection.self, at: root.systems ?? .systems).resource.members
        let names = members.map { $0.lastComponent.printable(limit: 128) }
        if let name {
            guard let found = members.first(where: { $0.lastComponent.lowercased() == name.lowercased() }) else {
                throw .notFound(system: name, available: names)
            }
            return found
        }
        guard members.count == 1 else { throw .systemNotNamed(available: names) }
        return members[0]
    }

    func call<Result: Sendable>(
        _ body: (RedfishSession) async throws(BMCError) -> Result
    ) async throws(BMCError) -> Result {
        do {
            return try await call(trust: trust, body)
        } catch {
            guard case .tlsUntrusted(found: nil) = error else { throw error }
            // Nothing is sent: the handshake only shows which certificate an operator may want to trust.
            let nobody = BMCTrust.certificate(Digest(bytes: [UInt8](repeating: 0, count: 32)))
            do {
                _ = try await call(trust: nobody) { session throws(BMCError) in
                    try await session.send(.get(.serviceRoot))
                }
            } catch .tlsUntrusted(let found) {
                throw .tlsUntrusted(found: found)
            } catch {
                throw .tlsUntrusted(found: nil)
            }
            throw error
        }
    }

    private func call<Result: Sendable>(
        trust: BMCTrust, _ body: (RedfishSession) async throws(BMCError) -> Result
    ) async throws(BMCError) -> Result {
        let client = HTTPClient(
            eventLoopGroupProvider: .shared(group), configuration: .bmc(limits: limits, trust: trust))
        let session = RedfishSession(
            address: address, password: password, limits: limits, client: client, logins: logins, trust: trust,
            deadline: .now.advanced(by: limits.call), logger: logger)
        let outcome: Swift.Result<Result, BMCError>
        do { outcome = .success(try await body(session)) } catch { outcome = .failure(error) }
        do { try await client.shutdown() } catch {
            logger.debug("BMC connection not closed cleanly", metadata: ["cause": .string("\(error)")])
        }
        return try outcome.get()
    }
}

extension SensorReading {
    fileprivate init(_ reading: RedfishReading) {
        let unit: Unit =
            switch reading.unit {
            case "Cel": .celsius
            case "RPM", "{rev}/min": .rpm
            case "%": .percent
            case "V": .volts
            case "W": .watts
            case "A": .amperes
            default: .other
            }
        self.init(name: reading.name, value: reading.value, unit: unit, isGood: reading.isGood)
    }
}
