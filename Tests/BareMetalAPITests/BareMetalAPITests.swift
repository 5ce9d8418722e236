import APISupport
import BareMetalAPI
import CatalogBareMetal
import HTTPTypes
import Policy
import Primitives
import ResourceModel
import TestSupport
import Testing

private let owner = BareMetalFixture.owner

@Suite struct BareMetalAPITests {
    @Test func versionsAreNegotiated() async throws {
        try await withBareMetal { api in
            let unasked = try await api.call(.get, "/v1/nodes", minor: nil)
            #expect(unasked.status == 200)
            #expect(unasked.headers[.init("X-OpenStack-Ironic-API-Version")!] == "1.1")
            #expect(unasked.headers[.init("OpenStack-API-Version")!] == "baremetal 1.1")
            let late = try await api.call(.get, "/v1/nodes", minor: 116)
            #expect(late.status == 406)
            #expect(late.headers[.init("X-OpenStack-Ironic-API-Maximum-Version")!] == "1.115")
            #expect(late.fault?.contains("1.116") == true)
            let root = try await api.call(.get, "", minor: nil, token: nil)
            #expect(root.body["default_version"]?["version"] == "1.115")
            #expect(try await api.call(.get, "/v1/nodes", token: nil).status == 401)
        }
    }

    @Test func membersComeWithTheirVersions() async throws {
        try await withBareMetal { api in
            let uuid = try await api.makeNode(["name": "n1", "resource_class": "big"], minor: 30)
            for (member, minor) in [
                ("name", 5), ("resource_class", 21), ("traits", 37), ("owner", 50), ("health", 109),
            ] {
                let before = try await api.call(.get, "/v1/nodes/\(uuid)", minor: minor - 1)
                #expect(before.status == 200 && before.body[member] == nil, "\(member)")
                #expect(try await api.call(.get, "/v1/nodes/\(uuid)", minor: minor).body[member] != nil, "\(member)")
            }
            #expect(try await api.call(.get, "/v1/nodes/n1", minor: 4).status == 404)
            let short = try await api.call(.get, "/v1/nodes").body["nodes"]?.array?.first?.object
            #expect(
                short.map { Set($0.keys) } == [
                    "instance_uuid", "links", "maintenance", "name", "power_state", "provision_state", "uuid",
                ])
            #expect(try await api.call(.get, "/v1/nodes?fields=uuid,name", minor: 7).status == 406)
            let fields = try await api.call(.get, "/v1/nodes?fields=uuid,driver")
            #expect(fields.body["nodes"] == [["uuid": .string(uuid), "driver": "fake-hardware"]])
            #expect(try await api.call(.get, "/v1/nodes?fields=spam").status == 400)
        }
    }

    @Test func machinesAreShownAndOrdered() async throws {
        try await withBareMetal { api in
            try await api.put(
                BMC(
                    metadata: Metadata(name: "b1", schemaVersion: 1, created: api.clock.now),
                    spec: BMC.Spec(address: "https://10.0.0.9", system: "1", username: "root", passwordSecret: "s"),
                    status: BMC.Status()))
            let uuid = try await api.addMachine(1) {
                $0.spec.bmc = "b1"
                $0.status.state = .deploying(.bootingRamdisk)
                $0.status.power = .on(since: api.clock.now)
            }
            let node = try await api.call(.get, "/v1/nodes/m1").body
            #expect(node["uuid"] == .string(uuid))
            #expect(node["driver"] == "redfish")
            #expect(node["driver_info"]?["redfish_address"] == "https://10.0.0.9")
            #expect(node["provision_state"] == "wait call-back")
            #expect(node["target_provision_state"] == "active")
            #expect(node["power_state"] == "power on")
            #expect(node["owner"] == .string(owner))
            let off = try await api.call(.put, "/v1/nodes/m1/states/power", ["target": "power off"])
            #expect(off.status == 202)
            #expect(try await api.store.fetch(Node.self, uuid)?.value.spec.power?.action == .off)
            #expect(try await api.call(.get, "/v1/nodes/m1/states").body["target_power_state"] == "power off")
            let soft = try await api.call(.put, "/v1/nodes/m1/states/power", ["target": "soft power off"])
            #expect(soft.status == 400)
            let deploy = try await api.call(.put, "/v1/nodes/m1/states/provision", ["target": "active"])
            #expect(deploy.status == 400)
            #expect(deploy.fault?.contains("while it is in state \"wait call-back\"") == true)
            let ports = try await api.call(.get, "/v1/nodes/m1/ports/detail").body["ports"]?.array
            #expect(ports?.first?["address"] == "52:54:00:00:00:01")
            let port = ports?.first?["uuid"]?.string ?? ""
            #expect(try await api.call(.get, "/v1/ports/\(port)").body["node_uuid"] == .string(uuid))
            #expect(try await api.call(.delete, "/v1/ports/\(port)").status == 400)
            #expect(try await api.call(.delete, "/v1/nodes/m1").status == 409)
        }
    }

    @Test func whatClientsKeepWithAMachineLeavesTheMachineAlone() async throws {
        try await withBareMetal { api in
            let uuid = try await api.addMachine(2)
            let patch: JSONValue = [
                ["op": "add", "path": "/extra/rack", "value": 7],
                ["op": "replace", "path": "/maintenance", "value": "true"],
                ["op": "replace", "path": "/name", "value": "m2b"],
                ["op": "add", "path": "/properties/a", "value": "b"],
            ]
            let changed = try await api.call(.patch, "/v1/nodes/\(uuid)", patch)
            #expect(changed.status == 200)
            #expect(changed.body["extra"] == ["rack": 7])
            #expect(changed.body["properties"] == ["a": "b"])
            let node = try await api.store.fetch(Node.self, uuid)?.value
            #expect(node?.spec.name == "m2b")
            #expect(node?.spec.maintenance?.by == "user:ann/system")
            #expect(try await api.store.fetch(MachineMembers.self, uuid)?.value.spec.members["extra"] == ["rack": 7])
            #expect(try await api.call(.put, "/v1/nodes/m2b/traits/CUSTOM_GPU").status == 204)
            #expect(try await api.call(.get, "/v1/nodes/m2b/traits").body == ["traits": ["CUSTOM_GPU"]])
            let internalMember: JSONValue = [["op": "replace", "path": "/uuid", "value": "x"]]
            #expect(try await api.call(.patch, "/v1/nodes/\(uuid)", internalMember).status == 400)
            let driver: JSONValue = [["op": "replace", "path": "/driver", "value": "ipmi"]]
            #expect(try await api.call(.patch, "/v1/nodes/\(uuid)", driver).status == 400)
            #expect(try await api.call(.delete, "/v1/nodes/\(uuid)/maintenance").status == 202)
            #expect(try await api.store.fetch(Node.self, uuid)?.value.spec.maintenance == nil)
        }
    }

    @Test func aNodeWithoutHardwareLives() async throws {
        try await withBareMetal { api in
            let uuid = try await api.makeNode(["name": "f1"])
            func provision(_ target: JSONValue) async throws -> Int {
                try await api.call(.put, "/v1/nodes/f1/states/provision", ["target": target]).status
            }
            #expect(try await provision("active") == 400)
            for target in ["manage", "provide", "active"] as [JSONValue] { #expect(try await provision(target) == 202) }
            #expect(try await api.call(.get, "/v1/nodes/f1").body["provision_state"] == "active")
            #expect(try await api.call(.delete, "/v1/nodes/f1").status == 409)
            #expect(try await provision("deleted") == 202)
            let address: JSONValue = ["node_uuid": .string(uuid), "address": "52:54:00:00:00:aa"]
            #expect(try await api.call(.post, "/v1/ports", address).status == 201)
            #expect(try await api.call(.post, "/v1/ports", address).status == 409)
            #expect(try await api.call(.delete, "/v1/nodes/f1").status == 204)
            #expect(try await api.call(.get, "/v1/ports").body == ["ports": []])
            #expect(try await api.store.fetchAll(TakenMark.self).isEmpty)
            #expect(try await api.makeNode(["name": "f1"]) != uuid)
        }
    }

    @Test func passwordsThatWereKeptAreNotShownAgain() async throws {
        try await withBareMetal { api in
            let uuid = try await api.makeNode([
                "name": "n1", "driver_info": ["ipmi_username": "root", "ipmi_password": "never again"],
            ])
            let shown = try await api.call(.get, "/v1/nodes/\(uuid)").body
            #expect(shown["driver_info"]?["ipmi_username"] == "root")
            #expect(shown["driver_info"]?["ipmi_password"] == "******")
            let list = try await api.call(.get, "/v1/nodes/detail").body
            #expect(!String(decoding: list.text, as: UTF8.self).contains("never again"))
        }
    }

    @Test func ofManyWhoWantANameOneGetsIt() async throws {
        try await withBareMetal { api in
            let statuses = try await withThrowingTaskGroup(of: Int.self) { group in
                for _ in 0..<20 {
                    group.addTask {
                        try await api.call(.post, "/v1/nodes", ["driver": "fake-hardware", "name": "one"]).status
                    }
                }
                return try await group.reduce(into: []) { $0.append($1) }
            }
            #expect(statuses.filter { $0 == 201 }.count == 1)
            #expect(statuses.filter { $0 == 409 }.count == 19)
        }
    }

    @Test func listsArePagedSortedAndFiltered() async throws {
        try await withBareMetal { api in
            var made: [String] = []
            for name in ["c", "a", "b"] {
                made.append(try await api.makeNode(["name": .string(name), "resource_class": .string(name)]))
                api.clock.advance(by: .seconds(1))
            }
            let first = try await api.call(.get, "/v1/nodes?limit=2")
            #expect(first.uuids == Array(made[0..<2]))
            #expect(first.body["next"]?.string?.hasSuffix("/v1/nodes?limit=2&marker=\(made[1])") == true)
            #expect(try await api.call(.get, "/v1/nodes?limit=2&marker=\(made[1])").uuids == [made[2]])
            #expect(try await api.call(.get, "/v1/nodes?sort_key=name").uuids == [made[1], made[2], made[0]])
            #expect(
                try await api.call(.get, "/v1/nodes?sort_key=name&sort_dir=desc").uuids == [made[0], made[2], made[1]])
            #expect(try await api.call(.get, "/v1/nodes/detail?resource_class=b").uuids == [made[2]])
            #expect(try await api.call(.get, "/v1/nodes?provision_state=active").uuids == [])
            for query in ["limit=-1", "marker=x", "sort_key=spam", "sort_dir=up", "spam=1", "maintenance=perhaps"] {
                #expect(try await api.call(.get, "/v1/nodes?\(query)").status == 400, "\(query)")
            }
        }
    }

    @Test func projectsSeeWhatIsTheirsOrLentToThem() async throws {
        try await withBareMetal { api in
            let machine = try await api.addMachine(3)
            let theirs = try await api.makeNode(["owner": "p1", "lessee": "p2"])
            func list(_ token: String) async throws -> [String] {
                try await api.call(.get, "/v1/nodes", token: token).uuids
            }
            #expect(try await list("reader@system").count == 2)
            #expect(try await list("reader@\(owner)") == [machine])
            #expect(try await list("reader@p1") == [theirs])
            #expect(try await list("reader@p2") == [theirs])
            #expect(try await list("reader@p3") == [])
            #expect(try await api.call(.get, "/v1/nodes/\(theirs)", token: "reader@p3").status == 404)
            let lent = try await api.call(.get, "/v1/nodes/\(theirs)", token: "reader@p2").body
            #expect(lent["driver_info"]?["content"]?.string?.contains("Redacted") == true)
            let power: JSONValue = ["target": "power on"]
            #expect(
                try await api.call(.put, "/v1/nodes/\(theirs)/states/power", power, token: "reader@p2").status == 403)
            #expect(
                try await api.call(.put, "/v1/nodes/\(theirs)/states/power", power, token: "member,reader@p2").status
                    == 202)
            let own = try await api.call(
                .post, "/v1/nodes", ["driver": "fake-hardware"], token: "admin,manager,member,reader@p3")
            #expect(own.body["owner"] == "p3")
        }
    }

    @Test func portsAreFoundByName() async throws {
        try await withBareMetal { api in
            let node = try await api.makeNode()
            let made = try await api.call(
                .post, "/v1/ports", ["node_uuid": .string(node), "address": "52:54:00:00:00:07", "name": "uplink"])
            #expect(made.status == 201, "\(made.body)")
            #expect(try await api.call(.get, "/v1/ports/uplink").body["uuid"] == made.body["uuid"])
            #expect(try await api.call(.get, "/v1/ports/uplink", minor: 87).status == 400)
            #expect(try await api.call(.get, "/v1/ports/downlink").status == 404)
            #expect(try await api.call(.delete, "/v1/ports/uplink").status == 204)
            #expect(try await api.call(.get, "/v1/ports/uplink").status == 404)
        }
    }

    @Test func mistakesAreToldAsIronicTellsThem() async throws {
        try await withBareMetal { api in
            let missing = try await api.call(.get, "/v1/nodes/nix")
            #expect(missing.status == 404)
            #expect(missing.fault == "Node nix could not be found.")
            let redfish = try await api.call(.post, "/v1/nodes", ["driver": "redfish"])
            #expect(redfish.status == 400)
            #expect(redfish.fault?.contains("enrol by booting") == true)
            let cases: [(JSONValue, Int, Int)] = [
                (["driver": "fake-hardware", "spam": 1], 115, 400),
                (["driver": "fake-hardware", "extra": 1], 115, 400),
                (["driver": "fake-hardware", "resource_class": "x"], 20, 406),
                (["driver": "fake-hardware", "name": "ä"], 115, 400),
                (["driver": "fake-hardware", "uuid": "x"], 115, 400), (["driver": "spam"], 115, 400),
                (["driver": "fake-hardware", "chassis_uuid": "00000000-0000-4000-8000-000000000000"], 115, 400),
            ]
            for (body, minor, status) in cases {
                #expect(try await api.call(.post, "/v1/nodes", body, minor: minor).status == status, "\(body)")
            }
            #expect(try await api.call(.get, "/v1/ports/52:54:00:00:00:01", minor: 87).status == 400)
            #expect(try await api.call(.get, "/v1/drivers/spam").status == 404)
            #expect(try await api.call(.get, "/v1/drivers").body["drivers"]?.array?.count == 4)
        }
    }

    @Test func conductorsAreListedAndThoseThatAreGoneAreNotAlive() async throws {
        try await withBareMetal { api in
            let node = try await api.makeNode()
            #expect(try await api.call(.get, "/v1/nodes/\(node)").body["conductor"] == JSONValue.null)
            try await api.addConductor("c2", isGone: true)
            try await api.addConductor("c1")
            try await api.addConductor("c3")
            #expect(try await api.call(.get, "/v1/nodes/\(node)").body["conductor"]?.string == "c1")
            #expect(try await api.call(.get, "/v1/nodes?conductor=c1").uuids == [node])
            #expect(try await api.call(.get, "/v1/nodes?conductor=c3").uuids == [])

            let listed = try await api.call(.get, "/v1/conductors").body["conductors"]?.array ?? []
            #expect(listed.map { $0["hostname"]?.string } == ["c1", "c2", "c3"])
            #expect(listed.map { $0["alive"]?.bool } == [true, false, true])
            #expect(listed.first?.object?.keys.sorted() == ["alive", "conductor_group", "hostname", "links"])
            let first = try await api.call(.get, "/v1/conductors?limit=1&sort_dir=desc&detail=true").body
            #expect(first["conductors"]?.array?.map { $0["hostname"]?.string } == ["c3"])
            #expect(first["conductors"]?.array?.first?["drivers"]?.array?.contains("redfish") == true)
            #expect(first["next"]?.string?.contains("marker=c3") == true)

            let one = try await api.call(.get, "/v1/conductors/c2?fields=hostname,drivers").body
            #expect(one == ["hostname": "c2", "drivers": []])
            #expect(try await api.call(.get, "/v1/drivers").body["drivers"]?.array?.first?["hosts"] == ["c1", "c3"])

            let mistakes: [(String, Int, Int)] = [
                ("/v1/conductors", 48, 404), ("/v1/conductors/nix", 115, 404), ("/v1/conductors?fields=spam", 115, 400),
                ("/v1/conductors?detail=true&fields=hostname", 115, 400), ("/v1/conductors?sort_key=drivers", 115, 400),
                ("/v1/conductors?marker=nix", 115, 400), ("/v1/conductors?detail=perhaps", 115, 400),
            ]
            for (path, minor, status) in mistakes {
                #expect(try await api.call(.get, path, minor: minor).status == status, "\(path)")
            }
        }
    }

    @Test func everyRouteNamesARuleThatThereIs() {
        let rules = Set(BareMetalPolicy.defaults.map(\.name))
        for route in IronicAPI.routes {
            guard case .rule(let name) = route.access else {
                #expect(route.path.isEmpty || route.path == "/v1")
                continue
            }
            #expect(rules.contains(name), "\(name)")
        }
    }
}
