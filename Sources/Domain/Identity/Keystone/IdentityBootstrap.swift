import CatalogIdentity
import Primitives
import ResourceModel

/// What a cloud has from its first start on: a domain, roles, an administrator, and its own services in the catalog.
public struct IdentityBootstrap: Sendable {
    /// The identifier of the first domain, which clients take for granted (`Default`).
    public static let defaultDomain = "default"

    /// The name of the administrators' project in that domain.
    public static let adminProject = "admin"

    /// The name of the project of the cloud's own services in that domain.
    public static let serviceProject = "service"

    /// A service that this program answers for.
    public struct BuiltIn: Sendable {
        /// For programs, for example `identity`.
        public var type: String
        /// For people.
        public var name: String
        /// Its address.
        public var url: String
        /// Whether it has a user of its own, as whom its parts ask other services.
        public var hasUser: Bool

        /// A service at `url`.
        public init(type: String, name: String, url: String, hasUser: Bool = true) {
            self.type = type
            self.name = name
            self.url = url
            self.hasUser = hasUser
        }
    }

    private let store: any ResourceStore
    private let passwords: PasswordDesk
    private let clock: any WallClock
    private let random: RandomBytes

    /// A bootstrap of `store`.
    public init(
        store: any ResourceStore, passwords: PasswordDesk, clock: any WallClock, random: RandomBytes = .system
    ) {
        self.store = store
        self.passwords = passwords
        self.clock = clock
        self.random = random
    }

    /// Makes all of it where there is no domain yet; `keep` is given the administrator's password beforehand, and has to
    /// keep it. Returns whether anything was made.
    ///
    /// Whoever is second at this finds that there is a domain. Throws what the store, the hashing and `keep` throw.
    @discardableResult
    public func run(keep: (SecretText) throws -> Void) async throws -> Bool {
        guard try await store.list(kind: Project.kind, after: nil, limit: 1).documents.isEmpty else { return false }
        let password = SecretText(Base64.urlSafe.encode(random(18)))
        try keep(password)
        var plan = Plan(clock.now, random)
        let admin = try plan.user("admin", hash: try await passwords.hash(password.revealed))
        try plan.domain()
        let adminProject = try plan.project(Self.adminProject, "The administrators' own project.")
        _ = try plan.project(Self.serviceProject, "The project of the cloud's own services.")
        var roles: [String: String] = [:]
        for name in ["admin", "manager", "member", "reader", "service"] { roles[name] = try plan.role(name) }
        for (prior, implied) in [("admin", "manager"), ("manager", "member"), ("member", "reader")] {
            try plan.imply(roles[prior] ?? "", roles[implied] ?? "")
        }
        let grant = [AssignmentSpec.Grant(roleID: roles["admin"] ?? "")]
        for target in [AssignmentSpec.Target.project(adminProject), .system] {
            try plan.assign(AssignmentSpec(actor: .user(admin), target: target, roles: grant))
        }
        do {
            _ = try await store.commit(plan.transaction)
        } catch {
            guard case .conflict = error else { throw error }
            return false
        }
        return true
    }

    /// Sees to it that the region is there, and that each service has endpoints in it; what is there already is left.
    ///
    /// A service that is new, the identity service apart, gets a user of its name with the role `service` in the project of
    /// services. `keep` is given its password beforehand, and has to keep it. A user that was deleted does not come back.
    public func ensureCatalog(
        region: String, _ services: [BuiltIn], keep: (_ service: String, SecretText) throws -> Void
    ) async throws {
        var kept: [String: SecretText] = [:]
        for _ in 0..<StoreContention.attemptCountMax {
            var plan = Plan(clock.now, random)
            if try await store.get(Region.key(CatalogName.of(region))) == nil {
                try plan.put(Region(name: CatalogName.of(region), created: clock.now, spec: RegionSpec(id: region)))
            }
            let known = try await store.fetchAll(CloudService.self).map(\.value)
            let endpoints = try await store.fetchAll(Endpoint.self).map(\.value)
            for service in services {
                let found = known.first { $0.spec.type == service.type }
                let id = try found?.id ?? plan.service(service)
                if found == nil, service.hasUser, try await canHaveUser(service) {
                    let password = kept[service.name] ?? SecretText(Base64.urlSafe.encode(random(18)))
                    if kept.updateValue(password, forKey: service.name) == nil { try keep(service.name, password) }
                    try await addUser(of: service, password, to: &plan)
                }
                for interface in ["public", "internal", "admin"] {
                    let isThere = endpoints.contains {
                        $0.spec.serviceID == id && $0.spec.interface == interface && $0.spec.regionID == region
                    }
                    if !isThere { try plan.endpoint(of: id, interface, service.url, region: region) }
                }
            }
            guard !plan.transaction.operations.isEmpty else { return }
            do {
                _ = try await store.commit(plan.transaction)
                return
            } catch {
                guard case .conflict = error else { throw error }
            }
        }
    }

    /// Whether the name of a service's user is free.
    private func canHaveUser(_ service: BuiltIn) async throws -> Bool {
        try await holder(of: .user(service.name, domain: Self.defaultDomain)) == nil
    }

    /// Plans the user of a new service, with its role where the project and the role are still there.
    private func addUser(of service: BuiltIn, _ password: SecretText, to plan: inout Plan) async throws {
        let user = try plan.user(service.name, hash: try await passwords.hash(password.revealed))
        guard let project = try await holder(of: .project(Self.serviceProject, domain: Self.defaultDomain)),
            let role = try await holder(of: .role("service", domain: nil))
        else { return }
        try plan.assign(
            AssignmentSpec(actor: .user(user), target: .project(project), roles: [AssignmentSpec.Grant(roleID: role)]))
    }

    private func holder(of name: UniqueName) async throws -> String? {
        try await store.fetch(NameMark.self, name.mark)?.value.spec.id
    }

    private struct Plan {
        var transaction = Transaction()
        private let now: Timestamp
        private let random: RandomBytes

        init(_ now: Timestamp, _ random: RandomBytes) {
            self.now = now
            self.random = random
        }

        private func newID() -> String { Hex.encode(random(16)) }

        mutating func put(_ resource: some Resource) throws {
            let stored = Stored(new: resource)
            transaction.conditions.append(stored.unchanged)
            transaction.operations.append(try stored.put())
        }

        private mutating func take(_ name: UniqueName, _ id: String) throws {
            try put(NameMark(name: name.mark, created: now, spec: NameMarkSpec(id: id)))
        }

        mutating func domain() throws {
            var spec = ProjectSpec(name: "Default", domainID: nil, parentID: nil)
            spec.description = "The default domain"
            try put(Project(name: IdentityBootstrap.defaultDomain, created: now, spec: spec))
            try take(.domain("Default"), IdentityBootstrap.defaultDomain)
        }

        mutating func project(_ name: String, _ description: String) throws -> String {
            let id = newID()
            let domain = IdentityBootstrap.defaultDomain
            var spec = ProjectSpec(name: name, domainID: domain, parentID: domain)
            spec.description = description
            try put(Project(name: id, created: now, spec: spec))
            try take(.project(name, domain: domain), id)
            return id
        }

        mutating func user(_ name: String, hash: String) throws -> String {
            let id = newID()
            let domain = IdentityBootstrap.defaultDomain
            var spec = UserSpec(name: name, domainID: domain)
            spec.passwords = [UserSpec.Password(hash: hash, created: now)]
            try put(User(name: id, created: now, spec: spec))
            try take(.user(name, domain: domain), id)
            return id
        }

        mutating func role(_ name: String) throws -> String {
            let id = newID()
            var spec = RoleSpec(name: name)
            spec.isImmutable = true
            try put(UserRole(name: id, created: now, spec: spec))
            try take(.role(name, domain: nil), id)
            return id
        }

        mutating func imply(_ prior: String, _ implied: String) throws {
            let spec = RoleImplicationSpec(priorID: prior, impliedID: implied)
            try put(RoleImplication(name: spec.name, created: now, spec: spec))
        }

        mutating func assign(_ spec: AssignmentSpec) throws {
            try put(Assignment(name: AssignmentSpec.name(spec.actor, spec.target), created: now, spec: spec))
        }

        mutating func service(_ service: BuiltIn) throws -> String {
            let id = newID()
            try put(
                CloudService(name: id, created: now, spec: CloudServiceSpec(type: service.type, name: service.name)))
            return id
        }

        mutating func endpoint(of service: String, _ interface: String, _ url: String, region: String) throws {
            let spec = EndpointSpec(serviceID: service, interface: interface, url: url, regionID: region)
            try put(Endpoint(name: newID(), created: now, spec: spec))
        }
    }
}
