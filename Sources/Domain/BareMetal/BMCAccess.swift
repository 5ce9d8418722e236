import CatalogBareMetal
import Primitives
import ResourceModel

/// Switches nodes through the BMCs of the catalog.
public struct BMCAccess: MachinePower {
    private let bmcs: @Sendable () -> [BMC]
    private let driver: @Sendable (BMC) async throws -> any BMCDriver
    private let medium: MediumURL

    /// Access to `bmcs`; `driver` opens one with its secret, `medium` says what those boot that the site says so of.
    public init(
        bmcs: @escaping @Sendable () -> [BMC], driver: @escaping @Sendable (BMC) async throws -> any BMCDriver,
        medium: @escaping MediumURL = noMedium
    ) {
        self.medium = medium
        self.bmcs = bmcs
        self.driver = driver
    }

    public func verify(_ node: Node) async throws -> Bool {
        guard let name = name(of: node) else { return false }
        _ = try await driver(of: node, named: name).powerState()
        return true
    }

    public func boot(_ node: Node, _ order: BootOrder) async throws {
        guard let name = name(of: node) else { throw MachineWithoutBMC(name: node.spec.name, order: order.instruction) }
        let (bmc, driver) = try await bmc(of: node, named: name)
        let firmware = (node.status.summary?.firmware).flatMap(MachineFirmware.init)
        switch order {
        case .ramdisk: try await bmc.setRamdiskBoot(driver, firmware: firmware, medium: medium)
        case .disk: try await bmc.setDiskBoot(driver, firmware: firmware, medium: medium)
        }
        try await driver.setPower(.reset)
    }

    public func power(_ node: Node, _ action: Node.PowerRequest.Action) async throws {
        guard let name = name(of: node) else {
            throw MachineWithoutBMC(name: node.spec.name, order: "Switch its power by hand")
        }
        try await driver(of: node, named: name).setPower(PowerAction(action))
    }

    /// The BMC that the node names or was found with, else the one that tells by now that it is this machine's: it may have
    /// answered only after the machine was seen.
    private func name(of node: Node) -> String? {
        if let name = node.bmcName { return name }
        guard let own = node.status.identity.smbiosUUID else { return nil }
        return bmcs().first { bmc in bmc.status.systemUUID.map { SystemUUID.isSame($0, own) } ?? false }?.metadata.name
    }

    private func driver(of node: Node, named name: String) async throws -> any BMCDriver {
        try await bmc(of: node, named: name).driver
    }

    private func bmc(of node: Node, named name: String) async throws -> (bmc: BMC, driver: any BMCDriver) {
        guard let bmc = bmcs().first(where: { $0.metadata.name == name }) else { throw UnknownBMC(name: name) }
        guard !node.hasLost(bmc.status) else { throw BMCOfAnotherMachine(name: name, node: node.spec.name) }
        return (bmc, try await driver(bmc))
    }
}

extension PowerAction {
    /// The driver's word for an operator's order.
    public init(_ action: Node.PowerRequest.Action) {
        switch action {
        case .on: self = .on
        case .off: self = .forceOff
        case .reset: self = .reset
        }
    }
}

extension Node {
    /// The BMC that was asked for, else the one found by the machine's identity.
    public var bmcName: String? { spec.bmc ?? status.identity.bmc }

    /// Whether the BMC that was found by the machine's identity tells by now that it is another machine's.
    public func hasLost(_ bmc: BMC.Status) -> Bool {
        guard spec.bmc == nil, let found = bmc.systemUUID, let own = status.identity.smbiosUUID else { return false }
        return !SystemUUID.isSame(found, own)
    }
}

extension BootOrder {
    var instruction: String {
        switch self {
        case .ramdisk: "Boot it over the network by hand"
        case .disk: "Boot its disk by hand"
        }
    }
}

/// The machine cannot be switched from afar.
public struct MachineWithoutBMC: UserFacingError, Hashable {
    /// The node's name.
    public let name: String
    /// What a person has to do.
    public let order: String

    /// An error about the node `name`.
    public init(name: String, order: String) {
        self.name = name
        self.order = order
    }

    public var publicMessage: String {
        "'\(name)' has no BMC. \(order), or name its BMC in a rule of the site file."
    }
}

/// A node names a BMC that is not in the catalog.
public struct UnknownBMC: UserFacingError, Hashable {
    /// The name.
    public let name: String

    /// An error about `name`.
    public init(name: String) { self.name = name }

    public var publicMessage: String { "There is no BMC '\(name)'; add it to the site file and apply that." }
}

/// The BMC that was found for a node is another machine's by now: its address or system has been corrected.
public struct BMCOfAnotherMachine: UserFacingError, Hashable {
    /// The BMC's name.
    public let name: String
    /// The node's name.
    public let node: String

    /// An error about the BMC `name` of `node`.
    public init(name: String, node: String) {
        self.name = name
        self.node = node
    }

    public var publicMessage: String {
        "The BMC '\(name)' is another machine's than '\(node)'. Name the right one with 'muster node set \(node) "
            + "--bmc NAME', or boot the machine over the network by hand, so that its BMC is found again."
    }
}
