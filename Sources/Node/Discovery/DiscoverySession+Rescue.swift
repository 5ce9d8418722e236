import AgentProtocol
import Primitives

extension DiscoveryOrder {
    var isRescue: Bool {
        if case .rescue = action { true } else { false }
    }
}

extension DiscoverySession {
    mutating func advanceRescue(_ event: DiscoveryEvent, _ effects: inout [DiscoveryEffect]) {
        switch event {
        case .rescueOpened(let order, let access) where order == rescue:
            report(DiscoveryProgress(order: order, stage: .rescued(access)))
            effects.append(.log(level: "info", "ssh is open, host key \(access.fingerprint)"))
        case .rescueLogin(let order, let from) where order == rescue:
            report(DiscoveryProgress(order: order, stage: .login(from: from)))
            effects.append(.log(level: "warning", "somebody logged in from \(from.printable(limit: 80))"))
        case .rescueClosed(let order) where order == lastOrder:
            // The power is reset once this is heard.
            report(DiscoveryProgress(order: order, stage: .finished))
            effects.append(.log(level: "info", "logins are ended, and what was mounted is written back"))
        default: break
        }
    }

    mutating func endRescue(with message: String, _ effects: inout [DiscoveryEffect]) {
        guard let order = rescue else { return }
        rescue = nil
        report(DiscoveryProgress(order: order, stage: .failed(message: message, retryable: true)))
        effects += [.closeRescue(order: order), .log(level: "error", message)]
    }
}
