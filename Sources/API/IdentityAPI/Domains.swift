import APISupport
import CatalogIdentity
import HTTPTypes
import Identity
import Policy
import Primitives
import ReconcileRuntime
import ResourceModel

extension KeystoneAPI {
    static let domainNoun = Noun<ProjectSpec>(member: "domain", collection: "domains", path: "/v3/domains") { domain in
        [
            "name": .string(domain.spec.name), "enabled": .bool(domain.spec.isEnabled),
            "description": .optional(domain.spec.description), "tags": .array(domain.spec.tags.map { .string($0) }),
            "options": Immutability.options(domain.spec.isImmutable),
        ].over(domain.spec.extra)
    }

    private static let domainMembers: [String: Schema] = [
        "name": .string(min: 1, max: 64, form: .notBlank), "description": .string().orNull, "enabled": .boolean,
        "tags": ProjectTags.schema, "options": Immutability.schema,
    ]
    static let domainAnswer = domainNoun.schema(
        [
            "name": .string(), "enabled": .boolean, "description": Schema.string().orNull,
        ],
        required: ["name", "enabled"])

    private static func ofPathDomain(_ call: IdentityCall) -> PolicyTarget {
        let id = call.parameter("domain_id")
        return PolicyTarget([
            "domain_id": .string(id), "target": .object(domainNoun.target(call.directory.domain(id))),
        ])
    }

    private static func ofExistingDomain(_ call: IdentityCall) throws -> PolicyTarget {
        let id = call.parameter("domain_id")
        guard call.directory.domain(id) != nil else { throw APIError.missing("domain", id) }
        return ofPathDomain(call)
    }

    static let domainRoutes: [IdentityRoute] = [
        IdentityRoute(
            .get, "/v3/domains", .rule("identity:list_domains"), "Lists domains.",
            response: domainAnswer.list("domains"),
            target: { call in
                guard let id = call.caller.credentials.domainID else { return PolicyTarget() }
                return PolicyTarget(["target": ["domain": ["id": .string(id)]]])
            }
        ) { call in
            var domains = call.directory.domains
            if let own = call.caller.credentials.domainID { domains.removeAll { $0.id != own } }
            return try domainNoun.list(domains, call)
        },
        IdentityRoute(
            .post, "/v3/domains", .rule("identity:create_domain"), "Makes a domain.",
            request: .object(
                [
                    "domain": .object(
                        domainMembers.merging(["explicit_domain_id": .string(min: 1, max: 64, form: .identifier)]) {
                            $1
                        }, required: ["name"])
                ],
                required: ["domain"]), response: domainAnswer
        ) { try await $0.createDomain() },
        IdentityRoute(
            .get, "/v3/domains/{domain_id}", .rule("identity:get_domain"), "Shows a domain.", response: domainAnswer,
            target: ofPathDomain
        ) { call in
            let id = call.parameter("domain_id")
            guard let domain = call.directory.domain(id) else { throw APIError.missing("domain", id) }
            return domainNoun.answer(domain, call)
        },
        IdentityRoute(
            .patch, "/v3/domains/{domain_id}", .rule("identity:update_domain"), "Changes a domain.",
            request: .object(["domain": .object(domainMembers, minCount: 1)], required: ["domain"]),
            response: domainAnswer, status: .ok, target: ofExistingDomain
        ) { try await $0.updateDomain() },
        IdentityRoute(
            .delete, "/v3/domains/{domain_id}", .rule("identity:delete_domain"),
            "Deletes a domain that is off, with all that is in it.", target: ofExistingDomain
        ) { call in
            let id = call.parameter("domain_id")
            guard let domain = call.directory.domain(id) else { throw APIError.missing("domain", id) }
            guard domain.spec.isImmutable != true else { throw APIError.immutable("domain", id) }
            guard !domain.spec.isEnabled else {
                throw APIError.forbidden(
                    "Cannot delete a domain that is enabled, please disable it first: set 'enabled' to false.")
            }
            try await call.deleteTree("identity:delete_domain", domain)
            return .empty
        },
    ]
}

extension APICall where Backend == IdentityBackend {
    fileprivate func createDomain() async throws -> APIAnswer {
        let given = object("domain")
        let name = (given["name"]?.string ?? "")
        let id = given["explicit_domain_id"]?.string ?? backend.newID()
        let domain = try await change("identity:create_domain", Project.key(id)) { directory in
            guard directory.domain(named: name) == nil else {
                throw APIError.duplicate(
                    "domain", "it is not permitted to have two domains with the same name: \(name)")
            }
            guard directory.entry(Project.self, id) == nil else {
                throw APIError.duplicate("domain", "Duplicate ID, \(id)")
            }
            var spec = ProjectSpec(name: name, domainID: nil, parentID: nil)
            spec.description = ""
            try spec.apply(given, known: ProjectSpec.domainMembers)
            let domain = Project(name: id, created: backend.clock.now, spec: spec)
            var plan = IdentityPlan()
            try plan.create(domain)
            try plan.take(.domain(name), for: id, at: backend.clock.now)
            return (plan, domain)
        }
        return KeystoneAPI.domainNoun.answer(domain, self)
    }

    fileprivate func updateDomain() async throws -> APIAnswer {
        let given = object("domain")
        let id = parameter("domain_id")
        let domain = try await change("identity:update_domain", Project.key(id)) { directory in
            guard var stored = directory.now.stored(Project.self, CatalogName.of(id)), directory.domain(id) != nil
            else {
                throw APIError.missing("domain", id)
            }
            let before = stored.value.spec
            try before.checkMutable(given, sort: "domain", id)
            try stored.value.spec.apply(given, known: ProjectSpec.domainMembers)
            if before.isEnabled, !stored.value.spec.isEnabled { stored.value.spec.tokensFrom = backend.clock.now }
            var plan = IdentityPlan()
            if let name = given["name"]?.string, name != before.name {
                guard directory.domain(named: name) == nil else {
                    throw APIError.duplicate(
                        "domain", "it is not permitted to have two domains with the same name: \(name)")
                }
                stored.value.spec.name = name
                plan.free(.domain(before.name))
                try plan.take(.domain(name), for: id, at: backend.clock.now)
            }
            try plan.update(stored)
            return (plan, stored.value)
        }
        return KeystoneAPI.domainNoun.answer(domain, self)
    }
}

/// `options.immutable` of projects, domains and roles.
enum Immutability {
    static let schema: Schema = .object(["immutable": Schema.boolean.orNull], others: nil)

    static func options(_ isImmutable: Bool?) -> JSONValue {
        isImmutable.map { ["immutable": .bool($0)] } ?? [:]
    }

    /// The option as given; nil outside: it is not given.
    static func given(_ members: [String: JSONValue]) -> Bool?? {
        guard let option = members["options"]?["immutable"] else { return nil }
        return .some(option.bool)
    }
}

/// The tags of projects and domains.
enum ProjectTags {
    static let countMax = 80
    static let tag: Schema = .string(min: 1, max: 255)
    static let schema: Schema = .array(of: tag, max: countMax, isUnique: true)

    /// Throws `APIError` 400 for tags with `/` or `,`.
    static func check(_ tags: [String]) throws {
        for tag in tags where tag.contains("/") || tag.contains(",") {
            throw APIError.badRequest("The tag '\(tag.printable(limit: 80))' must have neither '/' nor ','.")
        }
    }
}

extension ProjectSpec {
    static let domainMembers: Set<String> = [
        "id", "name", "description", "enabled", "tags", "options", "links", "explicit_domain_id", "domain_id",
        "is_domain",
        "parent_id",
    ]
    static let projectMembers = domainMembers

    /// Takes over what is given, the name excepted.
    mutating func apply(_ given: [String: JSONValue], known: Set<String>) throws {
        if let value = given["description"] { description = value.string }
        if let value = given["enabled"]?.bool { isEnabled = value }
        if let value = given["tags"]?.array?.compactMap(\.string) {
            try ProjectTags.check(value)
            tags = value.sorted()
        }
        if let value = Immutability.given(given) { isImmutable = value }
        extra = Extra.updated(extra, by: given, known: known)
    }

    /// Throws `APIError` 403 when it is immutable and more is asked than to end that.
    func checkMutable(_ given: [String: JSONValue], sort: String, _ id: String) throws {
        guard isImmutable == true else { return }
        if let now = Immutability.given(given), now != true, given.keys.allSatisfy({ $0 == "options" }) { return }
        throw APIError.immutable(sort, id)
    }
}
