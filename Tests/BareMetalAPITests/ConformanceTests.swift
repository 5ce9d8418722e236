import APIConformance
import APISupport
import BareMetalAPI
import HTTPTypes
import Primitives
import TestSupport
import Testing

/// The bare-metal API as every service must be.
struct BareMetalBench: APIBench {
    let api: BareMetalFixture

    func service(_ door: APIDoor) -> APIService<BareMetalBackend> { IronicAPI.service(api.backend, door: door) }
    var door: APIDoor { api.door }
    var admin: String { "admin,manager,member,reader@system" }
    var reader: String { "reader@system" }
    var collection: String { "/v1/nodes" }
    var body: JSONValue { ["driver": "fake-hardware"] }
    var versionHeaders: HTTPFields { [IronicAPI.microversions.header: "latest"] }
    func isError(_ body: JSONValue) -> Bool {
        BareMetalFixture.Answer.fault(body)?.isEmpty == false
    }
    func pass(_ duration: Duration) { api.clock.advance(by: duration) }
}

@Suite struct ConformanceTests {
    @Test(arguments: ServiceConformance<BareMetalBench>.checks)
    func `every promise of the kit is kept`(_ check: ServiceConformance<BareMetalBench>.Check) async throws {
        try await withBareMetal { api in try await check.run(BareMetalBench(api: api)) }
    }
}
