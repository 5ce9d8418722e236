import APISupport
import CatalogIdentity
import HTTPTypes
import Identity
import Policy
import Primitives
import ReconcileRuntime
import ResourceModel

extension KeystoneAPI {
    private static let named: Schema = .object(["id": .string(), "name": .string()], required: ["id"])
    private static let assignmentElement: Schema = .object(
        [
            "role": named, "user": named, "group": named, "links": .links,
            "scope": .either(
                ["project": named, "domain": named, "system": .object(["all": .boolean], required: ["all"])].map {
                    .object([$0: $1, "OS-INHERIT:inherited_to": .choice(["projects"])], required: [$0])
                }),
        ], required: ["role", "scope", "links"])

    static let assignmentRoutes: [IdentityRoute] = [
        IdentityRoute(
            .get, "/v3/role_assignments", .token, "Lists who has which roles where.",
            response: .object(
                ["role_assignments": .array(of: assignmentElement), "links": .links],
                required: ["role_assignments", "links"])
        ) { call in
            let question = try AssignmentQuestion(call)
            if let tree = question.tree {
                guard let project = call.directory.project(tree) else { throw APIError.missing("project", tree) }
                let domain = project.spec.domainID ?? project.id
                try call.demand(
                    "identity:list_role_assignments_for_tree",
                    PolicyTarget([
                        "target": [
                            "domain_id": .string(domain), "project": projectNoun.target(project)["project"] ?? nil,
                        ]
                    ]))
            } else {
                try call.demand(
                    "identity:list_role_assignments",
                    ofDomainScope(call))
            }
            let list = AssignmentList(directory: call.directory, base: call.base, now: call.backend.clock.now)
            return .json([
                "role_assignments": .array(try list.answer(question)),
                "links": ["self": .string("\(call.base)/v3/role_assignments"), "next": nil, "previous": nil],
            ])
        }
    ]
}

/// What a list of assignments is asked for.
struct AssignmentQuestion {
    var user: String?
    var group: String?
    var role: String?
    var project: String?
    var domain: String?
    var isSystem = false
    var isInherited: Bool?
    var isEffective = false
    var hasNames = false
    /// The project whose tree is asked for.
    var tree: String?
    /// The domain that the caller's token is cut to.
    var ownDomain: String?

    init(_ call: IdentityCall) throws {
        let query = call.query
        user = query["user.id"]
        group = query["group.id"]
        role = query["role.id"]
        project = query["scope.project.id"]
        domain = query["scope.domain.id"]
        isSystem = query["scope.system"] != nil
        isInherited = query["scope.OS-INHERIT:inherited_to"].map { $0 == "projects" }
        isEffective = query.flag("effective")
        hasNames = query.flag("include_names")
        ownDomain = call.caller.credentials.domainID
        let scopes = [project != nil, domain != nil, isSystem].filter { $0 }.count
        guard scopes <= 1 else {
            throw APIError.badRequest("Specify one of scope.project.id, scope.domain.id and scope.system.")
        }
        guard user == nil || group == nil else { throw APIError.badRequest("Specify a user or a group, not both.") }
        guard !isEffective || group == nil else {
            throw APIError.badRequest("Combining effective and group filter will always result in an empty list.")
        }
        guard !isEffective || isInherited != true || domain == nil else {
            throw APIError.badRequest(
                "Combining effective, domain and inherited filters will always result in an empty list.")
        }
        if query.flag("include_subtree") {
            guard let project else { throw APIError.badRequest("scope.project.id must be given with include_subtree.") }
            tree = project
        }
    }
}
