import ClientSDK
import Glibc
import Primitives
import Yams

/// `clouds.yaml`, as OpenStack's clients look for it and read it (OpenStack SDK, "Configuring OpenStack SDK
/// Applications"): the first file that is there, with what `secure.yaml` adds to it.
struct CloudsFile {
    /// The clouds by their names.
    let clouds: [String: JSONValue]
    /// Where the file is.
    let path: String

    private static let sizeMax = 1 << 20

    /// The first of the files that is there: the one that OS_CLIENT_CONFIG_FILE names, then those of the current folder,
    /// the user's and the system's configuration; nil: none is.
    static func find(variable: (String) -> String? = ConnectionOptions.variable) throws -> CloudsFile? {
        if let named = variable("OS_CLIENT_CONFIG_FILE") { return try CloudsFile(named, variable) }
        guard let path = places("clouds", variable).first(where: { access($0, F_OK) == 0 }) else { return nil }
        return try CloudsFile(path, variable)
    }

    /// Where OpenStack's clients look for the file `name`, without the one that a variable names.
    static func places(_ name: String, _ variable: (String) -> String?) -> [String] {
        let own = variable("XDG_CONFIG_HOME") ?? variable("HOME").map { "\($0)/.config" }
        let folders = [".", own.map { "\($0)/openstack" }, "/etc/openstack"].compactMap(\.self)
        return folders.flatMap { folder in ["yaml", "yml", "json"].map { "\(folder)/\(name).\($0)" } }
    }

    /// The file at `path`; throws `Failure` for what is no such file.
    init(_ path: String, _ variable: (String) -> String? = ConnectionOptions.variable) throws {
        self.path = path
        var clouds = try Self.clouds(in: path)
        let secure =
            variable("OS_CLIENT_SECURE_FILE")
            ?? Self.places("secure", variable).first { access($0, F_OK) == 0 }
        if let secure { clouds = clouds.over(try Self.clouds(in: secure)) }
        self.clouds = clouds.object ?? [:]
    }

    private static func clouds(in path: String) throws -> JSONValue {
        let text: String
        do { text = try TextFile.read(path, sizeMax: sizeMax) } catch {
            throw Failure(message: "\(error.publicMessage); it should be a clouds.yaml.", exitCode: 2)
        }
        let node: Node?
        do { node = try Yams.compose(yaml: text) } catch {
            throw Failure(message: "\(path) is not YAML: \("\(error)".printable(limit: 300))", exitCode: 2)
        }
        guard let node else { return [:] }
        guard case .object(let members) = JSONValue(node), case .object? = members["clouds"] ?? .object([:]) else {
            throw Failure(message: "\(path) has no mapping 'clouds'.", exitCode: 2)
        }
        return members["clouds"] ?? [:]
    }

    /// The entry of the cloud `name`; throws `Failure` that names those there are.
    func entry(_ name: String) throws -> CloudEntry {
        guard let members = clouds[name]?.object else {
            let known = clouds.keys.sorted().map { $0.printable(limit: 60) }.joined(separator: ", ")
            let near = clouds.keys.nearest(to: name, count: 1).first.map { " Did you mean '\($0)'?" } ?? ""
            throw Failure(
                message: "There is no cloud '\(name.printable(limit: 60))' in \(path); "
                    + (known.isEmpty ? "it has none." : "there are \(known).") + near,
                exitCode: 2)
        }
        return CloudEntry(name: name, file: path, members: members)
    }
}

/// One cloud of a file, and what is made of it.
struct CloudEntry {
    let name: String
    let file: String
    private let cloud: [String: JSONValue]
    private let auth: [String: JSONValue]

    init(name: String, file: String, members: [String: JSONValue]) {
        self.name = name
        self.file = file
        cloud = members
        auth = members["auth"]?.object ?? [:]
    }

    /// The file with the authorities that the cloud's certificates are of; nil: the system's.
    var authorityFile: String? { text("cacert") }

    /// How it is signed in to; throws `Failure` for what is missing or not known here.
    func access() throws -> CloudAccess {
        guard var url = text("auth_url") else {
            let profile = cloud["profile"] == nil ? "" : " (profiles of vendors are not read here)"
            throw wrong("has no auth_url\(profile)")
        }
        if let verify = cloud["verify"], verify == .bool(false) {
            throw wrong("says 'verify: false'; certificates are always verified here: name their authority with cacert")
        }
        while url.hasSuffix("/") { url.removeLast() }
        if !url.hasSuffix("/v3") { url += "/v3" }
        let interface = text("interface") ?? "public"
        return CloudAccess(
            name: name, file: file, authURL: url, proof: try proof(), scope: try scope(), region: text("region_name"),
            interface: interface.hasSuffix("URL") ? String(interface.dropLast(3)) : interface)
    }

    private static let types = ["password", "v3password", "token", "v3token", "v3applicationcredential"]

    private var type: String {
        if let type = cloud["auth_type"]?.string { return type }
        if auth["application_credential_id"] != nil || auth["application_credential_name"] != nil {
            return "v3applicationcredential"
        }
        return auth["token"] == nil ? "password" : "token"
    }

    private func proof() throws -> CloudAccess.Proof {
        switch type {
        case "password", "v3password":
            guard let password = text("password") else { throw wrong("has no password") }
            var user = try user()
            user["password"] = .string(password)
            return .password(user)
        case "v3applicationcredential":
            guard let secret = text("application_credential_secret") else {
                throw wrong("has no application_credential_secret")
            }
            if let id = text("application_credential_id") {
                return .applicationCredential(["id": .string(id), "secret": .string(secret)])
            }
            guard let name = text("application_credential_name") else {
                throw wrong("has no application_credential_id")
            }
            return .applicationCredential([
                "name": .string(name), "secret": .string(secret), "user": .object(try user()),
            ])
        case "token", "v3token":
            guard let token = text("token") else { throw wrong("has no token") }
            return .token(SecretText(token))
        default:
            throw wrong(
                "has the auth_type '\(type.printable(limit: 60))'; here there are \(Self.types.joined(separator: ", "))"
            )
        }
    }

    /// The user, by identifier or by name and domain.
    private func user() throws -> [String: JSONValue] {
        if let id = text("user_id") { return ["id": .string(id)] }
        guard let name = text("username") ?? text("user_name") else { throw wrong("has no username") }
        return ["name": .string(name), "domain": domain("user_domain")]
    }

    /// What the token is asked for: the system, a trust, a project or a domain; an application credential has its own.
    private func scope() throws -> JSONValue? {
        guard type != "v3applicationcredential" else { return nil }
        if let system = text("system_scope") {
            guard system == "all" else { throw wrong("has a system_scope other than 'all'") }
            return ["system": ["all": true]]
        }
        if let trust = text("trust_id") { return ["OS-TRUST:trust": ["id": .string(trust)]] }
        if let id = text("project_id") ?? text("tenant_id") { return ["project": ["id": .string(id)]] }
        if let name = text("project_name") ?? text("tenant_name") {
            return ["project": ["name": .string(name), "domain": domain("project_domain")]]
        }
        if let id = text("domain_id") { return ["domain": ["id": .string(id)]] }
        if let name = text("domain_name") { return ["domain": ["name": .string(name)]] }
        return nil
    }

    /// The domain of a user or project: its own, the default one that is named, or the one that every cloud has.
    private func domain(_ prefix: String) -> JSONValue {
        if let id = text("\(prefix)_id") { return ["id": .string(id)] }
        if let name = text("\(prefix)_name") { return ["name": .string(name)] }
        if let name = text("default_domain_name") { return ["name": .string(name)] }
        return ["id": .string(text("default_domain_id") ?? text("default_domain") ?? "default")]
    }

    /// A value of `auth`, or of the cloud itself; numbers count as texts, nothing as absent.
    private func text(_ name: String) -> String? {
        switch auth[name] ?? cloud[name] {
        case .string(let text)?: text.isEmpty ? nil : text
        case .integer(let number)?: String(number)
        default: nil
        }
    }

    private func wrong(_ what: String) -> Failure {
        Failure(message: "The cloud '\(name.printable(limit: 60))' in \(file) \(what).", exitCode: 2)
    }
}

extension JSONValue {
    /// What a YAML document says, without its tags: scalars in quotes are texts, others what YAML 1.1 takes them for.
    fileprivate init(_ node: Node) {
        switch node {
        case .mapping(let mapping):
            var members: [String: JSONValue] = [:]
            for (key, value) in mapping { members[key.string ?? ""] = JSONValue(value) }
            self = .object(members)
        case .sequence(let sequence): self = .array(sequence.map { JSONValue($0) })
        case .scalar(let scalar):
            let isQuoted = [.singleQuoted, .doubleQuoted].contains(scalar.style)
            switch (isQuoted, scalar.string) {
            case (false, "true"), (false, "True"), (false, "yes"): self = .bool(true)
            case (false, "false"), (false, "False"), (false, "no"): self = .bool(false)
            case (false, ""), (false, "~"), (false, "null"): self = .null
            default: self = .string(scalar.string)
            }
        case .alias: self = .null
        }
    }

    /// This value with the members of `other` over it, object by object.
    fileprivate func over(_ other: JSONValue) -> JSONValue {
        guard case .object(var members) = self, case .object(let more) = other else { return other }
        for (name, value) in more { members[name] = members[name].map { $0.over(value) } ?? value }
        return .object(members)
    }
}
