import CatalogBareMetal

extension NodeMachine {
    /// What is to be done for a node now, by what is committed of it; nil: nothing.
    ///
    /// Whoever takes an input commits its step, and the conductor that leads does what follows from it: an effect is never
    /// handed on, it can always be read off the node again. A power order is read off its specification (`needsAttention`).
    public static func owed(_ node: Node) -> NodeEffect? {
        guard node.status.wait?.owner == .bmc else { return nil }
        let mayBoot = !node.spec.isInMaintenance
        switch node.status.state {
        case .verifying: return .verifyBMC
        case .inspecting, .deploying(.bootingRamdisk), .cleaning(.bootingRamdisk), .rescuing(.bootingRamdisk):
            return mayBoot ? .boot(.ramdisk) : nil
        case .deploying(.bootingDisk), .unrescuing(.bootingDisk): return mayBoot ? .boot(.disk) : nil
        default: return nil
        }
    }
}
