import AgentProtocol
import HardwareInventory
import LinuxSystem
import NodeTransport
import Primitives

/// The discovery agent: tells the conductor what the machine is, and does what the conductor orders.
public struct DiscoveryProgram: Sendable {
    let parameters: DiscoveryParameters
    let bootID: String
    let clock: any WallClock
    let setClock: @Sendable (Timestamp) throws -> Void
    let limits: TransportLimits
    let imager: Imager
    let rescuePlaces: RescuePlaces
    let witness: TPMWitness

    /// A program for the machine it runs on, with what the boot script told.
    public init(parameters: DiscoveryParameters, agentVersion: String) {
        // Switches speak every half minute, and at once when a link comes up: they are heard from the start, while the
        // conductor is sought and disks are looked at, and nobody waits for them.
        let collector = HardwareCollector(
            agentVersion: agentVersion, bootInterface: parameters.bootInterface, lldp: LLDPListener())
        self.init(
            parameters: parameters, bootID: Machine.bootID, clock: SystemWallClock(),
            setClock: { try Machine.setClock($0) }, limits: TransportLimits(), witness: .own,
            collect: { collector.collect(now: $0) })
    }

    init(
        parameters: DiscoveryParameters, bootID: String, clock: any WallClock,
        setClock: @escaping @Sendable (Timestamp) throws -> Void, limits: TransportLimits,
        rescuePlaces: RescuePlaces = RescuePlaces(), witness: TPMWitness = .none,
        collect: @escaping @Sendable (Timestamp) -> InventoryReport
    ) {
        self.parameters = parameters
        self.bootID = bootID
        self.clock = clock
        self.setClock = setClock
        self.limits = limits
        imager = Imager(collect: collect)
        self.rescuePlaces = rescuePlaces
        self.witness = witness
    }

    /// Registers and follows orders until its task is cancelled: after a deployment the power is reset from outside,
    /// and until then another order may come. Throws `InvalidValue` when the parameters lead nowhere.
    public func run() async throws {
        try await DiscoveryShell(self).run()
    }
}
