import AgentProtocol
import CatalogIdentity
import Primitives
import ResourceModel

/// Who is asking.
public enum Principal: Sendable, Hashable, CustomStringConvertible {
    /// A person or a program with an operator's token.
    case `operator`(name: String, role: OperatorRole)
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
        case .operator(let name, _): "operator:\(name)"
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

/// Decides who may do what. What no row of the table allows is denied.
public struct Authorizer: Sendable {
    /// One row: these principals may do these actions to resources of these kinds.
    struct Grant: Sendable {
        let to: Subject
        let actions: Set<Action>
        let kinds: Kinds
        /// Whether the resource's name must be the machine's own identifier.
        let isOwnOnly: Bool
    }

    enum Subject: Sendable, Hashable {
        case role(OperatorRole)
        case node
        case session
        case anonymous
    }

    enum Kinds: Sendable, Hashable {
        case all
        /// All whose kind does not start with this.
        case allBut(prefix: String)
        case prefix(String)
        case only(String)
    }

    /// The table. Secrets have no action `read` that anybody is granted: they leave by no API.
    static let grants: [Grant] = [
        Grant(.role(.admin), [.create, .update, .delete, .approve, .deploy, .power, .console, .rescue, .rotate], .all),
        Grant(.role(.admin), [.read], .allBut(prefix: "identity.")),
        Grant(.role(.admin), [.read], .only(AuditEvent.kind)),
        Grant(.role(.admin), [.read], .only(OperatorToken.kind)),
        Grant(.role(.member), [.read], .allBut(prefix: "identity.")),
        Grant(
            .role(.member), [.update, .delete, .approve, .deploy, .power, .console, .rescue], .only("baremetal.node")),
        Grant(.role(.member), [.update, .delete], .only("baremetal.conflict")),
        Grant(.role(.reader), [.read], .allBut(prefix: "identity.")),
        Grant(.node, [.follow, .report, .enrol], .only("baremetal.node"), isOwnOnly: true),
        Grant(.session, [.follow, .report], .only("baremetal.node"), isOwnOnly: true),
        Grant(.session, [.read], .only("baremetal.image")),
        Grant(.anonymous, [.register], .only("baremetal.node")),
        Grant(.anonymous, [.enrol], .only(EnrolmentToken.kind)),
    ]

    /// The authorizer with the product's table.
    public init() {}

    /// Returns when `principal` may do `action` to `resource`; throws `Denied` otherwise.
    ///
    /// For a list use the kind with the name `*`.
    public func authorize(_ principal: Principal, _ action: Action, _ resource: ResourceKey) throws(Denied) {
        let (subject, own): (Subject?, String?) =
            switch principal {
            case .operator(_, let role): (.role(role), nil)
            case .user: (nil, nil)
            case .node(let id): (.node, id.raw)
            case .session(let id): (.session, id.raw)
            case .anonymous: (.anonymous, nil)
            }
        let isAllowed = Self.grants.contains { grant in
            grant.to == subject && grant.actions.contains(action) && grant.kinds.contains(resource.kind)
                && (!grant.isOwnOnly || own == resource.name)
        }
        guard isAllowed else { throw Denied(principal: principal, action: action, resource: resource) }
    }
}

extension Authorizer.Grant {
    init(_ subject: Authorizer.Subject, _ actions: Set<Action>, _ kinds: Authorizer.Kinds, isOwnOnly: Bool = false) {
        self.init(to: subject, actions: actions, kinds: kinds, isOwnOnly: isOwnOnly)
    }
}

extension Authorizer.Kinds {
    func contains(_ kind: String) -> Bool {
        switch self {
        case .all: true
        case .allBut(let prefix): !kind.hasPrefix(prefix)
        case .prefix(let prefix): kind.hasPrefix(prefix)
        case .only(let only): kind == only
        }
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
        case .operator(let name, let role):
            "The operator '\(name)' has the role '\(role.rawValue)', which may not \(action.rawValue) \(resource.kind); "
                + "ask an administrator."
        case .user: "A token of the cloud's APIs gives nothing here."
        case .node, .session:
            "A machine may only work on what is its own."
        }
    }
}
