import Testing

@testable import BareMetal

@Suite struct SystemUUIDTests {
    private static let firmware = "3f2a91c4-07d8-4be1-9c35-d1e6f0a7b842"

    @Test(arguments: [
        "3f2a91c4-07d8-4be1-9c35-d1e6f0a7b842", "3F2A91C4-07D8-4BE1-9C35-D1E6F0A7B842",
        "c4912a3f-d807-e14b-9c35-d1e6f0a7b842", "42b8a7f0-e6d1-359c-e14b-d807c4912a3f",
        "f0a7b842-d1e6-9c35-e14b-d807c4912a3f", "42b8a7f0-e6d1-359c-4be1-07d83f2a91c4",
    ])
    func `one machine in any order of bytes`(bmc: String) {
        #expect(SystemUUID.isSame(bmc, Self.firmware))
    }

    @Test(arguments: [
        "3f2a91c4-07d8-4be1-9c35-d1e6f0a7b843", "42b8a7f0-e6d1-359c-e14b-d807c4912a30", "", "x",
        "3f2a91c4-07d8-4be1-9c35-d1e6f0a7b84", "9c35d1e6-f0a7-b842-3f2a-91c407d84be1",
    ])
    func `another machine`(bmc: String) {
        #expect(!SystemUUID.isSame(bmc, Self.firmware))
    }
}
