import CatalogBareMetal
import CatalogIdentity
import Primitives
import ResourceModel

/// One document of each kind that the cloud's APIs keep, as release 0.1.0 wrote them.
struct CloudDocuments {
    let time: Timestamp
    private let a = "0123456789abcdef0123456789abcdef"
    private let b = "fedcba9876543210fedcba9876543210"
    private let extra: [String: JSONValue] = ["email": "someone@cloud.example"]

    init(at time: Timestamp) { self.time = time }

    var all: [any Resource] { get throws { people + places + loans + federation + (try machines) } }

    private func entry<Spec: IdentitySpec>(_ name: String, _ spec: Spec) -> IdentityEntry<Spec> {
        IdentityEntry(name: name, created: time, spec: spec)
    }

    private var people: [any Resource] {
        var project = ProjectSpec(name: "web", domainID: "default", parentID: "default")
        (project.tags, project.isImmutable, project.extra) = (["blue"], true, extra)
        var user = UserSpec(name: "someone", domainID: "default")
        user.passwords = [.init(hash: "$scrypt$ln=15,r=8,p=4$c2FsdA$aGFzaA", created: time, isOwn: true)]
        user.options = ["lock_password": true]
        user.federated = [.init(provider: "sso", protocolID: "openid", uniqueID: "someone@sso")]
        (user.tokensFrom, user.defaultProjectID, user.extra) = (time, a, extra)
        var logins = LoginRecordSpec()
        (logins.failureCount, logins.failed, logins.passcodeStep) = (2, time, 58_000_000)
        let membership = MembershipSpec(groupID: a, userID: b)
        let implication = RoleImplicationSpec(priorID: a, impliedID: b)
        let grants = [AssignmentSpec.Grant(roleID: a), AssignmentSpec.Grant(roleID: b, isInherited: true)]
        let assignment = AssignmentSpec(actor: .group(a), target: .domain("default"), roles: grants)
        return [
            entry(a, project), entry(b, user), entry(b, logins),
            entry(a, GroupSpec(name: "staff", domainID: "default")),
            entry(membership.name, membership), entry(a, RoleSpec(name: "member", domainID: nil)),
            entry(implication.name, implication), entry(AssignmentSpec.name(.group(a), .domain("default")), assignment),
            entry(NameMarkSpec.name(sort: "user", in: "default", "someone"), NameMarkSpec(id: b)),
        ]
    }

    private var places: [any Resource] {
        let projectEndpoint = ProjectEndpointSpec(projectID: a, endpointID: b, isGroup: false)
        let registered = entry(
            a,
            RegisteredLimitSpec(
                serviceID: a, regionID: "RegionOne", resourceName: "cores", defaultLimit: 10, description: nil))
        let association = PolicyAssociationSpec(policyID: a, serviceID: b, regionID: "RegionOne")
        return [
            entry("RegionOne", RegionSpec(id: "RegionOne")),
            entry(a, CloudServiceSpec(type: "identity", name: "keystone")),
            entry(
                b,
                EndpointSpec(
                    serviceID: a, interface: "public", url: "https://cloud.example:9443/identity", regionID: "RegionOne"
                )
            ),
            entry(a, EndpointGroupSpec(name: "public ones", filters: ["interface": "public"])),
            entry(projectEndpoint.name, projectEndpoint), registered,
            entry(
                b,
                LimitSpec(projectID: a, domainID: nil, registered: registered, resourceLimit: 20, description: "more")),
            entry(a, PolicyDocumentSpec(type: "application/json", blob: "{}")), entry(association.name, association),
            entry("default", DomainSettingsSpec(groups: ["identity": ["driver": "ldap"]])),
        ]
    }

    private var loans: [any Resource] {
        [
            entry(a, CredentialSpec(userID: b, type: "ec2", projectID: a)),
            entry(
                a,
                ApplicationCredentialSpec(
                    userID: b, projectID: a, name: "ci", hash: "$scrypt$ln=15,r=8,p=4$c2FsdA$aGFzaA", roleIDs: [a],
                    expires: time, accessRuleIDs: [b])),
            entry(b, AccessRuleSpec(userID: b, service: "compute", method: "GET", path: "/v2.1/servers/**")),
            entry(
                a,
                TrustSpec(
                    trustorID: a, trusteeID: b, projectID: a, roleIDs: [a], isImpersonation: true, expires: time,
                    remainingUses: 3)),
            entry(a, ConsumerSpec(description: "a program")),
            entry(
                b,
                ConsumerTokenSpec(
                    consumerID: a, projectID: b, phase: .authorized(by: b, roleIDs: [a], verifier: "12345678"),
                    expires: time)),
            entry("Zm9vYmFyYmF6cXV1eA", RevocationSpec(revoked: time, expires: time, isChain: true)),
        ]
    }

    private var federation: [any Resource] {
        let speech = FederationProtocolSpec(id: "openid", providerID: "sso", mappingID: "staff", remoteIDAttribute: nil)
        return [
            entry(
                "sso",
                IdentityProviderSpec(
                    id: "sso", isEnabled: true, description: nil, remoteIDs: ["https://sso.example"], domainID: a)),
            entry(
                "staff", FederationMappingSpec(id: "staff", rules: [["local": [], "remote": []]], formVersion: "1.0")),
            entry(speech.name, speech),
            entry(
                "other",
                ServiceProviderSpec(
                    id: "other", isEnabled: true, description: nil, authURL: "https://other.example/v3",
                    spURL: "https://other.example/sp", relayStatePrefix: "ss:mem:")),
        ]
    }

    private var machines: [any Resource] {
        get throws {
            let uuid = "01234567-89ab-4def-8123-456789abcdef"
            func metadata(_ name: String) -> Metadata { Metadata(name: name, schemaVersion: 1, created: time) }
            let kept = ClientMembers(members: ["owner": .string(a)], traits: ["CUSTOM_GOLD"], updated: time)
            return [
                MachineMembers(metadata: metadata(uuid), spec: kept),
                FakeNode(metadata: metadata(uuid), spec: kept, status: FakeNode.Status(state: .available)),
                NodePort(
                    metadata: metadata(uuid),
                    spec: NodePort.Spec(node: uuid, address: try MACAddress("52:54:00:00:00:01"))),
                Chassis(metadata: metadata(uuid), spec: Chassis.Spec(description: "row 1", extra: extra)),
                TakenMark(metadata: metadata("name.f1"), spec: TakenMark.Spec(by: uuid)),
            ]
        }
    }
}
