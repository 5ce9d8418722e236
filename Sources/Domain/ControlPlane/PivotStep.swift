import Primitives
import ResourceModel

/// One step of the move from a seed to controllers; each may be done twice.
public enum PivotStep: Hashable, Sendable {
    /// Wait until a controller is active and its agent is connected.
    case prepare(String)
    /// Wait until it has fetched the master key and its certificates.
    case handOverSecrets(String)
    /// Have all run the members that found the store.
    case foundMembers
    /// Wait until the members have a leader.
    case awaitStore
    /// Set the mark at which conductors on the new store wait.
    case reserveStore
    /// Have all run conductors, which wait at the mark.
    case assignConductors
    /// Tell proxies, the shared address and agents of the controllers.
    case publish
    /// Wait until connected agents know the controllers.
    case tellAgents
    /// Have the seed refuse writes.
    case freezeSeed
    /// Have the seed answer no DHCP.
    case stopSeedDHCP
    /// Copy the store, from the beginning.
    case copyStore
    /// Compare every document.
    case verifyStore
    /// Take the mark away: the point of no return. The conductors that waited serve.
    case openStore
    /// Have the seed drop its agents, and answer only what the controllers still need of it.
    case letGo
    /// Wait until the controllers' control plane is as it was asked for, blobs included.
    case awaitSettled
    /// End the seed.
    case retireSeed
    /// Have the seed take writes again.
    case thawSeed
    /// Have the seed answer DHCP again.
    case startSeedDHCP
    /// Forget the controllers, on the way back.
    case dismissControllers

    /// Whether nothing is done but to wait for others.
    public var isWait: Bool {
        switch self {
        case .prepare, .handOverSecrets, .awaitStore, .tellAgents, .awaitSettled: true
        default: false
        }
    }
}

extension PivotStep: CustomStringConvertible {
    public var description: String {
        switch self {
        case .prepare(let name): "make sure that \(name) is ready"
        case .handOverSecrets(let name): "hand the site's secrets over to \(name)"
        case .foundMembers: "start the members of the new store"
        case .awaitStore: "wait until the new store has a leader"
        case .reserveStore: "reserve the new store: conductors that start on it wait"
        case .assignConductors: "start the controllers' conductors"
        case .publish: "tell proxies and agents of the controllers"
        case .tellAgents: "wait until connected agents know the controllers"
        case .freezeSeed: "make the seed read-only, for seconds"
        case .stopSeedDHCP: "stop DHCP at the seed"
        case .copyStore: "copy the store"
        case .verifyStore: "compare the copy with the seed's store"
        case .openStore: "open the new store (from here on there is no way back)"
        case .letGo: "let the agents go to the controllers"
        case .awaitSettled: "wait until the controllers have everything, blobs too"
        case .retireSeed: "end the seed"
        case .thawSeed: "let the seed take writes again"
        case .startSeedDHCP: "start DHCP at the seed again"
        case .dismissControllers: "take the controllers' members and conductors away"
        }
    }
}

/// Why a pivot does not go on.
public enum PivotRefusal: UserFacingError, Hashable {
    case noControllers
    case badCount(Int)
    /// The new store has documents of somebody else.
    case storeTaken(ResourceKey)
    /// The new store is open, and the seed takes writes too.
    case twoTruths
    /// There is no way back any more.
    case pastReturn

    public var publicMessage: String {
        switch self {
        case .noControllers: "No controller is named: deploy one or three nodes with the role controller first."
        case .badCount(let count): "A store is not founded with \(count) members: name 1, 3 or 5 controllers."
        case .storeTaken(let key):
            "The controllers' store is not empty: it has \(key), which is not of this pivot. Go back "
                + "(muster controller pivot --back) and begin anew; the members are founded anew then."
        case .twoTruths:
            "The new store is open, and the seed takes writes as well: what is written to the seed from now on is lost. Stop "
                + "the seed at once (systemctl stop muster-conductor), and look at its audit log."
        case .pastReturn: "The new store is open already; there is no way back, only on."
        }
    }
}
