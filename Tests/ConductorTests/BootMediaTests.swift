import BareMetal
import BlobStore
import BootServer
import CatalogBareMetal
import ClientSDK
import FleetContract
import Logging
import NetworkBoot
import Primitives
import ReconcileRuntime
import ResourceModel
import StoreMemory
import TestSupport
import Testing

@testable import ConductorServer

@Suite struct BootMediaTests {
    private static func image(place: Int) -> [UInt8] {
        var bytes = [UInt8](repeating: 7, count: 3 * 4096)
        bytes.replaceSubrange(place..<place + BootMedium.marker.utf8.count, with: Array(BootMedium.marker.utf8))
        return bytes
    }

    @Test func `a medium without a place for the conductor's address is refused`() async throws {
        try await withFleet { fleet in
            let kernel = try fleet.blobs.put([1])
            let image = try fleet.blobs.put(Self.image(place: 4096))
            try await fleet.with { (client: FleetClient) async throws in
                for place in [0, 4095, 4097, 2 * 4096 + 1, UInt64.max] as [UInt64] {
                    let error = await #expect(throws: ClientError.self, "\(place)") {
                        try await client.putRamdisk(
                            "discovery",
                            RamdiskRequest(kernel: kernel, initrd: kernel, media: .init(image: image, place: place)))
                    }
                    #expect(error?.publicMessage.contains("media.sh") == true, "\(error?.publicMessage ?? "")")
                }
                let absent = Digest(bytes: [UInt8](repeating: 9, count: 32))
                let error = await #expect(throws: ClientError.self) {
                    try await client.putRamdisk(
                        "discovery",
                        RamdiskRequest(kernel: kernel, initrd: kernel, media: .init(image: absent, place: 0)))
                }
                #expect(error?.publicMessage.contains("--media FILE") == true)
                let record = try await client.putRamdisk(
                    "discovery", RamdiskRequest(kernel: kernel, initrd: kernel, media: .init(image: image, place: 4096))
                )
                #expect(record.spec.media?.place == 4096)
            }
        }
    }

    @Test func `each BMC has a path of its own that only the key gives, while the site says that it boots so`()
        async throws
    {
        let clock = ManualWallClock()
        let store = MemoryStore(clock: clock)
        let cache = ResourceCache(
            store: store, kinds: LiveCatalog.kinds, indexes: LiveCatalog.indexes,
            logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() })
        func bmc(_ name: String, _ way: BMC.BootWay?) -> BMC {
            BMC(
                metadata: Metadata(name: name, schemaVersion: 1, created: clock.now),
                spec: BMC.Spec(
                    address: "http://127.0.0.1:8000", system: nil, username: "a", passwordSecret: "bmc.x", boot: way),
                status: BMC.Status())
        }
        let network = try IPv4Network("10.77.0.0/24")
        let digest = Digest(bytes: [UInt8](repeating: 1, count: 32))
        func desk(_ key: String) -> MediaDesk {
            MediaDesk(
                catalog: LiveCatalog(cache: cache), ports: ConductorPorts(), authorityDigest: { digest },
                key: SecretText(key))
        }
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { try await cache.run() }
            defer { group.cancelAll() }
            #expect(throws: NoMedium.notPushed) { try desk("a").url(of: bmc("one", .media)) }
            let ramdisk = Ramdisk(
                metadata: Metadata(name: Ramdisk.discovery, schemaVersion: 1, created: clock.now),
                spec: Ramdisk.Spec(kernel: digest, initrd: digest, media: .init(image: digest, place: 4096)))
            let segment = Segment(
                metadata: Metadata(name: "s", schemaVersion: 1, created: clock.now),
                spec: Segment.Spec(
                    interface: "br0", network: network, server: try IPv4Address("10.77.0.1"),
                    pools: []), status: Segment.Status())
            var operations = [try Stored(new: ramdisk).put(), try Stored(new: segment).put()]
            for (name, way) in [("one", .media), ("two", .http), ("three", nil)] as [(String, BMC.BootWay?)] {
                operations.append(try Stored(new: bmc(name, way)).put())
            }
            try await cache.wait(for: try await store.commit(Transaction(operations: operations)))
            func token(_ url: String) throws -> String {
                try #require(url.wholeMatch(of: /http:\/\/127\.0\.0\.1:\d+\/boot\/media\/([0-9a-f]{32})\/boot\.iso/))
                    .output.1.description
            }
            let one = try token(desk("a").url(of: bmc("one", .media)))
            let two = try token(desk("a").url(of: bmc("two", .http)))
            let three = try token(desk("a").url(of: bmc("three", nil)))
            #expect(Set([one, two, three, try token(desk("b").url(of: bmc("one", .media)))]).count == 4)
            let medium = try #require(desk("a").medium(one))
            #expect(medium.place == 4096 && medium.bytes.count == BootMedium.size)
            #expect(String(decoding: medium.bytes, as: UTF8.self).contains("muster.server=10.77.0.1"))
            #expect(desk("a").medium(two) != nil)
            #expect(desk("a").medium(three) == nil, "it boots from the network")
            #expect(desk("b").medium(one) == nil && desk("a").medium("") == nil)
        }
    }
}
