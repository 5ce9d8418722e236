import APISupport
import HTTPTypes
import Identity
import Policy
import Primitives

/// OpenStack's identity API (Keystone v3) below `/identity`.
public enum KeystoneAPI {
    /// Where it is mounted.
    public static let path = "/identity"

    /// The service over `backend`.
    public static func service(_ backend: IdentityBackend, door: APIDoor) -> APIService<IdentityBackend> {
        APIService(
            title: "Identity", type: "identity", path: path, backend: backend, routes: routes, refusesBadTokens: true,
            door: door, errorBody: { $0.keystoneBody })
    }

    /// Every route.
    public static let routes: [APIRoute<IdentityBackend>] =
        versionRoutes + tokenRoutes + signedRequestRoutes + domainRoutes + projectRoutes + userRoutes + groupRoutes
        + roleRoutes
        + implicationRoutes + credentialRoutes + ec2Routes + applicationCredentialRoutes + accessRuleRoutes
        + trustRoutes + grantRoutes + assignmentRoutes + regionRoutes + serviceRoutes + endpointRoutes
        + endpointGroupRoutes + projectEndpointRoutes + policyRoutes + policyAssociationRoutes + registeredLimitRoutes
        + limitRoutes + identityProviderRoutes + protocolRoutes + mappingRoutes + federationLoginRoutes
        + serviceProviderRoutes + consumerRoutes
        + consumerTokenRoutes + accessTokenRoutes + domainConfigurationRoutes
}
