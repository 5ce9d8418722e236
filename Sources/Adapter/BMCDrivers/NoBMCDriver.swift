import BareMetal
import CatalogBareMetal

/// For a machine without a BMC: every call throws `BMCError.manual`, which says what a person has to do.
public struct NoBMCDriver: BMCDriver {
    /// The only one.
    public init() {}

    public func powerState() async throws(BMCError) -> PowerState {
        throw .manual("Look at the machine to see whether it is on.")
    }

    public func setPower(_ action: PowerAction) async throws(BMCError) {
        switch action {
        case .on: throw .manual("Switch the machine on by hand.")
        case .forceOff: throw .manual("Switch the machine off by hand.")
        case .reset: throw .manual("Switch the machine off and on again by hand.")
        }
    }

    public func setBoot(_ target: BootTarget, once: Bool, firmware: MachineFirmware?) async throws(BMCError) {
        switch target {
        case .network: throw .manual("Choose the network in the machine's boot menu, or put it first in its setup.")
        case .disk: throw .manual("Choose the disk in the machine's boot menu, or put it first in its setup.")
        }
    }

    public func sensors() async throws(BMCError) -> [SensorReading] {
        throw .manual("Nobody reads the machine's sensors.")
    }

    public func identify() async throws(BMCError) -> BMCIdentification {
        throw .manual("The machine is known by its inventory only; boot it over the network.")
    }
}
