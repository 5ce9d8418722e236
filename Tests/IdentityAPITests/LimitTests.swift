import HTTPTypes
import Primitives
import Testing

@Suite struct LimitTests {
    private func registered(_ cloud: CloudScene, _ service: String, _ resource: String, region: String? = nil)
        async throws -> String
    {
        let answer = try await cloud.call(
            .post, "/registered_limits",
            [
                "registered_limits": [
                    [
                        "service_id": .string(service), "resource_name": .string(resource), "default_limit": 5,
                        "region_id": .optional(region),
                    ]
                ]
            ])
        #expect(answer.status == 201, "\(answer.text)")
        return answer["registered_limits/0/id"].string ?? ""
    }

    private func limit(_ service: String, _ resource: String, _ owner: (String, String), _ amount: Int64 = 7)
        -> JSONValue
    {
        [
            "service_id": .string(service), "resource_name": .string(resource), owner.0: .string(owner.1),
            "resource_limit": .integer(amount),
        ]
    }

    @Test func aBulkIsMadeWholeOrNotAtAll() async throws {
        try await withCloud { cloud in
            let service = try await cloud.make("/services", "service", ["type": "compute"])
            let one: JSONValue = ["service_id": .string(service), "resource_name": "cores", "default_limit": 1]
            for (wrong, status) in [
                (["service_id": .string(service), "resource_name": "cores", "default_limit": 2] as JSONValue, 409),
                (["service_id": "nowhere", "resource_name": "ram", "default_limit": 2], 400),
                (["service_id": .string(service), "resource_name": "ram", "default_limit": -2], 400),
                (["service_id": .string(service), "resource_name": "ram", "default_limit": 2_147_483_648], 400),
                (["service_id": .string(service), "resource_name": " ", "default_limit": 2], 400),
                (
                    [
                        "service_id": .string(service), "resource_name": "ram", "default_limit": 2,
                        "region_id": "nowhere",
                    ], 400
                ),
                (["service_id": .string(service), "resource_name": "ram", "default_limit": 2, "color": "red"], 400),
            ] {
                let answer = try await cloud.call(.post, "/registered_limits", ["registered_limits": [one, wrong]])
                #expect(answer.status == status, "\(wrong): \(answer.text)")
            }
            #expect(try await cloud.call(.post, "/registered_limits", ["registered_limits": []]).status == 400)
            #expect(try await cloud.call(.get, "/registered_limits")["registered_limits"].array?.isEmpty == true)
        }
    }

    @Test func aBulkLargerThanACommitIsRefused() async throws {
        try await withCloud { cloud in
            let service = try await cloud.make("/services", "service", ["type": "compute"])
            func bulk(_ count: Int) -> JSONValue {
                .array(
                    (0..<count).map {
                        ["service_id": .string(service), "resource_name": .string("r\($0)"), "default_limit": 1]
                    })
            }
            #expect(try await cloud.call(.post, "/registered_limits", ["registered_limits": bulk(60)]).status == 400)
            #expect(try await cloud.call(.post, "/registered_limits", ["registered_limits": bulk(40)]).status == 201)
            #expect(try await cloud.call(.get, "/registered_limits")["registered_limits"].array?.count == 40)
        }
    }

    @Test func aLimitNeedsARegisteredOneAndOneOwner() async throws {
        try await withCloud { cloud in
            let service = try await cloud.make("/services", "service", ["type": "compute"])
            let project = try await cloud.make("/projects", "project", ["name": "p"])
            let owner = ("project_id", project)
            func create(_ limit: JSONValue) async throws -> Int {
                try await cloud.call(.post, "/limits", ["limits": [limit]]).status
            }
            #expect(try await create(limit(service, "cores", owner)) == 403, "nothing is registered")
            _ = try await registered(cloud, service, "cores")
            #expect(try await create(limit(service, "cores", ("project_id", "nowhere"))) == 400)
            #expect(try await create(limit(service, "cores", ("domain_id", project))) == 400, "it is no domain")
            var both = limit(service, "cores", owner).object ?? [:]
            both["domain_id"] = "default"
            #expect(try await create(.object(both)) == 400)
            both["domain_id"] = nil
            both["project_id"] = nil
            #expect(try await create(.object(both)) == 400)
            #expect(try await create(limit(service, "cores", owner)) == 201)
            #expect(try await create(limit(service, "cores", owner)) == 409)
            #expect(try await create(limit(service, "cores", ("domain_id", "default"))) == 201)
            #expect(
                try await create(limit(service, "cores", ("project_id", "default"))) == 409, "the domain as a project")
            let one = limit(service, "ram", owner)
            _ = try await registered(cloud, service, "ram")
            let twice = try await cloud.call(.post, "/limits", ["limits": [one, one]])
            #expect(twice.status == 409)
        }
    }

    @Test func aRegisteredLimitInUseStays() async throws {
        try await withCloud { cloud in
            let service = try await cloud.make("/services", "service", ["type": "compute"])
            let id = try await registered(cloud, service, "cores")
            let made = try await cloud.call(
                .post, "/limits", ["limits": [limit(service, "cores", ("domain_id", "default"))]])
            let limitID = made["limits/0/id"].string ?? ""
            let change: JSONValue = ["registered_limit": ["default_limit": 9]]
            #expect(try await cloud.call(.patch, "/registered_limits/\(id)", change).status == 403)
            #expect(try await cloud.call(.delete, "/registered_limits/\(id)").status == 403)
            #expect(try await cloud.call(.delete, "/limits/\(limitID)").status == 204)
            let changed = try await cloud.call(.patch, "/registered_limits/\(id)", change)
            #expect(changed.status == 200)
            #expect(changed["registered_limit/default_limit"] == 9)
            #expect(try await cloud.call(.delete, "/registered_limits/\(id)").status == 204)
            _ = try await registered(cloud, service, "cores")
        }
    }

    @Test func aRenamedRegisteredLimitGivesItsNameUp() async throws {
        try await withCloud { cloud in
            let service = try await cloud.make("/services", "service", ["type": "compute"])
            let id = try await registered(cloud, service, "cores")
            _ = try await registered(cloud, service, "ram")
            let taken = try await cloud.call(
                .patch, "/registered_limits/\(id)", ["registered_limit": ["resource_name": "ram"]])
            #expect(taken.status == 409)
            let free = try await cloud.call(
                .patch, "/registered_limits/\(id)", ["registered_limit": ["resource_name": "disks"]])
            #expect(free.status == 200)
            _ = try await registered(cloud, service, "cores")
        }
    }

    @Test func limitsGoWithTheirServiceProjectAndRegion() async throws {
        try await withCloud { cloud in
            let service = try await cloud.make("/services", "service", ["type": "compute"])
            let region = try await cloud.make("/regions", "region", ["id": "north"])
            let project = try await cloud.make("/projects", "project", ["name": "p"])
            let id = try await registered(cloud, service, "cores")
            _ = try await registered(cloud, service, "cores", region: region)
            let made = try await cloud.call(
                .post, "/limits", ["limits": [limit(service, "cores", ("project_id", project))]])
            #expect(made.status == 201)
            #expect(try await cloud.call(.delete, "/projects/\(project)").status == 204)
            #expect(try await cloud.call(.get, "/limits")["limits"].array?.isEmpty == true)
            #expect(try await cloud.call(.delete, "/regions/\(region)").status == 204)
            #expect(try await cloud.call(.get, "/registered_limits")["registered_limits"].array?.count == 1)
            #expect(try await cloud.call(.delete, "/services/\(service)").status == 204)
            #expect(try await cloud.call(.get, "/registered_limits/\(id)").status == 404)
        }
    }

    @Test func aProjectSeesItsOwnLimitsOnly() async throws {
        try await withCloud { cloud in
            let service = try await cloud.make("/services", "service", ["type": "compute"])
            _ = try await registered(cloud, service, "cores")
            let mine = try await cloud.make("/projects", "project", ["name": "mine"])
            let other = try await cloud.make("/projects", "project", ["name": "other"])
            let made = try await cloud.call(
                .post, "/limits",
                [
                    "limits": [
                        limit(service, "cores", ("project_id", mine)), limit(service, "cores", ("project_id", other)),
                        limit(service, "cores", ("domain_id", "default")),
                    ]
                ])
            let ids = (0..<3).map { made["limits/\($0)/id"].string ?? "" }
            let reader = try await cloud.user(role: "reader", in: mine)
            let seen = try await cloud.call(.get, "/limits", token: reader.token)
            #expect(seen["limits"].array?.map { $0["id"]?.string } == [ids[0]])
            #expect(try await cloud.call(.get, "/limits/\(ids[0])", token: reader.token).status == 200)
            #expect(try await cloud.call(.get, "/limits/\(ids[1])", token: reader.token).status == 403)
            #expect(
                try await cloud.call(.get, "/limits/nowhere", token: reader.token).status == 403, "it does not leak")
            #expect(try await cloud.call(.patch, "/limits/nowhere", ["limit": [:]], token: reader.token).status == 404)
            #expect(try await cloud.call(.get, "/limits")["limits"].array?.count == 3)
            #expect(try await cloud.call(.get, "/limits/model", token: reader.token)["model/name"] == "flat")
        }
    }
}
