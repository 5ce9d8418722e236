import Primitives
import Testing

@testable import Identity

@Suite struct RoleInferenceTests {
    private func rules(_ pairs: [(String, String)]) -> RoleInference {
        RoleInference(pairs.map { RoleInference.Rule(prior: $0.0, implied: $0.1) })
    }

    @Test func `a role brings along what it implies, at any depth`() {
        let inference = rules([("admin", "manager"), ("manager", "member"), ("member", "reader"), ("service", "x")])
        #expect(inference.closure(of: ["admin"]) == ["admin", "manager", "member", "reader"])
        #expect(inference.closure(of: ["member", "service"]) == ["member", "reader", "service", "x"])
        #expect(inference.closure(of: ["reader"]) == ["reader"] && inference.closure(of: []).isEmpty)
        #expect(inference.rules(from: "manager").map(\.implied) == ["member", "reader"])
        #expect(inference.rules(from: "manager").map(\.prior) == ["manager", "member"])
    }

    @Test func `a circle ends`() {
        let circle = rules([("a", "b"), ("b", "c"), ("c", "a"), ("c", "c"), ("a", "b")])
        #expect(circle.closure(of: ["b"]) == ["a", "b", "c"])
        #expect(circle.rules(from: "b").map { "\($0.prior)\($0.implied)" } == ["bc", "ca", "cc", "ab"])
        #expect(circle.impliedDirectly(by: "a") == ["b"])
    }

    @Test func `many roles in a row cost no stack and little time`() {
        let inference = rules((0..<20_000).map { ("\($0)", "\($0 + 1)") })
        #expect(inference.closure(of: ["0"]).count == 20_001)
        #expect(inference.rules(from: "0").count == 20_000)
    }
}

@Suite struct RoleGrantsTests {
    /// The domain `d` has the projects `top`, `middle` below it and `leaf` below that, and `other`.
    private static func world() -> RoleWorld {
        RoleWorld(
            domains: ["d", "e"],
            parents: ["top": "d", "middle": "top", "leaf": "middle", "other": "d", "away": "e"],
            members: ["g": ["ann", "bob"], "h": ["ann"]],
            rules: [
                .init(prior: "admin", implied: "member"), .init(prior: "member", implied: "reader"),
                .init(prior: "dr", implied: "member"),
            ], domainRoles: ["dr", "idle"])
    }

    @Test func `a role counts where it was given and nowhere else`() {
        var world = Self.world()
        world.grant("member", .user("ann"), .project("middle"))
        let facts = world.facts
        #expect(facts.roles(ofUser: "ann", on: .project("middle")) == ["member", "reader"])
        for target in [RoleGrant.Target.project("top"), .project("leaf"), .domain("d"), .domain("middle"), .system] {
            #expect(facts.roles(ofUser: "ann", on: target) == [])
        }
        #expect(facts.roles(ofUser: "bob", on: .project("middle")) == [])
    }

    @Test func `an inherited role counts below and not at its target`() {
        var world = Self.world()
        world.grant("member", .user("ann"), .project("top"), inherited: true)
        world.grant("reader", .group("g"), .domain("e"), inherited: true)
        let facts = world.facts
        #expect(facts.roles(ofUser: "ann", on: .project("top")) == [])
        #expect(facts.roles(ofUser: "ann", on: .project("middle")) == ["member", "reader"])
        #expect(facts.roles(ofUser: "ann", on: .project("leaf")) == ["member", "reader"])
        #expect(facts.roles(ofUser: "ann", on: .project("other")) == [])
        #expect(facts.roles(ofUser: "bob", on: .project("away")) == ["reader"])
        #expect(facts.roles(ofUser: "bob", on: .domain("e")) == [])
        #expect(facts.reach(ofUser: "ann").projects == ["middle", "leaf", "away"])
    }

    @Test func `groups count, also those that only the token has`() {
        var world = Self.world()
        world.grant("admin", .group("g"), .system)
        world.grant("reader", .group("guests"), .domain("d"))
        let facts = world.facts
        #expect(facts.roles(ofUser: "bob", on: .system) == ["admin", "member", "reader"])
        #expect(facts.roles(ofUser: "eve", on: .system) == [])
        #expect(facts.roles(ofUser: "eve", on: .domain("d"), moreGroups: ["guests"]) == ["reader"])
        let reach = facts.reach(ofUser: "bob", moreGroups: ["guests"])
        #expect(reach.hasSystem && reach.domains == ["d"] && reach.projects.isEmpty)
    }

    @Test func `a domain role is not seen, what it implies is`() {
        var world = Self.world()
        world.grant("dr", .user("ann"), .project("top"))
        world.grant("idle", .user("ann"), .project("other"))
        let facts = world.facts
        #expect(facts.roles(ofUser: "ann", on: .project("top")) == ["member", "reader"])
        #expect(facts.roles(ofUser: "ann", on: .project("top"), keepsDomainRoles: true) == ["dr", "member", "reader"])
        #expect(facts.reach(ofUser: "ann").projects == ["top"])
        let list = facts.effectiveAssignments(EffectiveFilter(userID: "ann"), limit: 10)
        #expect(list.assignments.map(\.roleID) == ["member", "reader"])
        #expect(list.assignments.map(\.priorRoleID) == ["dr", "member"])
    }

    @Test func `an effective assignment says what it comes from`() throws {
        var world = Self.world()
        world.grant("member", .group("g"), .domain("d"), inherited: true)
        world.grant("admin", .user("ann"), .project("leaf"))
        let facts = world.facts
        let list = facts.effectiveAssignments(
            EffectiveFilter(userID: "ann", target: .project("leaf", withSubtree: false)), limit: 100)
        #expect(list.assignments.count == 5 && !list.isCut)
        let links = Dictionary(
            uniqueKeysWithValues: list.assignments.map { ("\($0.roleID) by \($0.grant.roleID)", $0.links) })
        let group = "/OS-INHERIT/domains/d/groups/g/roles/member/inherited_to_projects"
        #expect(links["member by member"] == .init(assignment: group, membership: "/groups/g/users/ann"))
        #expect(
            links["reader by member"]
                == .init(
                    assignment: group, membership: "/groups/g/users/ann", priorRole: "/prior_role/member/implies/reader"
                ))
        #expect(links["admin by admin"] == .init(assignment: "/projects/leaf/users/ann/roles/admin"))
        #expect(
            links["reader by admin"]
                == .init(
                    assignment: "/projects/leaf/users/ann/roles/admin", priorRole: "/prior_role/member/implies/reader"))
    }

    @Test func `the system is listed when it is asked for`() {
        var world = Self.world()
        world.grant("member", .group("g"), .system)
        let facts = world.facts
        #expect(facts.effectiveAssignments(EffectiveFilter(userID: "ann"), limit: 10).assignments.isEmpty)
        let all = facts.effectiveAssignments(EffectiveFilter(target: .system, roleID: "reader"), limit: 10).assignments
        #expect(Set(all.map(\.userID)) == ["ann", "bob"] && all.allSatisfy { $0.target == .system })
        #expect(all.first?.links.assignment == "/system/groups/g/roles/member")
    }

    @Test func `a list ends at its limit and says so`() {
        var world = Self.world()
        world.grant("admin", .group("g"), .domain("d"), inherited: true)
        let facts = world.facts
        let all = facts.effectiveAssignments(EffectiveFilter(), limit: 24)
        #expect(all.assignments.count == 24 && !all.isCut)
        let cut = facts.effectiveAssignments(EffectiveFilter(), limit: 23)
        #expect(cut.assignments.count == 23 && cut.isCut)
    }

    /// Every way of asking agrees with a plain computation that looks at everything.
    @Test(arguments: 0..<60) func `agrees with counting everything`(seed: Int) {
        var random = SeededRandom(seed: UInt64(seed))
        let world = RoleWorld.random(&random)
        let facts = world.facts
        let expected = world.everything()
        let all = facts.effectiveAssignments(EffectiveFilter(), limit: .max).assignments
        #expect(Set(all) == expected && all.count == expected.count)
        for user in world.users {
            #expect(
                Set(facts.effectiveAssignments(EffectiveFilter(userID: user), limit: .max).assignments)
                    == expected.filter { $0.userID == user })
            let targets = Set(expected.filter { $0.userID == user }.map(\.target))
            let reach = facts.reach(ofUser: user)
            #expect(targets == Set(reach.projects.map { .project($0) } + reach.domains.map { .domain($0) }))
            for target in world.targets {
                let roles = Set(expected.filter { $0.userID == user && $0.target == target }.map(\.roleID))
                #expect(facts.roles(ofUser: user, on: target) == roles.sorted())
            }
        }
        for project in world.parents.keys {
            for withSubtree in [false, true] {
                let wanted = [project] + (withSubtree ? world.below(project) : [])
                for inherited in [nil, true, false] as [Bool?] {
                    let filter = EffectiveFilter(
                        target: .project(project, withSubtree: withSubtree), isInherited: inherited)
                    let found = facts.effectiveAssignments(filter, limit: .max).assignments
                    let right = expected.filter { assignment in
                        wanted.contains { .project($0) == assignment.target }
                            && (inherited == nil || inherited == assignment.grant.isInherited)
                    }
                    #expect(Set(found).symmetricDifference(right).isEmpty && found.count == right.count)
                }
            }
        }
        for domain in world.domains {
            let found = facts.effectiveAssignments(EffectiveFilter(target: .domain(domain)), limit: .max).assignments
            #expect(Set(found) == expected.filter { $0.target == .domain(domain) })
        }
    }
}

/// A small world of projects, groups and grants.
private struct RoleWorld {
    var domains: [String]
    /// The parent of each project: a project or a domain.
    var parents: [String: String]
    var members: [String: [String]]
    var rules: [RoleInference.Rule]
    var domainRoles: Set<String>
    var grants: [RoleGrant] = []

    var users: [String] {
        let direct = grants.compactMap { grant -> String? in
            guard case .user(let id) = grant.actor else { return nil }
            return id
        }
        return Set(members.values.flatMap(\.self) + direct + ["nobody"]).sorted()
    }
    var targets: [RoleGrant.Target] { parents.keys.map { .project($0) } + domains.map { .domain($0) } }

    mutating func grant(
        _ role: String, _ actor: RoleGrant.Actor, _ target: RoleGrant.Target, inherited: Bool = false
    ) {
        let grant = RoleGrant(roleID: role, actor: actor, target: target, isInherited: inherited)
        if !grants.contains(grant) { grants.append(grant) }
    }

    func ancestors(_ project: String) -> [String] {
        var found: [String] = []
        var next = parents[project]
        while let parent = next, parents[parent] != nil {
            found.append(parent)
            next = parents[parent]
        }
        return found
    }

    func domain(_ project: String) -> String? { parents[ancestors(project).last ?? project] }

    func below(_ project: String) -> [String] { parents.keys.filter { ancestors($0).contains(project) } }

    var facts: RoleFacts {
        RoleFacts(
            grantsOfActor: { actor in grants.filter { $0.actor == actor } },
            grantsOnTarget: { target in grants.filter { $0.target == target } },
            allGrants: { grants.filter { $0.target != .system } },
            groupsOfUser: { user in members.keys.filter { members[$0]?.contains(user) == true }.sorted() },
            usersOfGroup: { members[$0] ?? [] },
            ancestorsOfProject: { ancestors($0) },
            childrenOfProject: { project in parents.keys.filter { parents[$0] == project }.sorted() },
            domainOfProject: { domain($0) },
            projectsOfDomain: { domain in parents.keys.filter { self.domain($0) == domain }.sorted() },
            isDomainRole: { domainRoles.contains($0) }, inference: RoleInference(rules))
    }

    /// Every assignment on projects and domains, by trying every grant, user, target and rule.
    func everything() -> Set<EffectiveAssignment> {
        var found: Set<EffectiveAssignment> = []
        for grant in grants {
            for user in users {
                let isTheirs =
                    switch grant.actor {
                    case .user(let id): id == user
                    case .group(let id): members[id]?.contains(user) == true
                    }
                guard isTheirs else { continue }
                for target in targets where isReached(target, by: grant) {
                    func add(_ role: String, _ prior: String?) {
                        guard !domainRoles.contains(role) else { return }
                        found.insert(
                            EffectiveAssignment(
                                roleID: role, userID: user, target: target, grant: grant, priorRoleID: prior))
                    }
                    add(grant.roleID, nil)
                    var held: Set<String> = [grant.roleID]
                    for _ in rules.indices {
                        for rule in rules where held.contains(rule.prior) {
                            held.insert(rule.implied)
                            add(rule.implied, rule.prior)
                        }
                    }
                }
            }
        }
        return found
    }

    private func isReached(_ target: RoleGrant.Target, by grant: RoleGrant) -> Bool {
        guard grant.isInherited else { return grant.target == target }
        guard case .project(let project) = target else { return false }
        switch grant.target {
        case .domain(let id): return domain(project) == id
        case .project(let id): return ancestors(project).contains(id)
        case .system: return false
        }
    }

    static func random(_ random: inout SeededRandom) -> RoleWorld {
        var world = RoleWorld(
            domains: ["d0", "d1"], parents: [:], members: [:], rules: [], domainRoles: ["r4", "r5"])
        for index in 0..<7 {
            let parents = world.domains + (0..<index).map { "p\($0)" }
            world.parents["p\(index)"] = parents.randomElement(using: &random)
        }
        for index in 0..<3 {
            world.members["g\(index)"] = (0..<4).map { "u\($0)" }.filter { _ in Bool.random(using: &random) }
        }
        for _ in 0..<6 {
            let (prior, implied) = (Int.random(in: 0..<6, using: &random), Int.random(in: 0..<4, using: &random))
            let rule = RoleInference.Rule(prior: "r\(prior)", implied: "r\(implied)")
            if !world.rules.contains(rule) { world.rules.append(rule) }
        }
        for _ in 0..<12 {
            let actor: RoleGrant.Actor =
                Bool.random(using: &random)
                ? .group("g\(Int.random(in: 0..<3, using: &random))")
                : .user("u\(Int.random(in: 0..<4, using: &random))")
            let target = world.targets.sorted { "\($0)" < "\($1)" }.randomElement(using: &random) ?? .system
            world.grant(
                "r\(Int.random(in: 0..<6, using: &random))", actor, target, inherited: Bool.random(using: &random))
        }
        return world
    }
}
