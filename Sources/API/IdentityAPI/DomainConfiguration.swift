import APISupport
import CatalogIdentity
import HTTPTypes
import Identity
import Policy
import Primitives
import ReconcileRuntime
import ResourceModel

extension KeystoneAPI {
    private static let configPath = "/v3/domains/{domain_id}/config"
    private static let configAnswer: Schema = .object(["config": .object([:])], required: ["config"])
    private static let configBody: Schema = .object(["config": .object([:])], required: ["config"])

    static let domainConfigurationRoutes: [IdentityRoute] =
        [
            IdentityRoute(
                .put, configPath, .rule("identity:create_domain_config"), "Sets all of a domain's configuration.",
                request: configBody, response: configAnswer, otherStatus: .ok
            ) { try await $0.setConfiguration() },
            IdentityRoute(
                .get, "\(configPath)/security_compliance", .rule("identity:get_security_compliance_domain_config"),
                "Shows how passwords in the default domain must be.", response: configAnswer
            ) { try $0.passwordRules(option: nil) },
            IdentityRoute(
                .get, "\(configPath)/security_compliance/{option}",
                .rule("identity:get_security_compliance_domain_config"),
                "Shows one rule of passwords in the default domain.", response: configAnswer
            ) { try $0.passwordRules(option: $0.parameter("option")) },
        ]
        + ["", "/{group}", "/{group}/{option}"].flatMap(routesOfPart)
        + ["", "/{group}", "/{group}/{option}"].map { part in
            IdentityRoute(
                .get, "/v3/domains/config\(part)/default", .rule("identity:get_domain_config_default"),
                "Shows what holds in domains without configuration.", response: configAnswer
            ) { call in
                let place = try call.configurationPlace()
                return .json(["config": .object(place.part(of: DomainConfiguration.defaults) ?? [:])])
            }
        }

    private static func routesOfPart(_ part: String) -> [IdentityRoute] {
        let words = part.isEmpty ? "" : part.contains("option") ? "an option of " : "a group of "
        return [
            IdentityRoute(
                .get, configPath + part, .rule("identity:get_domain_config"),
                "Shows \(words)a domain's configuration, but for secrets.", response: configAnswer
            ) { try $0.showConfiguration() },
            IdentityRoute(
                .patch, configPath + part, .rule("identity:update_domain_config"),
                "Changes \(words)a domain's configuration.", request: configBody, response: configAnswer, status: .ok
            ) { try await $0.changeConfiguration() },
            IdentityRoute(
                .delete, configPath + part, .rule("identity:delete_domain_config"),
                "Deletes \(words)a domain's configuration."
            ) { try await $0.deleteConfiguration() },
        ]
    }
}

/// Which settings a domain may have of its own (Keystone API v3, "Domain configuration").
enum DomainConfiguration {
    typealias Groups = [String: [String: JSONValue]]

    /// The settings that are shown, by group.
    static let options: [String: Set<String>] = [
        "identity": ["driver", "list_limit"],
        "ldap": [
            "url", "user", "suffix", "query_scope", "page_size", "alias_dereferencing", "debug_level",
            "chase_referrals",
            "user_tree_dn", "user_filter", "user_objectclass", "user_id_attribute", "user_name_attribute",
            "user_mail_attribute", "user_description_attribute", "user_pass_attribute", "user_enabled_attribute",
            "user_enabled_invert", "user_enabled_mask", "user_enabled_default", "user_attribute_ignore",
            "user_default_project_id_attribute", "user_enabled_emulation", "user_enabled_emulation_dn",
            "user_enabled_emulation_use_group_config", "user_additional_attribute_mapping", "group_tree_dn",
            "group_filter", "group_objectclass", "group_id_attribute", "group_name_attribute", "group_members_are_ids",
            "group_member_attribute", "group_desc_attribute", "group_attribute_ignore",
            "group_additional_attribute_mapping", "tls_cacertfile", "tls_cacertdir", "use_tls", "tls_req_cert",
            "use_pool",
            "pool_size", "pool_retry_max", "pool_retry_delay", "pool_connection_timeout", "pool_connection_lifetime",
            "use_auth_pool", "auth_pool_size", "auth_pool_connection_lifetime",
        ],
    ]
    /// The settings that are kept as secrets and never shown, by group.
    static let secretOptions: [String: Set<String>] = ["ldap": ["password"]]

    /// What holds without configuration: users are kept here, and no directory is asked.
    static let defaults: Groups = options.mapValues { names in
        Dictionary(uniqueKeysWithValues: names.map { ($0, JSONValue.null) })
    }

    static func isSecret(_ group: String, _ option: String) -> Bool { secretOptions[group]?.contains(option) == true }

    /// Throws `APIError` 403 for a group or option that a domain cannot have.
    static func check(group: String, option: String?) throws {
        guard let known = options[group] else {
            throw invalid("Group \(group.printable(limit: 80)) is not supported for domain specific configurations")
        }
        if let option, !known.contains(option), !isSecret(group, option) {
            throw invalid(
                "Option \(option.printable(limit: 80)) in group \(group) is not supported for domain specific configurations"
            )
        }
    }

    /// The groups of a body; throws `APIError` 403 for what a domain cannot have.
    static func groups(_ given: [String: JSONValue]) throws -> Groups {
        guard !given.isEmpty else { throw invalid("No options specified") }
        var groups: Groups = [:]
        for (group, value) in given {
            try check(group: group, option: nil)
            guard let members = value.object, !members.isEmpty else {
                throw invalid("The value of group \(group) specified in the config should be a dictionary of options")
            }
            for option in members.keys { try check(group: group, option: option) }
            groups[group] = members
        }
        return groups
    }

    static func invalid(_ reason: String) -> APIError {
        .forbidden("Invalid domain specific configuration: \(reason).")
    }

    /// All of a configuration, one group or one option.
    struct Place {
        var group: String?
        var option: String?

        /// The part that is here; nil: there is none.
        func part(of groups: Groups) -> [String: JSONValue]? {
            guard let group else { return groups.isEmpty ? nil : groups.mapValues { .object($0) } }
            guard let options = groups[group], !options.isEmpty else { return nil }
            guard let option else { return [group: .object(options)] }
            return options[option].map { [option: $0] }
        }

        /// Whether a setting is in it.
        func contains(_ group: String, _ option: String) -> Bool {
            (self.group ?? group) == group && (self.option ?? option) == option
        }

        var words: String {
            guard let group else { return "any options" }
            return option.map { "option \($0) in group \(group)" } ?? "group \(group)"
        }
    }
}

extension APICall where Backend == IdentityBackend {
    /// Which part the path names; throws `APIError` 403 for one that there cannot be.
    fileprivate func configurationPlace() throws -> DomainConfiguration.Place {
        let place = DomainConfiguration.Place(group: parameters["group"], option: parameters["option"])
        if let group = place.group { try DomainConfiguration.check(group: group, option: place.option) }
        return place
    }

    private func configuredDomain() throws -> String {
        let id = parameter("domain_id")
        guard directory.domain(id) != nil else { throw APIError.missing("domain", id) }
        return id
    }

    private func noConfiguration(_ domain: String, _ place: DomainConfiguration.Place) -> APIError {
        .notFound("Could not find \(place.words) in domain configuration for domain \(domain).")
    }

    /// Only the default domain's rules are told. There is no pattern that passwords must fit, so both say null.
    fileprivate func passwordRules(option: String?) throws -> APIAnswer {
        let id = try configuredDomain()
        guard id == "default" else {
            throw DomainConfiguration.invalid(
                "Reading security compliance information for any domain other than the default domain is not allowed or supported"
            )
        }
        let readable: [String: JSONValue] = ["password_regex": nil, "password_regex_description": nil]
        guard let option else { return .json(["config": ["security_compliance": .object(readable)]]) }
        guard let value = readable[option] else {
            throw DomainConfiguration.invalid(
                "Reading security compliance values other than password_regex and password_regex_description is not allowed"
            )
        }
        return .json(["config": [option: value]])
    }

    fileprivate func showConfiguration() throws -> APIAnswer {
        let id = try configuredDomain()
        let place = try configurationPlace()
        guard let part = place.part(of: directory.entry(DomainSettings.self, id)?.spec.groups ?? [:]) else {
            throw noConfiguration(id, place)
        }
        return .json(["config": .object(part)])
    }

    fileprivate func setConfiguration() async throws -> APIAnswer {
        let id = try configuredDomain()
        let groups = try DomainConfiguration.groups(object("config"))
        let (isNew, shown) = try await change("identity:create_domain_config", DomainSettings.key(CatalogName.of(id))) {
            directory in
            guard directory.domain(id) != nil else { throw APIError.missing("domain", id) }
            let before = directory.entry(DomainSettings.self, id)?.spec
            var plan = IdentityPlan()
            let after = try merge(groups, into: DomainSettingsSpec(groups: [:]), of: id, &plan)
            for secret in before?.secrets ?? [] where after.secrets?.contains(secret) != true {
                plan.delete(Secret.key(DomainSettingsSpec.secretName(id, secret)))
            }
            try store(after, of: id, directory, &plan)
            return (plan, (before == nil, after.groups))
        }
        return .json(["config": .object(shown.mapValues { .object($0) })], status: isNew ? .created : .ok)
    }

    fileprivate func changeConfiguration() async throws -> APIAnswer {
        let id = try configuredDomain()
        let place = try configurationPlace()
        let given = object("config")
        let groups = try DomainConfiguration.groups(
            place.option == nil ? given : [place.group ?? "": .object(given)])
        let isExact = groups.allSatisfy { group, options in options.keys.allSatisfy { place.contains(group, $0) } }
        guard isExact else {
            throw DomainConfiguration.invalid(
                "Trying to update \(place.words), so that, and only that, must be specified")
        }
        let shown = try await change("identity:update_domain_config", DomainSettings.key(CatalogName.of(id))) {
            directory in
            guard directory.domain(id) != nil else { throw APIError.missing("domain", id) }
            let before = directory.entry(DomainSettings.self, id)?.spec ?? DomainSettingsSpec(groups: [:])
            guard place.group == nil || before.has(place) else { throw noConfiguration(id, place) }
            var plan = IdentityPlan()
            let after = try merge(groups, into: before, of: id, &plan)
            try store(after, of: id, directory, &plan)
            return (plan, after.groups)
        }
        return .json(["config": .object(shown.mapValues { .object($0) })])
    }

    fileprivate func deleteConfiguration() async throws -> APIAnswer {
        let id = try configuredDomain()
        let place = try configurationPlace()
        try await change("identity:delete_domain_config", DomainSettings.key(CatalogName.of(id))) { directory in
            var plan = IdentityPlan()
            guard let stored = directory.now.stored(DomainSettings.self, CatalogName.of(id)) else {
                guard place.group == nil else { throw noConfiguration(id, place) }
                return (plan, ())
            }
            guard place.group == nil || stored.value.spec.has(place) else { throw noConfiguration(id, place) }
            let (left, secrets) = stored.value.spec.without(place)
            for secret in secrets {
                plan.delete(Secret.key(DomainSettingsSpec.secretName(id, secret)))
            }
            if left.groups.isEmpty, left.secrets == nil {
                try plan.delete(stored)
            } else {
                try store(left, of: id, directory, &plan)
            }
            return (plan, ())
        }
        return .empty
    }

    /// The settings with these in them, secret ones sealed.
    private func merge(
        _ groups: DomainConfiguration.Groups, into before: DomainSettingsSpec, of domain: String,
        _ plan: inout IdentityPlan
    ) throws -> DomainSettingsSpec {
        var after = before
        for (group, options) in groups {
            for (option, value) in options {
                guard DomainConfiguration.isSecret(group, option) else {
                    after.groups[group, default: [:]][option] = value
                    continue
                }
                let setting = "\(group).\(option)"
                let text = value.string ?? String(decoding: value.text, as: UTF8.self)
                let sealed = try backend.vault.sealed(
                    DomainSettingsSpec.secretName(domain, setting), purpose: "\(setting) of the domain \(domain)",
                    SecretText(text))
                plan.operations.append(try sealed.put())
                after.secrets = Set((after.secrets ?? []) + [setting]).sorted()
            }
        }
        return after
    }

    private func store(
        _ spec: DomainSettingsSpec, of domain: String, _ directory: IdentityDirectory, _ plan: inout IdentityPlan
    ) throws {
        let name = CatalogName.of(domain)
        plan.needs(Project.self, domain, in: directory)
        guard var stored = directory.now.stored(DomainSettings.self, name) else {
            return try plan.create(DomainSettings(name: name, created: backend.clock.now, spec: spec))
        }
        stored.value.spec = spec
        try plan.update(stored)
    }
}

extension DomainSettingsSpec {
    /// Whether anything is set there, secrets too.
    fileprivate func has(_ place: DomainConfiguration.Place) -> Bool {
        let isShown = groups.contains { group, options in options.keys.contains { place.contains(group, $0) } }
        return isShown || !secrets(in: place).isEmpty
    }

    private func secrets(in place: DomainConfiguration.Place) -> [String] {
        (secrets ?? []).filter { secret in
            let parts = secret.split(separator: ".", maxSplits: 1).map(String.init)
            return parts.count == 2 && place.contains(parts[0], parts[1])
        }
    }

    /// What is left without what is set there, and which secrets go.
    fileprivate func without(_ place: DomainConfiguration.Place) -> (left: DomainSettingsSpec, secrets: [String]) {
        let gone = secrets(in: place)
        var left = self
        for (group, options) in groups {
            let kept = options.filter { !place.contains(group, $0.key) }
            left.groups[group] = kept.isEmpty ? nil : kept
        }
        let kept = (secrets ?? []).filter { !gone.contains($0) }
        left.secrets = kept.isEmpty ? nil : kept
        return (left, gone)
    }
}
