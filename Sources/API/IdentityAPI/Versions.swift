import APISupport
import HTTPTypes
import Primitives

extension KeystoneAPI {
    static let versionRoutes: [IdentityRoute] = [
        IdentityRoute(.get, "", .open, "Lists the API's versions.", response: .any, status: .multipleChoices) { call in
            .json(
                ["versions": ["values": [version(call.base)]]],
                headers: [.location: "\(call.base)/v3/"])
        },
        IdentityRoute(.get, "/v3", .open, "Shows version 3 of the API.", response: .any) { call in
            .json(["version": version(call.base)])
        },
    ]

    /// Keystone's newest version of the API whose form this one has.
    static let newest = "v3.14"

    private static func version(_ base: String) -> JSONValue {
        [
            "id": .string(newest), "status": "stable", "updated": "2020-04-07T00:00:00Z",
            "links": [["rel": "self", "href": .string("\(base)/v3/")]],
            "media-types": [["base": "application/json", "type": "application/vnd.openstack.identity-v3+json"]],
        ]
    }
}
