import APISupport
import HTTPTypes
import Primitives

extension IronicAPI {
    static let versionRoutes: [BareMetalRoute] = [
        BareMetalRoute(.get, "", .open, "Lists the API's versions.", response: .any) { call in
            .json([
                "name": "OpenStack Ironic API",
                "description":
                    "Ironic is an OpenStack project which enables the provision and management of baremetal machines.",
                "default_version": version(call.base), "versions": [version(call.base)],
            ])
        },
        BareMetalRoute(.get, "/v1", .open, "Shows version 1 of the API.", response: .any) { call in
            var members: [String: JSONValue] = [
                "id": "v1", "version": version(call.base),
                "links": [
                    ["rel": "self", "href": .string("\(call.base)/v1/")],
                    [
                        "rel": "describedby", "type": "text/html",
                        "href": "https://docs.openstack.org/ironic/latest/contributor/webapi.html",
                    ],
                ],
                "media_types": ["base": "application/json", "type": "application/vnd.openstack.ironic.v1+json"],
            ]
            for name in ["chassis", "nodes", "ports", "drivers"] + (call.minor >= 49 ? ["conductors"] : []) {
                members[name] = .array(links(call.base, name, ""))
            }
            return .json(.object(members))
        },
    ]

    private static func version(_ base: String) -> JSONValue {
        [
            "id": "v1", "status": "CURRENT", "links": [["rel": "self", "href": .string("\(base)/v1/")]],
            "min_version": .string("\(microversions.range.lowerBound)"),
            "version": .string("\(microversions.range.upperBound)"),
        ]
    }

    /// The two links that everything has: with the version in the path and without.
    static func links(_ base: String, _ collection: String, _ rest: String) -> [JSONValue] {
        [
            ["rel": "self", "href": .string("\(base)/v1/\(collection)/\(rest)")],
            ["rel": "bookmark", "href": .string("\(base)/\(collection)/\(rest)")],
        ]
    }
}
