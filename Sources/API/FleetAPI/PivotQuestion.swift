import AgentProtocol
import CatalogBareMetal
import ControlPlane
import FleetContract
import Primitives
import ReconcileRuntime
import ResourceModel

/// What the API asks about a move from this conductor to controllers.
public struct PivotServices: Sendable {
    /// This conductor's name.
    public var seed: String
    /// The nodes with the controller role, by name.
    public var controllers: @Sendable () async throws -> [String: PivotController]
    /// What these nodes would not survive as controllers, and what to do; for people.
    public var warnings: @Sendable ([String]) -> [String]

    /// Services.
    public init(
        seed: String, warnings: @escaping @Sendable ([String]) -> [String] = { _ in [] },
        controllers: @escaping @Sendable () async throws -> [String: PivotController]
    ) {
        self.seed = seed
        self.warnings = warnings
        self.controllers = controllers
    }
}

/// Whether a site can be moved to what is asked for; pure.
struct PivotQuestion {
    /// The name of the conductor that it moves away from.
    let seed: String
    let now: CacheSnapshot
    let controllers: [String: PivotController]

    /// What is asked for, as it is kept. Throws `PivotOrderRefusal`, and `InvalidValue` for what is no address.
    func spec(of request: PivotRequest, proxyPort: Int?) throws -> ControlPlaneRecord.Spec {
        let names = request.controllers.sorted()
        if let twice = zip(names, names.dropFirst()).first(where: { $0 == $1 })?.0 {
            throw PivotOrderRefusal.namedTwice(twice)
        }
        guard names.count % 2 == 1, names.count <= 5 else { throw PivotOrderRefusal.badCount(names.count) }
        let addresses = try names.map { try address(of: $0) }
        var spec = ControlPlaneRecord.Spec(controllers: names)
        if let port = proxyPort.flatMap({ UInt16(exactly: $0) }) {
            spec.proxied.api = port
            let taken = [spec.proxied.boot, spec.proxied.provisioning, spec.proxied.agents] + spec.ports.all
            guard !taken.contains(port) else {
                throw InvalidValue("site.proxyPort", "\(port)", expected: "none of \(taken), which controllers use")
            }
        }
        spec.vip = try request.vip.map { try vip($0, request.routerID, addresses) }
        return spec
    }

    /// What would be cut off by the move, and what to do; for people.
    var warnings: [String] {
        let off = now.all(Node.self).filter { $0.status.state == .active && $0.status.agent?.connection != .open }
            .map(\.spec.name).sorted()
        guard !off.isEmpty else { return [] }
        let names = off.prefix(Self.namesShown).joined(separator: ", ") + (off.count > Self.namesShown ? ", …" : "")
        return [
            "\(off.count) active nodes are not connected and would not learn where the site is: \(names). Start them first; one "
                + "that comes back later has to be deployed again."
        ]
    }

    private static let namesShown = 5

    private func address(of name: String) throws(PivotOrderRefusal) -> IPv4Address {
        guard let controller = controllers[name] else {
            guard let node = now.first(FleetReads.nodesByName, name) else { throw .unknown(name) }
            throw .otherRole(name, node.spec.role)
        }
        guard name != seed else { throw .nameOfSeed(name) }
        guard let address = controller.address else { throw .noAddress(name, isConnected: controller.isReady) }
        return address
    }

    // MARK: The shared address

    private func vip(
        _ text: String, _ routerID: Int?, _ controllers: [IPv4Address]
    ) throws -> ControlPlaneRecord.SharedAddress {
        let parts = text.split(separator: "/", omittingEmptySubsequences: false)
        guard parts.count == 2, let length = Int(parts[1]), let address = try? IPv4Address(parts[0]) else {
            throw InvalidValue("vip", text, expected: "an address with its network's length, as 10.77.0.5/24")
        }
        let router = routerID ?? ControlPlaneRecord.SharedAddress.routerIDDefault
        guard (1...255).contains(router) else {
            throw InvalidValue("routerID", "\(router)", expected: "a number from 1 to 255")
        }
        let segments = now.all(Segment.self).sorted { $0.metadata.name < $1.metadata.name }
        guard let segment = segments.first(where: { $0.spec.network.contains(address) }) else {
            throw PivotOrderRefusal.vip(.outside(address, segments.map { "\($0.spec.network)" }))
        }
        let network = segment.spec.network
        guard network.prefixLength == length else { throw PivotOrderRefusal.vip(.otherLength(address, network)) }
        guard address != network.address, address != network.broadcast else {
            throw PivotOrderRefusal.vip(.notOfHost(address, network))
        }
        if let far = controllers.first(where: { !network.contains($0) }) {
            throw PivotOrderRefusal.vip(.farController(address, far))
        }
        if let holder = holder(of: address, in: segment) { throw PivotOrderRefusal.vip(.inUse(address, holder)) }
        return ControlPlaneRecord.SharedAddress(address: address, prefixLength: length, routerID: router)
    }

    /// Who has an address already, or may be given it.
    private func holder(of address: IPv4Address, in segment: Segment) -> String? {
        let (spec, name) = (segment.spec, segment.metadata.name)
        if spec.server == address { return "the segment \(name) has it as its server" }
        if spec.router == address { return "it is the gateway of the segment \(name)" }
        if (spec.dnsServers + spec.ntpServers + spec.relays).contains(address) {
            return "the segment \(name) names it as a server or relay"
        }
        if let kept = spec.reservations.first(where: { $0.address == address }) {
            return "the segment \(name) keeps it for \(kept.mac)"
        }
        if spec.pools.contains(where: { $0.contains(address) }) {
            return "DHCP gives it out: it is in a pool of the segment \(name)"
        }
        if let lease = now.get(Lease.self, Lease.name(segment: name, address: address)) {
            return "\(lease.spec.mac) has it by DHCP"
        }
        for node in now.all(Node.self) where node.status.agent?.addresses.contains(address) == true {
            return "\(node.spec.name) has it"
        }
        for assignment in now.all(AddressAssignment.self) where assignment.spec.address == address {
            return "it is given to a node in the network \(assignment.spec.network)"
        }
        for bmc in now.all(BMC.self) where Self.names(bmc.spec.address, address) {
            return "the BMC \(bmc.metadata.name) has it"
        }
        for conductor in now.all(ConductorRecord.self)
        where Self.names(conductor.spec.addresses.api, address) {
            return "the conductor \(conductor.metadata.name) has it"
        }
        return nil
    }

    /// Whether `host`, `host:port` or a URL is at an address.
    private static func names(_ place: String, _ address: IPv4Address) -> Bool {
        place.split { "/:@".contains($0) }.contains { $0 == "\(address)" }
    }
}

/// Why an address is not shared by controllers.
enum VIPProblem: UserFacingError, Hashable {
    /// It is in none of the site's networks.
    case outside(IPv4Address, [String])
    case otherLength(IPv4Address, IPv4Network)
    /// It is the network's own, or its broadcast address.
    case notOfHost(IPv4Address, IPv4Network)
    /// A controller is in another network.
    case farController(IPv4Address, IPv4Address)
    case inUse(IPv4Address, String)

    /// Whether it could never be right.
    var isUsage: Bool {
        switch self {
        case .otherLength, .notOfHost: true
        default: false
        }
    }

    var publicMessage: String {
        switch self {
        case .outside(let address, let networks):
            "\(address) is in no segment of the site (\(networks.isEmpty ? "there is none" : networks.joined(separator: ", "))"
                + "): take a free address of the segment that the controllers are in."
        case .otherLength(let address, let network):
            "\(address) is in \(network): give it as \(address)/\(network.prefixLength)."
        case .notOfHost(let address, let network): "\(address) cannot be a host's address in \(network); take another."
        case .farController(let address, let other):
            "\(address) is in another network than the controller at \(other): all controllers have to be in the network of "
                + "the shared address."
        case .inUse(let address, let holder): "\(address) is not free: \(holder). Take another address."
        }
    }
}
