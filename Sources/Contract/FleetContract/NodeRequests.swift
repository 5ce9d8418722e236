import AgentProtocol
import CatalogBareMetal
import Primitives

/// POST `nodes/{node}/approve`: lets a machine in.
public struct ApproveRequest: Codable, Sendable, Hashable {
    /// What it shall do; nil: as a rule or an operator has said before.
    public var role: Role?
    /// A name for it; nil: the one it has.
    public var name: String?
    /// The image to write; nil: the role's own.
    public var image: String?
    /// Whether it is let in although the rules contradict each other or it is not what its bill of materials says; nil:
    /// no.
    public var acceptsDifference: Bool?

    /// A request.
    public init(role: Role? = nil, name: String? = nil, image: String? = nil, acceptsDifference: Bool? = nil) {
        self.role = role
        self.name = name
        self.image = image
        self.acceptsDifference = acceptsDifference
    }
}

/// POST `nodes/{node}/deploy`: has the image written anew.
public struct DeployRequest: Codable, Sendable, Hashable {
    /// The image to write; nil: the one asked for last, or the role's own.
    public var image: String?

    /// A request.
    public init(image: String? = nil) { self.image = image }
}

/// POST `nodes/{node}/clean`: has disks emptied.
public struct CleanRequestBody: Codable, Sendable, Hashable {
    /// The disks by serial number, WWN or path; nil: all that are neither read-only nor removable.
    public var disks: [String]?
    /// How.
    public var method: CleanMethod
    /// Whether an active node may be meant: its role is taken away.
    public var release: Bool?

    /// A request.
    public init(disks: [String]?, method: CleanMethod, release: Bool? = nil) {
        self.disks = disks
        self.method = method
        self.release = release
    }
}

/// POST `nodes/{node}/power` and `bmcs/{bmc}/power`.
public struct PowerCommand: Codable, Sendable, Hashable {
    /// What to do.
    public var action: Node.PowerRequest.Action

    /// A command.
    public init(action: Node.PowerRequest.Action) { self.action = action }
}

/// PATCH `nodes/{node}`: changes what is given and leaves the rest.
public struct NodePatch: Codable, Sendable, Hashable {
    /// Another name.
    public var name: String?
    /// Another role; taken up by the next deployment.
    public var role: Role?
    /// Another rack; an empty text: not known.
    public var rack: String?
    /// Another image; taken up by the next deployment.
    public var image: String?
    /// Chooses another root disk; taken up by the next deployment.
    public var rootDisk: RootDiskHint?
    /// Chooses the disks of its pool, at once; none are named: what is in a pool stays, and nothing more is taken.
    public var dataDisks: DataDisks?
    /// Another BMC, by name.
    public var bmc: String?
    /// Another node network, by name; empty: none, DHCP on every card. Taken up at once.
    public var network: String?
    /// Whether nothing shall be done to it.
    public var isInMaintenance: Bool?
    /// Why, with `isInMaintenance` true only.
    public var maintenanceReason: String?
    /// True: the node is not known by its TPM any more, as the board or the TPM was replaced; the next boot may show another,
    /// or none.
    public var forgetsTPM: Bool?

    /// A change.
    public init(
        name: String? = nil, role: Role? = nil, image: String? = nil, rootDisk: RootDiskHint? = nil,
        dataDisks: DataDisks? = nil, bmc: String? = nil, network: String? = nil, isInMaintenance: Bool? = nil,
        maintenanceReason: String? = nil, rack: String? = nil
    ) {
        self.rack = rack
        self.name = name
        self.role = role
        self.image = image
        self.rootDisk = rootDisk
        self.dataDisks = dataDisks
        self.bmc = bmc
        self.network = network
        self.isInMaintenance = isInMaintenance
        self.maintenanceReason = maintenanceReason
    }

    /// Whether nothing is to be changed.
    public var isEmpty: Bool { self == NodePatch() }
}

/// The answer to a removal.
public struct RemovalReply: Codable, Sendable, Hashable {
    /// What was removed.
    public var name: String
    /// What that means, for people.
    public var message: String

    /// A reply.
    public init(name: String, message: String) {
        self.name = name
        self.message = message
    }
}

/// The answer to an order: what was written down; the conductor carries it out.
public struct NodeOrderReply: Codable, Sendable, Hashable {
    /// The node as it is after the order was written.
    public var node: NodeSummary
    /// What happens now, for people.
    public var message: String
    /// The deployment that was asked for last; 0: none.
    public var deployment: Generation

    /// A reply.
    public init(node: NodeSummary, message: String, deployment: Generation) {
        self.node = node
        self.message = message
        self.deployment = deployment
    }
}
