import Primitives
import TestSupport
import Testing

@testable import CLICommands
@testable import ClientSDK

/// What `clouds.yaml` says, as OpenStack's clients read it.
@Suite struct CloudsFileTests {
    private static func entry(_ yaml: String, secure: String? = nil) throws -> CloudEntry {
        let directory = try TemporaryDirectory("clouds")
        let path = try directory.write("clouds.yaml", Array("clouds:\n  c:\n\(indented(yaml))".utf8))
        let other = try secure.map { try directory.write("secure.yaml", Array("clouds:\n  c:\n\(indented($0))".utf8)) }
        return try CloudsFile(path) { $0 == "OS_CLIENT_SECURE_FILE" ? other : nil }.entry("c")
    }

    private static func indented(_ text: String) -> String {
        text.split(separator: "\n").map { "    \($0)\n" }.joined()
    }

    /// What is sent to get a token, for `auth` and what stands beside it.
    private static func signIn(_ auth: String, _ more: String = "") throws -> (access: CloudAccess, body: JSONValue) {
        let access = try entry("auth: { auth_url: https://k:5000, \(auth) }\n\(more)").access()
        return (access, access.signIn)
    }

    @Test func passwordsWithTheirScopes() throws {
        let user = "username: ann, password: 's p', user_domain_name: Sales"
        let (access, body) = try Self.signIn("\(user), project_name: web, project_domain_id: d1")
        #expect(access.authURL == "https://k:5000/v3" && access.interface == "public" && access.region == nil)
        #expect(
            body == [
                "auth": [
                    "identity": [
                        "methods": ["password"],
                        "password": ["user": ["name": "ann", "password": "s p", "domain": ["name": "Sales"]]],
                    ], "scope": ["project": ["name": "web", "domain": ["id": "d1"]]],
                ]
            ])
        let scopes: [(auth: String, scope: JSONValue?)] = [
            ("\(user), system_scope: all", ["system": ["all": true]]),
            ("\(user), project_id: p1", ["project": ["id": "p1"]]),
            ("\(user), domain_name: Sales", ["domain": ["name": "Sales"]]),
            ("\(user), domain_id: d1", ["domain": ["id": "d1"]]),
            ("\(user), trust_id: t1", ["OS-TRUST:trust": ["id": "t1"]]),
            ("\(user), project_name: web", ["project": ["name": "web", "domain": ["id": "default"]]]), (user, nil),
        ]
        for (auth, scope) in scopes { #expect(try Self.signIn(auth).body["auth"]?["scope"] == scope, "\(auth)") }
        #expect(
            try Self.signIn("user_id: 12345, password: x").body["auth"]?["identity"]?["password"]?["user"]?["id"]
                == "12345")
    }

    @Test func applicationCredentialsAndTokens() throws {
        let byID = try Self.signIn("application_credential_id: a1, application_credential_secret: s, project_id: p1")
        #expect(byID.body["auth"]?["identity"]?["methods"] == ["application_credential"])
        #expect(byID.body["auth"]?["identity"]?["application_credential"] == ["id": "a1", "secret": "s"])
        #expect(byID.body["auth"]?["scope"] == nil, "it has its own")
        let byName = try Self.signIn(
            "application_credential_name: a, application_credential_secret: s, username: ann",
            "auth_type: v3applicationcredential")
        #expect(
            byName.body["auth"]?["identity"]?["application_credential"]
                == ["name": "a", "secret": "s", "user": ["name": "ann", "domain": ["id": "default"]]])
        let token = try Self.signIn("token: gAAA, project_id: p1", "auth_type: v3token")
        #expect(token.body["auth"]?["identity"] == ["methods": ["token"], "token": ["id": "gAAA"]])
    }

    @Test func regionInterfaceAndAuthority() throws {
        let entry = try Self.entry(
            """
            auth: { auth_url: https://k/identity/v3/, username: ann, password: x }
            region_name: west
            interface: internalURL
            cacert: /etc/ca.pem
            """)
        let access = try entry.access()
        #expect(access.authURL == "https://k/identity/v3" && access.region == "west" && access.interface == "internal")
        #expect(entry.authorityFile == "/etc/ca.pem")
    }

    @Test func secretsMayStandInAFileOfTheirOwn() throws {
        let access = try Self.entry(
            "auth: { auth_url: https://k, username: ann }", secure: "auth: { password: geheim }"
        ).access()
        #expect(access.signIn["auth"]?["identity"]?["password"]?["user"]?["password"] == "geheim")
        #expect(access.authURL == "https://k/v3")
    }

    static let mistakes: [(yaml: String, words: String)] = [
        ("auth: { username: ann }", "has no auth_url"), ("profile: vendor", "profiles of vendors are not read"),
        ("auth: { auth_url: https://k, password: x }", "has no username"),
        ("auth: { auth_url: https://k, username: x }", "has no password"),
        ("auth_type: v3oidcpassword\nauth: { auth_url: https://k }", "v3oidcpassword'; here there are password"),
        ("auth: { auth_url: https://k, username: x, password: y, system_scope: some }", "other than 'all'"),
        ("auth: { auth_url: https://k, application_credential_id: x }", "no application_credential_secret"),
        ("verify: false\nauth: { auth_url: https://k, username: x, password: y }", "certificates are always verified"),
    ]

    @Test func mistakesAreNamed() throws {
        for (yaml, words) in Self.mistakes {
            let error = #expect(throws: Failure.self) { try Self.entry(yaml).access() }
            #expect(error?.message.contains(words) == true, "\(yaml): \(error?.message ?? "")")
            #expect(error?.exitCode == 2)
        }
        let directory = try TemporaryDirectory("clouds")
        let path = try directory.write("clouds.yaml", Array("clouds: { prod: {}, staging: {} }".utf8))
        let error = #expect(throws: Failure.self) { try CloudsFile(path).entry("stagin") }
        #expect(error?.message.contains("there are prod, staging. Did you mean 'staging'?") == true)
        for text in ["- 1", "clouds: [", "clouds: 3"] {
            let path = try directory.write("bad.yaml", Array(text.utf8))
            #expect(throws: Failure.self, "\(text)") { try CloudsFile(path) }
        }
    }

    @Test func theFirstFileThatIsThereIsTaken() throws {
        let directory = try TemporaryDirectory("clouds")
        let home = directory.appending("home")
        let variables = ["HOME": home, "OS_CLIENT_CONFIG_FILE": directory.appending("named.yaml")]
        #expect(CloudsFile.places("clouds") { variables[$0] }.contains("\(home)/.config/openstack/clouds.yaml"))
        #expect(
            CloudsFile.places("clouds") { $0 == "XDG_CONFIG_HOME" ? "/x" : nil }.contains("/x/openstack/clouds.yml"))
        try directory.write("named.yaml", Array("clouds: { named: {} }".utf8))
        #expect(try CloudsFile.find { variables[$0] }?.clouds.keys.sorted() == ["named"])
        let error = #expect(throws: Failure.self) {
            try CloudsFile.find { $0 == "OS_CLIENT_CONFIG_FILE" ? "/nonexistent/clouds.yaml" : nil }
        }
        #expect(error?.message.contains("/nonexistent/clouds.yaml") == true)
    }
}
