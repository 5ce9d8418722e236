import APIConformance
import APISupport
import HTTPTypes
import IdentityAPI
import Primitives
import TestSupport
import Testing

/// The identity API as every service must be.
struct KeystoneBench: APIBench {
    let cloud: CloudScene
    let reader: String

    func service(_ door: APIDoor) -> APIService<IdentityBackend> { KeystoneAPI.service(cloud.backend, door: door) }
    var door: APIDoor { cloud.door }
    var admin: String { cloud.admin }
    var collection: String { "/v3/users" }
    var body: JSONValue { ["user": ["name": "somebody"]] }
    var versionHeaders: HTTPFields { [:] }
    func isError(_ body: JSONValue) -> Bool {
        body["error"]?["code"]?.integer != nil && body["error"]?["title"]?.string != nil
            && body["error"]?["message"]?.string?.isEmpty == false
    }
    func pass(_ duration: Duration) { cloud.clock.advance(by: duration) }
}

@Suite struct ConformanceTests {
    @Test(arguments: ServiceConformance<KeystoneBench>.checks)
    func `every promise of the kit is kept`(_ check: ServiceConformance<KeystoneBench>.Check) async throws {
        try await withCloud { cloud in
            let reader = try await cloud.systemReader()
            try await check.run(KeystoneBench(cloud: cloud, reader: reader))
        }
    }
}
