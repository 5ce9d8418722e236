import AgentProtocol
import CatalogBareMetal
import Primitives

/// What a node's state asks of the ramdisk that runs on it: a pure projection.
public enum DiscoveryOrders {
    /// What is asked, before secrets are put in.
    public enum Wanted: Sendable, Hashable {
        /// Nothing yet.
        case wait(reason: String)
        /// Write the image.
        case deploy
        /// Empty disks.
        case clean(CleanOrder)
        /// Let an operator log in.
        case rescue
        /// Done: the power will be reset.
        case standBy
    }

    /// What `node` asks of the ramdisk of its present session.
    public static func wanted(of node: Node) -> Wanted {
        guard node.status.session?.isTrusted == true else {
            return .wait(reason: node.status.wait?.cause ?? "this boot was not asked for")
        }
        switch node.status.state {
        case .deploying(.writing):
            return .deploy
        case .cleaning(.wiping):
            guard let cleaning = node.spec.cleaning else { return .wait(reason: "the cleaning was taken back") }
            return .clean(cleaning.order)
        case .rescuing(.opening), .rescue:
            return .rescue
        case .deploying(.bootingDisk), .deploying(.enrolling), .unrescuing:
            return .standBy
        default:
            return .wait(reason: node.status.wait?.cause ?? "nothing is asked of this machine")
        }
    }

    /// The order's number: rises through a deployment, cleaning or rescue, its retries and those after it.
    public static func number(of node: Node) -> UInt64 {
        let step: UInt64 =
            switch wanted(of: node) {
            case .wait: 0
            case .deploy, .clean, .rescue: 1
            case .standBy: 2
            }
        let orders = node.status.attempted.number + (node.status.cleaned ?? 0) + (node.status.rescued ?? 0)
        return 1 + orders * 100 + UInt64(min(node.status.retries, 30)) * 3 + step
    }
}

extension Node {
    /// Whether a network boot of this machine is answered with its disk.
    public var bootsItsDisk: Bool {
        switch status.state {
        case .active, .deploying(.bootingDisk), .deploying(.enrolling), .deploying(.checking), .unrescuing: true
        default: false
        }
    }
}
