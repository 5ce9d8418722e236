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
    private let limits: BMCLimits
    private let quirks: [RedfishQuirks.Row]
    private let group: any EventLoopGroup
    private let logger: Logger

    /// A driver of the BMC at `address`.
    public init(
        address: BMCAddress, password: SecretText, trust: BMCTrust = .systemStore, limits: BMCLimits = BMCLimits(),
        quirks: [RedfishQuirks.Row] = RedfishQuirks.table,
        group: any EventLoopGroup = MultiThreadedEventLoopGroup.singleton,
        logger: Logger
    ) {
        self.address = address
        self.password = password
        self.trust = trust
        self.limits = limits
        self.quirks = quirks
        self.group = group
        self.logger = logger
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
            let answer = try await session.send(.reset(reset, type: type))
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
            let source: BootSource =
                switch target {
                case .network: .network
                case .disk: .disk
                }
            for isLast in [false, true] {
                let (path, system, tag) = try await self.system(session)
                if let offered = system.boot?.allowableTargets, !offered.isEmpty, !offered.contains(source.rawValue) {
                    throw .refused("it cannot boot '\(source.rawValue)'; it offers: \(offered.joined(separator: ", "))")
                }
                let keepsOnce = RedfishQuirks.of(system, in: quirks).keepsOnce
                let answer = try await session.send(
                    .boot(
                        path, target: source, enabled: once && !keepsOnce ? .once : .continuous,
                        ifMatch: isLast ? tag?.strong : tag))
                if !isLast, [409, 412, 428].contains(answer.response.status) { continue }
                try session.check(answer)
                return
            }
        }
    }

    public func identify() async throws(BMCError) -> BMCIdentification {
        try await call { session throws(BMCError) in
            let system = try await system(session).resource
            return BMCIdentification(
                system: system.id, serial: system.serialNumber, uuid: system.uuid?.lowercased(),
                manufacturer: system.manufacturer, model: system.model)
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
    private func system(
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

    private func call<Result: Sendable>(
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
            address: address, password: password, limits: limits, client: client,
            deadline: .now.advanced(by: limits.call), logger: logger)
        let outcome: Swift.Result<Result, BMCError>
        do { outcome = .success(try await body(session)) } catch { outcome = .failure(error) }
        do { try await client.shutdown() } catch {
            logger.debug("BMC connection not closed cleanly", metadata: ["cause": .string("\(error)")])
        }
        return try outcome.get()
    }
}
