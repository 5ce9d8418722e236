import APISupport
import CatalogBareMetal
import HTTPTypes
import Primitives
import ReconcileRuntime
import ResourceModel

/// The site's conductors (since version 1.49): those that run, and those that were reached once and do not answer.
///
/// API reference: https://docs.openstack.org/api-ref/baremetal/#conductors-conductors
extension IronicAPI {
    static let conductorRoutes: [BareMetalRoute] = [
        BareMetalRoute(
            .get, "/v1/conductors", .rule("baremetal:conductor:get"), "Lists conductors.",
            versions: Microversion(1, 49)...,
            response: conductorPage
        ) { try $0.listConductors() },
        BareMetalRoute(
            .get, "/v1/conductors/{hostname}", .rule("baremetal:conductor:get"), "Shows a conductor.",
            versions: Microversion(1, 49)..., response: conductorElement
        ) { try $0.showConductor() },
    ]
}

/// A conductor as the bare-metal API has it.
struct ConductorView: Sendable {
    /// The name it is registered under.
    let name: String
    let created: Timestamp
    let isAlive: Bool

    /// All members but the links.
    static let known: Set<String> = ["hostname", "conductor_group", "alive", "drivers", "created_at", "updated_at"]
    static let short: Set<String> = ["hostname", "conductor_group", "alive", "links"]

    /// All conductors as `now` has them, in order of their names.
    static func all(_ now: CacheSnapshot) -> [ConductorView] {
        let running = now.all(ConductorRecord.self).map {
            ConductorView(name: $0.metadata.name, created: $0.spec.started, isAlive: true)
        }
        let names = Set(running.map(\.name))
        let gone = now.all(ConductorEndpoint.self).filter { !names.contains($0.metadata.name) }.map {
            ConductorView(name: $0.metadata.name, created: $0.metadata.created, isAlive: false)
        }
        return (running + gone).sorted { $0.name < $1.name }
    }

    /// The conductor with the members in `fields`; nil: all. When it was heard last is not kept, so that it is null.
    func render(_ base: String, fields: Set<String>?) -> JSONValue {
        var members: [String: JSONValue] = [
            "hostname": .string(name), "conductor_group": "", "alive": .bool(isAlive),
            "drivers": .array(isAlive ? DriverName.all.map { .string($0) } : []), "created_at": .string(created.ironic),
            "updated_at": nil, "links": .array(IronicAPI.links(base, "conductors", name)),
        ]
        if let fields { members = members.filter { fields.contains($0.key) } }
        return .object(members)
    }
}

extension APICall where Backend == BareMetalBackend {
    fileprivate func listConductors() throws -> APIAnswer {
        let isDetailed = try query["detail"].map { (text) throws(APIError) in
            guard let flag = NodeField.flag(text) else { throw .badRequest("Invalid value for detail.") }
            return flag
        }
        let fields = try fields(known: ConductorView.known.union(["links"]), firstMinor: [:])
        guard fields == nil || isDetailed != true else {
            throw APIError.badRequest("Can't fetch a subset of fields with 'detail' set")
        }
        var conductors = ConductorView.all(now)
        guard ["hostname", "id", nil].contains(query["sort_key"]) else {
            throw APIError.badRequest("Conductors can be sorted by their hostname only.")
        }
        if query["sort_dir"] == "desc" { conductors.reverse() }
        let (page, next) = try page(conductors[...], path: "conductors", id: \.name)
        let shown = fields ?? (isDetailed == true ? nil : ConductorView.short)
        return .list("conductors", page.map { $0.render(base, fields: shown).text }, next)
    }

    fileprivate func showConductor() throws -> APIAnswer {
        let name = parameter("hostname")
        let fields = try fields(known: ConductorView.known.union(["links"]), firstMinor: [:])
        guard let found = ConductorView.all(now).first(where: { $0.name == name }) else {
            throw APIError.missing("Conductor", name)
        }
        return .json(found.render(base, fields: fields))
    }
}
