import AgentProtocol
import CatalogIdentity
import Primitives
import ResourceModel

/// Who is asking.
public enum Principal: Sendable, Hashable, CustomStringConvertible {
    /// A person or a program with an operator's token, or one of the cloud's; rules say what it may do.
    case `operator`(name: String)
    /// Somebody with a token of the identity API: the user's name, and that of the project or domain where the token is
    /// good, or `system`. What they may do is for the policy to say, not for `Authorizer`.
    case user(name: String, place: String?)
    /// An installed agent, known by its certificate.
    case node(NodeID)
    /// A machine in the ramdisk, known by its session's token.
    case session(NodeID)
    /// Anybody.
    case anonymous

    /// As audit events have it, for example `operator:admin`.
    public var description: String {
        switch self {
        case .operator(let name): "operator:\(name)"
        case .user(let name, nil): "user:\(name.printable(limit: Self.shownLengthMax))"
        case .user(let name, let place?):
            "user:\(name.printable(limit: Self.shownLengthMax))/\(place.printable(limit: Self.shownLengthMax))"
        case .node(let id): "node:\(id)"
        case .session(let id): "session:\(id)"
        case .anonymous: "anonymous"
        }
    }

    /// Characters of a name that callers have chosen.
    private static let shownLengthMax = 64
}

/// What somebody wants to do to a resource.
public enum Action: String, Sendable, Hashable, Codable, CaseIterable {
    // Operators.
    case read
    case create
    case update
    case delete
    case approve
    case deploy
    case power
    case console
    /// Boot a machine into the rescue ramdisk, with a password for root.
    case rescue
    /// Revoke or make anew.
    case rotate
    /// Move the site from its first conductor to controllers.
    case pivot
    // Machines.
    /// Say what one is and get a session.
    case register
    /// Ask for orders or the view.
    case follow
    /// Tell status, progress, metrics or logs.
    case report
    /// Ask for a certificate.
    case enrol
}

/// Decides what machines and strangers may do; what no row of the table allows is denied. Operators are for the policy's
/// rules, and get nothing here.
public struct Authorizer: Sendable {
    /// One row: these principals may do these actions to resources of this kind.
    struct Grant: Sendable {
        let to: Subject
        let actions: Set<Action>
        let kind: String
        /// Whether the resource's name must be the machine's own identifier.
        let isOwnOnly: Bool
    }

    enum Subject: Sendable, Hashable {
        case node
        case session
        case anonymous
    }

    /// The table.
    static let grants: [Grant] = [
        Grant(.node, [.follow, .report, .enrol], "baremetal.node", isOwnOnly: true),
        Grant(.session, [.follow, .report], "baremetal.node", isOwnOnly: true),
        Grant(.session, [.read], "baremetal.image"),
        Grant(.anonymous, [.register], "baremetal.node"),
        Grant(.anonymous, [.enrol], EnrolmentToken.kind),
    ]

    /// The authorizer with the product's table.
    public init() {}

    /// Returns when `principal` may do `action` to `resource`; throws `Denied` otherwise.
    ///
    /// For a list use the kind with the name `*`.
    public func authorize(_ principal: Principal, _ action: Action, _ resource: ResourceKey) throws(Denied) {
        let (subject, own): (Subject?, String?) =
            switch principal {
            case .operator, .user: (nil, nil)
            case .node(let id): (.node, id.raw)
            case .session(let id): (.session, id.raw)
            case .anonymous: (.anonymous, nil)
            }
        let isAllowed = Self.grants.contains { grant in
            grant.to == subject && grant.actions.contains(action) && grant.kind == resource.kind
                && (!grant.isOwnOnly || own == resource.name)
        }
        guard isAllowed else { throw Denied(principal: principal, action: action, resource: resource) }
    }
}

extension Authorizer.Grant {
    init(_ subject: Authorizer.Subject, _ actions: Set<Action>, _ kind: String, isOwnOnly: Bool = false) {
        self.init(to: subject, actions: actions, kind: kind, isOwnOnly: isOwnOnly)
    }
}

/// Somebody may not do what was asked.
public struct Denied: UserFacingError, Hashable {
    /// Who.
    public let principal: Principal
    /// What.
    public let action: Action
    /// To what.
    public let resource: ResourceKey

    /// A refusal.
    public init(principal: Principal, action: Action, resource: ResourceKey) {
        self.principal = principal
        self.action = action
        self.resource = resource
    }

    public var publicMessage: String {
        switch principal {
        case .anonymous:
            "A token is needed to \(action.rawValue) \(resource.kind); give the operator's token."
        case .operator(let name):
            "The operator '\(name)' may not \(action.rawValue) \(resource.kind); ask an administrator."
        case .user: "A token of the cloud's APIs gives nothing here."
        case .node, .session:
            "A machine may only work on what is its own."
        }
    }
}
