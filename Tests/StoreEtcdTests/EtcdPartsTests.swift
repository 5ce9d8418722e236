import Primitives
import ResourceModel
import Testing

@testable import StoreEtcd

/// What needs no cluster: keys, end points, the joining of revisions, what is done when.
@Suite struct EtcdPartsTests {
    private let keys = EtcdKeys(prefix: "/muster/")

    private func event(_ name: String, _ revision: Int64, deleted: Bool = false) -> Etcdserverpb_Event {
        var event = Etcdserverpb_Event()
        event.type = deleted ? .delete : .put
        event.kv.key = keys.data(ResourceKey(kind: "test.thing", name: name))
        event.kv.modRevision = revision
        return event
    }

    private func response(_ events: [Etcdserverpb_Event], isFragment: Bool = false) -> Etcdserverpb_WatchResponse {
        var response = Etcdserverpb_WatchResponse()
        response.events = events
        response.fragment = isFragment
        return response
    }

    @Test func `revisions are given out whole, however they are cut`() {
        var assembly = WatchAssembly(after: Revision(4), keys: keys)
        #expect(assembly.take(response([event("a", 5)], isFragment: true)).isEmpty)
        let first = assembly.take(response([event("b", 5), event("a", 6)], isFragment: true))
        #expect(first.map(\.revision) == [Revision(5)])
        #expect(first.first?.changes.count == 2)
        let rest = assembly.take(response([event("b", 6), event("c", 6), event("a", 7, deleted: true)]))
        #expect(rest.map(\.revision) == [Revision(6), Revision(7)])
        #expect(rest.map(\.changes.count) == [3, 1])
        #expect(rest.last?.changes == [.deleted(ResourceKey(kind: "test.thing", name: "a"))])
    }

    @Test func `what was given out before is not given out again`() {
        var assembly = WatchAssembly(after: Revision(5), keys: keys)
        #expect(assembly.take(response([event("a", 4), event("a", 5)])).isEmpty)
        #expect(assembly.take(response([event("a", 5), event("b", 8)])).map(\.revision) == [Revision(8)])
        #expect(assembly.position == Revision(8))
    }

    @Test func `the store's own keys move a watch on and are no documents`() {
        var assembly = WatchAssembly(after: Revision(5), keys: keys)
        var mark = Etcdserverpb_Event()
        mark.kv.key = keys.mark
        mark.kv.modRevision = 9
        #expect(assembly.take(response([mark])) == [WatchBatch(revision: Revision(9), changes: [])])
    }

    @Test func `keys are read back, and lie in the order of the contract`() throws {
        let ordered = [
            ResourceKey(kind: "!", name: "~"), ResourceKey(kind: "a.b", name: "x"),
            ResourceKey(kind: "a.b", name: "x!"), ResourceKey(kind: "a.b-c", name: "!"),
            ResourceKey(kind: "a.bb", name: "!"),
        ]
        let data = ordered.map(keys.data)
        #expect(data.map(keys.key) == ordered)
        #expect(zip(data, data.dropFirst()).allSatisfy { $0.lexicographicallyPrecedes($1) })
        let all = try #require(keys.range(kind: nil, after: nil))
        #expect(!all.start.lexicographicallyPrecedes(keys.mark) && all.start.lexicographicallyPrecedes(data[0]))
        #expect(keys.range(kind: "a.b", after: ordered[3]) == nil)
    }

    @Test func `end points are read strictly`() throws {
        let address = try EtcdAddress("https://[fd00::1]:2379")
        #expect((address.host, address.port, address.isSecure) == ("fd00::1", 2379, true))
        #expect(try EtcdAddress("http://etcd-1.example:2379/").host == "etcd-1.example")
        for text in [
            "", "10.0.0.1:2379", "https://", "https://a", "https://a:0", "https://a:70000", "https://fd00::1:1",
            "https://a/b:1", "ftp://a:1",
        ] {
            #expect(throws: StoreError.self, "\(text)") { try EtcdAddress(text) }
        }
        #expect(throws: StoreError.self) {
            try EtcdConfiguration(endpoints: ["https://a:1"], tls: nil).addresses()
        }
    }

    @Test func `no document is of revision zero, though etcd says so of a key that is not there`() {
        let key = ResourceKey(kind: "test.thing", name: "a")
        let request = EtcdTransaction(
            Transaction(conditions: [.unchanged(key, since: .zero)], operations: [.delete(key)]), keys: keys
        ).request
        #expect(request.compare.first?.result == .less && request.compare.first?.target == .create)
    }

    @Test func `the history goes by age, and by number when it grows faster`() {
        let start = Timestamp(millisecondsSinceEpoch: 0)
        func sample(_ seconds: Int, _ revision: UInt64) -> EtcdUpkeepPlan.Sample {
            EtcdUpkeepPlan.Sample(time: start.advanced(by: .seconds(seconds)), revision: Revision(revision))
        }
        let samples = [sample(0, 100), sample(300, 200), sample(599, 300)]
        func through(_ seconds: Int, _ current: UInt64, countMax: Int = 1000) -> Revision? {
            EtcdUpkeepPlan.compaction(
                samples, now: start.advanced(by: .seconds(seconds)), current: Revision(current), age: .seconds(600),
                countMax: countMax)
        }
        #expect(through(599, 300) == nil)
        #expect(through(600, 300) == Revision(100))
        #expect(through(1000, 400) == Revision(200))
        #expect(through(600, 5000) == Revision(4000))
        let pruned = EtcdUpkeepPlan.pruned(samples, now: start.advanced(by: .seconds(1000)), age: .seconds(600))
        #expect(pruned == [sample(300, 200), sample(599, 300)])
    }

    @Test func `a quota that fills up, an alarm, a slow and a silent member are told with what to do`() {
        func member(_ id: UInt64) -> EtcdAdministration.Member {
            .init(id: id, name: "m\(id)", peerURLs: [], clientURLs: [], isLearner: false)
        }
        func status(_ id: UInt64, _ size: UInt64, inUse: UInt64) -> EtcdAdministration.Status {
            .init(
                member: id, version: "3.4.23", size: .mebibytes(size), sizeInUse: .mebibytes(inUse), leader: 2,
                raftIndex: 1, raftTerm: 1, isLearner: false, errors: [])
        }
        let members: [(member: EtcdAdministration.Member, status: EtcdAdministration.Status?)] = [
            (member(1), status(1, 90, inUse: 10)), (member(2), status(2, 90, inUse: 80)), (member(3), nil),
        ]
        let warnings = EtcdUpkeepPlan.warnings(
            members, alarms: [.init(member: 1, kind: .noSpace)], quota: .mebibytes(100))
        #expect(warnings.map(\.problem) == [.full, .nearlyFull, .silent])
        #expect(warnings[0].text.contains("m1") && warnings[0].text.contains("disarm"))
        #expect(warnings[1].text.contains("m2") && warnings[1].text.contains("--quota-backend-bytes"))
        #expect(warnings[2].text.contains("m3"))
        var (newest, learner) = (status(2, 90, inUse: 10), status(3, 90, inUse: 10))
        (newest.raftIndex, learner.isLearner) = (EtcdUpkeepPlan.slowCount + 1, true)
        func slow() -> [EtcdStore.Warning] {
            EtcdUpkeepPlan.warnings(
                [members[0], (member(2), newest), (member(3), learner)], alarms: [], quota: .mebibytes(100))
        }
        #expect(slow().isEmpty, "the members were not asked at one moment")
        newest.raftIndex += 1
        #expect(slow().map(\.problem) == [.slow], "a learner is not slow, it learns")
        #expect(slow()[0].text.contains("m1 is 5001 entries"))
        #expect(EtcdUpkeepPlan.defragmentationOrder(members) == [1, 2])
        #expect(EtcdUpkeepPlan.needsDefragmentation(status(1, 90, inUse: 10)))
        #expect(!EtcdUpkeepPlan.needsDefragmentation(status(1, 60, inUse: 1)))
        #expect(!EtcdUpkeepPlan.needsDefragmentation(status(1, 90, inUse: 46)))
    }
}
