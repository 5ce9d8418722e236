import APISupport
import CatalogBareMetal
import HTTPTypes
import Primitives
import ReconcileRuntime
import ResourceModel

extension IronicAPI {
    static let driverRoutes: [BareMetalRoute] = [
        BareMetalRoute(
            .get, "/v1/drivers", .rule("baremetal:driver:get"), "Lists drivers.",
            response: driverList
        ) { call in
            if call.query["type"] != nil, call.minor < 30 { throw APIError.notInVersion }
            let isDetailed = call.minor >= 30 && call.query["detail"].flatMap(NodeField.flag) ?? false
            let names = call.query["type"] == "classic" ? [] : DriverName.all
            return .json(["drivers": .array(names.map { call.driver($0, isDetailed: isDetailed) })])
        },
        BareMetalRoute(
            .get, "/v1/drivers/{driver_name}", .rule("baremetal:driver:get"), "Shows a driver.",
            response: driverElement
        ) { call in
            let name = call.parameter("driver_name")
            guard DriverName.all.contains(name) else {
                throw APIError.notFound(
                    "Could not find the following driver(s) or hardware type(s): \(name.printable(limit: 80)).")
            }
            return .json(call.driver(name, isDetailed: true))
        },
    ]
}

extension APICall where Backend == BareMetalBackend {
    fileprivate func driver(_ name: String, isDetailed: Bool) -> JSONValue {
        var members: [String: JSONValue] = [
            "name": .string(name), "hosts": .array(now.all(ConductorRecord.self).map { .string($0.metadata.name) }),
            "links": .array(IronicAPI.links(base, "drivers", name)),
        ]
        if minor >= 14 { members["properties"] = .array(IronicAPI.links(base, "drivers", "\(name)/properties")) }
        guard minor >= 30 else { return .object(members) }
        members["type"] = "dynamic"
        guard isDetailed else { return .object(members) }
        for (kind, interface) in DriverName.interfaces(of: name) where NodeField.isShown("\(kind)_interface", in: minor)
        {
            members["default_\(kind)_interface"] = .string(interface)
            members["enabled_\(kind)_interfaces"] = [.string(interface)]
        }
        return .object(members)
    }
}
