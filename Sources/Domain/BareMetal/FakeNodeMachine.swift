import CatalogBareMetal
import Primitives

/// What a client wants of a node's life. Ironic's words (Ironic, "Node provisioning", target states).
public enum ProvisionVerb: String, Sendable, Hashable, CaseIterable {
    case manage, provide, active, deploy, rebuild, deleted, undeploy, inspect, clean, service, abort, adopt, rescue
    case unrescue, unhold

    /// The verb that it is another word for, else itself.
    public var plain: ProvisionVerb {
        switch self {
        case .deploy: .active
        case .undeploy: .deleted
        default: self
        }
    }
}

/// The life of a node without hardware: each verb is done the moment it is said.
public enum FakeNodeMachine {
    /// The status after `verb`; nil: it cannot be said in this state.
    public static func after(_ verb: ProvisionVerb, _ status: FakeNode.Status, now: Timestamp) -> FakeNode.Status? {
        guard let next = next(verb.plain, status.state) else { return nil }
        var changed = status
        changed.state = next
        changed.since = now
        switch verb.plain {
        case .active, .rebuild, .rescue, .unrescue: changed.isOn = true
        case .deleted, .clean: changed.isOn = false
        case .inspect: changed.inspected = now
        default: break
        }
        return changed
    }

    /// The state that `verb` leads to; nil: none.
    static func next(_ verb: ProvisionVerb, _ state: FakeNodeState) -> FakeNodeState? {
        switch (verb, state) {
        case (.manage, .enroll), (.manage, .available), (.inspect, .manageable), (.clean, .manageable): .manageable
        case (.provide, .manageable), (.deleted, .active), (.deleted, .rescue): .available
        case (.active, .available), (.rebuild, .active), (.service, .active), (.adopt, .manageable),
            (.unrescue, .rescue):
            .active
        case (.rescue, .active), (.rescue, .rescue): .rescue
        default: nil
        }
    }
}
