import ControlPlane
import Identity
import Logging
import Primitives

/// What the surroundings of a pivot are made of.
struct PivotGround: Sendable {
    let configuration: ConductorConfiguration
    /// The catalog; of a seed that does not serve it was never read.
    let catalog: LiveCatalog
    /// The site's secrets, which are read also while the seed is shut, and never written.
    let vault: SecretVault
    /// Writes nothing by itself where the seed is shut.
    let audit: AuditLog
    /// The agents' streams; nil: the seed does not serve, and has none.
    let hub: AgentHub?
    let clock: any WallClock
    let logger: Logger
}

/// Makes what a pivot sees around the seed.
typealias PivotSurroundingsMaker = @Sendable (PivotGround) throws -> any PivotSurroundings
