import AgentProtocol
import Primitives

extension ControlPlaneRecord {
    /// Where clients reach the API, best first: the shared address, or else every published controller.
    public var endpoints: [String] {
        if let vip = spec.vip { return ["https://\(vip.address):\(spec.proxied.api)"] }
        return status.assignments.filter { status.published.contains($0.controller) }
            .map { "https://\($0.address):\(spec.proxied.api)" }
    }
}
