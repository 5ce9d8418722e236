import APISupport
import Identity
import Primitives

/// Reads the body of `POST /v3/auth/tokens` (Keystone API v3, "Authentication and token management").
enum AuthenticationBody {
    /// What is shown and asked for; `signed` is the request itself when a consumer has signed it.
    ///
    /// Throws `APIError` 400 for what is missing, 401 for a method that is not known.
    static func parse(_ auth: [String: JSONValue], signed: OAuthRequest?) throws -> AuthenticationRequest {
        let identity = auth["identity"]?.object ?? [:]
        let methods = (identity["methods"]?.array ?? []).compactMap(\.string)
        guard !methods.isEmpty else { throw APIError.badRequest("'methods' names no authentication method.") }
        var seen: Set<String> = []
        var proofs: [AuthenticationRequest.Proof] = []
        for method in methods where seen.insert(method).inserted {
            guard method != "oauth1" else {
                guard let signed else { throw APIError.badRequest("A request for 'oauth1' is signed in its Authorization header.") }
                proofs.append(.accessToken(signed))
                continue
            }
            proofs.append(try proof(method, identity[method]?.object, method))
        }
        return AuthenticationRequest(proofs: proofs, scope: try scope(auth["scope"]))
    }

    private static func proof(
        _ method: String, _ members: [String: JSONValue]?, _ path: String
    ) throws -> AuthenticationRequest.Proof {
        guard ["password", "totp", "token", "application_credential"].contains(method) else {
            throw APIError.authenticationRequired
        }
        guard let members else { throw APIError.badRequest("'auth/identity/\(path)' is missing.") }
        switch method {
        case "password":
            let user = members["user"]?.object ?? [:]
            return .password(try self.user(user, path), SecretText(try text(user["password"], "\(path)/user/password")))
        case "totp":
            let user = members["user"]?.object ?? [:]
            return .passcode(try self.user(user, path), SecretText(try text(user["passcode"], "\(path)/user/passcode")))
        case "token": return .token(try text(members["id"], "\(path)/id"))
        default:
            let secret = SecretText(try text(members["secret"], "\(path)/secret"))
            if let id = members["id"]?.string { return .applicationCredential(.id(id), secret) }
            let name = try text(members["name"], "\(path)/id' or '\(path)/name")
            return .applicationCredential(
                .name(name, user: try user(members["user"]?.object ?? [:], path)), secret)
        }
    }

    private static func text(_ value: JSONValue?, _ path: String) throws -> String {
        guard let text = value?.string else { throw APIError.badRequest("'auth/identity/\(path)' must be a text.") }
        return text
    }

    private static func user(
        _ members: [String: JSONValue], _ path: String
    ) throws -> AuthenticationRequest.UserReference {
        if let id = members["id"]?.string { return .id(id) }
        let name = try text(members["name"], "\(path)/user/id' or '\(path)/user/name")
        guard let domain = try domain(members["domain"]) else {
            throw APIError.badRequest("'auth/identity/\(path)/user/domain' is missing: names are unique in their domain only.")
        }
        return .name(name, domain: domain)
    }

    private static func domain(_ value: JSONValue?) throws -> AuthenticationRequest.DomainReference? {
        guard let members = value?.object else { return nil }
        if let id = members["id"]?.string { return .id(id) }
        if let name = members["name"]?.string { return .name(name) }
        throw APIError.badRequest("A domain is named by 'id' or 'name'.")
    }

    private static func scope(_ value: JSONValue?) throws -> AuthenticationRequest.Scope? {
        switch value {
        case nil, .null: return nil
        case .string("unscoped"): return .unscoped
        case .object(let members):
            let known = ["project", "domain", "system", "OS-TRUST:trust", "unscoped"].filter { members[$0] != nil }
            guard known.count == 1 else {
                throw APIError.badRequest("'auth/scope' must name one of project, domain, system, OS-TRUST:trust or unscoped.")
            }
            switch known[0] {
            case "unscoped": return .unscoped
            case "system":
                guard members["system"]?["all"]?.bool == true else {
                    throw APIError.badRequest("'auth/scope/system' must be {\"all\": true}.")
                }
                return .system
            case "domain":
                guard let domain = try domain(members["domain"]) else {
                    throw APIError.badRequest("'auth/scope/domain' must be an object.")
                }
                return .domain(domain)
            case "OS-TRUST:trust":
                guard let id = members["OS-TRUST:trust"]?["id"]?.string else {
                    throw APIError.badRequest("'auth/scope/OS-TRUST:trust/id' is missing.")
                }
                return .trust(id)
            default: return .project(try project(members["project"]?.object ?? [:]))
            }
        default: throw APIError.badRequest("'auth/scope' must be an object, or the text 'unscoped'.")
        }
    }

    private static func project(_ members: [String: JSONValue]) throws -> AuthenticationRequest.ProjectReference {
        if let id = members["id"]?.string { return .id(id) }
        let domain = try domain(members["domain"])
        if let name = members["name"]?.string {
            guard let domain else {
                throw APIError.badRequest("'auth/scope/project/domain' is missing: names are unique in their domain only.")
            }
            return .name(name, domain: domain)
        }
        guard let domain else { throw APIError.badRequest("'auth/scope/project' needs 'id' or 'name'.") }
        return .domainItself(domain)
    }
}
