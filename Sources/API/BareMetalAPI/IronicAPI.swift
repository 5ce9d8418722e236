import APISupport
import CatalogBareMetal
import HTTPTypes
import Primitives
import ReconcileRuntime
import ResourceModel

/// OpenStack's bare-metal API (Ironic v1) below `/baremetal`: Muster's machines, and nodes without hardware beside them.
public enum IronicAPI {
    /// Where it is mounted.
    public static let path = "/baremetal"

    /// The versions that are spoken; who asks for none gets the oldest.
    public static let microversions = MicroversionRules(
        serviceName: "baremetal", header: HTTPField.Name("X-OpenStack-Ironic-API-Version")!,
        range: Microversion(1, 1)...Microversion(1, 115), unasked: Microversion(1, 1))

    /// The service over `backend`.
    public static func service(_ backend: BareMetalBackend, door: APIDoor) -> APIService<BareMetalBackend> {
        APIService(
            title: "Bare metal", type: "baremetal", path: path, backend: backend, routes: routes,
            microversions: microversions, door: door, errorBody: { $0.ironicBody })
    }

    /// Every route; the version in the path may be left out, as in the links that are called `bookmark`.
    public static let routes: [APIRoute<BareMetalBackend>] =
        versionRoutes + versioned + versioned.map(\.withoutVersion)

    private static let versioned: [BareMetalRoute] =
        nodeRoutes + stateRoutes + traitRoutes + portRoutes + driverRoutes + chassisRoutes
        + conductorRoutes

    /// The kinds that handlers read from the cache.
    public static let cachedKinds: [any Resource.Type] = [
        MachineMembers.self, FakeNode.self, NodePort.self, Chassis.self,
    ]

    /// What the cache has to find resources by.
    public static let cacheIndexes = [
        AnyCacheIndex(machinesByMAC), AnyCacheIndex(fakeNodesByName), AnyCacheIndex(portsByNode),
        AnyCacheIndex(portsByAddress),
    ]

    /// Machines by what they are called: the operators' API has the cache keep the index of this name.
    static let machinesByName = CacheIndex<Node>("name") { [$0.spec.name] }
    static let machinesByMAC = CacheIndex<Node>("mac") { $0.status.identity.macs.map(\.description) }
    static let fakeNodesByName = CacheIndex<FakeNode>("name") { [$0.spec.members["name"]?.string ?? ""] }
    static let portsByNode = CacheIndex<NodePort>("node") { [$0.spec.node] }
    static let portsByAddress = CacheIndex<NodePort>("address") { [$0.spec.address.description] }
}

typealias BareMetalCall = APICall<BareMetalBackend>
typealias BareMetalRoute = APIRoute<BareMetalBackend>

extension APIRoute {
    /// The same below a path without `/v1`.
    fileprivate var withoutVersion: APIRoute {
        APIRoute(
            method, path.replacing("/v1/", with: "/", maxReplacements: 1), access, summary, versions: versions,
            query: query,
            request: request, response: response, status: status, otherStatus: otherStatus, target: target,
            handle: handle)
    }
}
