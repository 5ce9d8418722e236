import HTTPTypes
import Primitives
import Testing

@Suite struct LimitTests {
    @Test func `projects above and below come with their limits when that is asked`() async throws {
        try await withCloud { cloud in
            let (service, region) = (
                try await cloud.make("/services", "service", ["type": "compute", "name": "nova"]),
                try await cloud.make("/regions", "region", ["id": "r"])
            )
            let registered: JSONValue = [
                "registered_limits": [
                    [
                        "service_id": .string(service), "region_id": .string(region), "resource_name": "cores",
                        "default_limit": 10,
                    ]
                ]
            ]
            #expect(try await cloud.call(.post, "/registered_limits", registered).status == 201)
            let parent = try await cloud.make("/projects", "project", ["name": "parent"])
            let child = try await cloud.make("/projects", "project", ["name": "child", "parent_id": .string(parent)])
            let admin = try #require(try await cloud.call(.get, "/users?name=admin")["users/0/id"].string)
            let role = try await cloud.roleID("admin")
            for project in [parent, child] {
                #expect(try await cloud.call(.put, "/projects/\(project)/users/\(admin)/roles/\(role)").status == 204)
            }
            let limit: JSONValue = [
                "limits": [
                    [
                        "service_id": .string(service), "region_id": .string(region), "resource_name": "cores",
                        "project_id": .string(parent), "resource_limit": 5,
                    ]
                ]
            ]
            #expect(try await cloud.call(.post, "/limits", limit).status == 201)
            let path = "/projects/\(child)?parents_as_list"
            let with = try await cloud.call(.get, "\(path)&include_limits=true")
            #expect(with["project/parents/0/project/limits/0/resource_limit"] == 5, "\(with.text)")
            #expect(try await cloud.call(.get, path)["project/parents/0/project/limits"] == .null)
        }
    }

    @Test func `a role on a domain that is off is listed, with names too`() async throws {
        try await withCloud { cloud in
            let domain = try await cloud.make("/domains", "domain", ["name": "idle", "enabled": false])
            let user = try await cloud.make("/users", "user", ["name": "u"])
            let role = try await cloud.make("/roles", "role", ["name": "of-idle", "domain_id": .string(domain)])
            let granted = try await cloud.call(.put, "/domains/\(domain)/users/\(user)/roles/\(role)")
            #expect(granted.status == 204, "\(granted.text)")
            for query in ["user.id=\(user)", "role.id=\(role)", "scope.domain.id=\(domain)"] {
                for names in ["", "&include_names=True"] {
                    let rows = try await cloud.call(.get, "/role_assignments?\(query)\(names)")
                    #expect(rows["role_assignments"].array?.count == 1, "\(query)\(names): \(rows.text)")
                }
            }
        }
    }

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
