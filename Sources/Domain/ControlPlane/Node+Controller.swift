import AgentProtocol
import CatalogBareMetal

extension Node {
    /// Whether its agent has told that it has what a controller has to have: the site's master key, and its certificate for
    /// the store; nil: it has not told.
    public var hasControllerSecrets: Bool? {
        status.agent?.conditions.first { $0.type == Condition.controllerSecretsReady }?.isTrue
    }

    /// Whether it is active and its agent is connected.
    public var isActiveAndConnected: Bool { status.state == .active && status.agent?.connection == .open }
}
