import FoundationEssentials
import Histories
import NIOCore
import NIOPosix
import Primitives
import Synchronization

/// Clients that read and write through the public API at all conductors and at the virtual address, and remember what they
/// were answered.
///
/// Registers are nodes without hardware whose `extra` has a value: a JSON patch writes it, one with a test before it writes
/// it on a condition. The set are regions of the catalog, one document each, read as a list.
public final class Workload: Sendable {
    /// What the clients saw.
    public struct Record: Codable, Sendable {
        public var registers: [RegisterOperation] = []
        public var set: [SetOperation] = []
        /// Elements that the probe added at the virtual address and that were acknowledged, by when.
        public var acknowledged: [String: Int64] = [:]
        /// The probe's attempts that were not acknowledged, in order.
        public var attempts: [Attempt] = []
        /// When the virtual address took a connection.
        public var connections: [Int64] = []
        /// The probe's elements that each conductor shows at the end, by controller.
        public var found: [String: Set<String>] = [:]
        /// Answers that nobody expected, in words.
        public var surprises: [String] = []
    }

    /// An addition at the virtual address that was not acknowledged.
    public struct Attempt: Codable, Sendable {
        /// Monotonic, in nanoseconds.
        public var start: Int64
        public var end: Int64
        /// What came of it, in words.
        public var outcome: String
    }

    private static let setSize = 16

    /// How many clients there are: for each of `scale`, six on three registers and three on the set.
    private let registerCount: Int
    private let registerClients: Int
    private let setClients: Int

    private let bed: Bed
    private let seed: UInt64
    private let token: String
    private let record = Mutex(Record())
    private let isOver: @Sendable () -> Bool
    private let nextValue = Atomic<Int>(1)
    /// Elements whose addition was acknowledged and that nobody removes yet.
    private let mayGo = Mutex<[String]>([])

    /// Clients that go on until `isOver`, `scale` times as many as there are usually; the seed names what they write and
    /// chooses what they do.
    ///
    /// Throws `BedError` when nobody can sign in.
    public init(_ bed: Bed, seed: UInt64, scale: Int = 1, isOver: @escaping @Sendable () -> Bool) async throws {
        self.bed = bed
        (registerCount, registerClients, setClients) = (3 * scale, 6 * scale, 3 * scale)
        self.seed = seed
        token = try await BedClient.signIn(bed)
        self.isOver = isOver
    }

    /// Runs all clients to their end; `settle` is awaited before the last look.
    public func run(
        begun: @Sendable () throws -> Void, settled: @Sendable () async throws -> Void
    ) async throws -> Record {
        try await makeRegisters()
        try begun()
        await withTaskGroup(of: Void.self) { group in
            for number in 0..<registerClients { group.addTask { await self.useRegisters(number) } }
            for number in 0..<setClients { group.addTask { await self.useSet(self.registerClients + number) } }
            group.addTask { await self.probeWrites() }
            group.addTask { await self.probeAddress() }
        }
        try await settled()
        try await lookLast()
        return record.withLock(\.self)
    }

    /// How many answers there are so far.
    public var operationCount: Int { record.withLock { $0.registers.count + $0.set.count + $0.acknowledged.count } }

    // MARK: Registers

    private func key(_ number: Int) -> String { "r\(seed)-\(number)" }

    private func makeRegisters() async throws {
        let client = BedClient(bed, token: token)
        defer { Task { await client.shutdown() } }
        for number in 0..<registerCount {
            let body: JSONValue = [
                "driver": "fake-hardware", "name": .string(key(number)), "extra": ["v": .integer(0)],
            ]
            var isMade = false
            for _ in 0..<50 where !isMade {
                let reply = await client.call("POST", "/baremetal/v1/nodes", body, at: BedPlan.virtualAddress)
                // A 409 says that an attempt without an answer was carried out.
                if case .answered(let status, _) = reply, [201, 409].contains(status) { isMade = true }
                if !isMade { try await Task.sleep(for: .milliseconds(200)) }
            }
            guard isMade else { throw BedError.failed("The register \(key(number)) cannot be made.") }
        }
    }

    private func useRegisters(_ number: Int) async {
        let client = BedClient(bed, token: token)
        var random = SeededRandom(seed: seed &* 1000 &+ UInt64(number))
        var seen = [Int](repeating: 0, count: registerCount)
        while !isOver() {
            let register = Int.random(in: 0..<registerCount, using: &random)
            let place = address(&random)
            switch Int.random(in: 0..<10, using: &random) {
            case 0..<5:
                if let value = await read(register, number, client, place) { seen[register] = value }
            case 5..<7: await write(register, nil, number, client, place)
            default: await write(register, seen[register], number, client, place)
            }
            await pause(&random)
        }
        await client.shutdown()
    }

    private func read(_ register: Int, _ number: Int, _ client: BedClient, _ place: String) async -> Int? {
        let start = monotonicNanoseconds()
        let reply = await client.call("GET", "/baremetal/v1/nodes/\(key(register))", at: place)
        let end = monotonicNanoseconds()
        guard case .answered(let status, let body) = reply else { return nil }
        guard status == 200, let value = body["extra"]?["v"]?.wholeNumber else {
            expect(status, [503, 504, 500], "GET node")
            return nil
        }
        keep(register, number, start, end, .read(value))
        return value
    }

    private func write(_ register: Int, _ old: Int?, _ number: Int, _ client: BedClient, _ place: String) async {
        let new = nextValue.wrappingAdd(1, ordering: .relaxed).oldValue
        var patch: [JSONValue] = [["op": "replace", "path": "/extra/v", "value": .integer(Int64(new))]]
        if let old { patch.insert(["op": "test", "path": "/extra/v", "value": .integer(Int64(old))], at: 0) }
        let start = monotonicNanoseconds()
        let reply = await client.call("PATCH", "/baremetal/v1/nodes/\(key(register))", .array(patch), at: place)
        let end = monotonicNanoseconds()
        let action = old.map { RegisterOperation.Action.swap(from: $0, to: new) } ?? .write(new)
        switch reply {
        case .answered(200, _): keep(register, number, start, end, action)
        case .answered(400, let body) where old != nil && Self.isFailedTest(body):
            keep(register, number, start, end, .refusedSwap(from: old ?? 0))
        // Others were always faster: nothing was written.
        case .answered(409, _), .answered(429, _), .notSent: break
        case .answered(let status, _):
            expect(status, [500, 503, 504], "PATCH node")
            keep(register, number, start, nil, action)
        case .unknown: keep(register, number, start, nil, action)
        }
    }

    private static func isFailedTest(_ body: JSONValue) -> Bool {
        String(decoding: body.text, as: UTF8.self).contains("the test of '/extra/v' failed")
    }

    private func keep(
        _ register: Int, _ client: Int, _ start: Int64, _ end: Int64?, _ action: RegisterOperation.Action
    ) {
        let operation = RegisterOperation(key: key(register), client: client, start: start, end: end, action: action)
        record.withLock { $0.registers.append(operation) }
    }

    // MARK: The set

    private func useSet(_ number: Int) async {
        let client = BedClient(bed, token: token)
        var random = SeededRandom(seed: seed &* 1000 &+ UInt64(number))
        var count = 0
        while !isOver() {
            let place = address(&random)
            switch Int.random(in: 0..<10, using: &random) {
            case 0..<5: await list(number, client, place)
            case 5..<8 where mayGo.withLock({ $0.count < Self.setSize }):
                count += 1
                await add("s\(seed)-\(number)-\(count)", number, client, place)
            default:
                let gone = mayGo.withLock { $0.isEmpty ? nil : $0.removeFirst() }
                if let gone { await remove(gone, number, client, place) }
            }
            await pause(&random)
        }
        await client.shutdown()
    }

    private func list(_ number: Int, _ client: BedClient, _ place: String) async {
        let start = monotonicNanoseconds()
        let reply = await client.call("GET", "/identity/v3/regions", at: place)
        let end = monotonicNanoseconds()
        guard case .answered(let status, let body) = reply else { return }
        guard status == 200, let regions = body["regions"]?.array else {
            return expect(status, [500, 503, 504], "GET regions")
        }
        let own = regions.compactMap { $0["id"]?.string }.filter { $0.hasPrefix("s\(seed)-") }
        keep(SetOperation(client: number, start: start, end: end, action: .list(Set(own))))
    }

    private func add(_ element: String, _ number: Int, _ client: BedClient, _ place: String) async {
        let start = monotonicNanoseconds()
        let reply = await client.call("PUT", "/identity/v3/regions/\(element)", ["region": [:]], at: place)
        let end = monotonicNanoseconds()
        switch reply {
        case .answered(201, _):
            keep(SetOperation(client: number, start: start, end: end, action: .add(element)))
            mayGo.withLock { $0.append(element) }
        case .answered(429, _), .notSent: break
        case .answered(let status, _):
            // A 409 says that it is there: the conductor has tried again what was already done.
            expect(status, [409, 500, 503, 504], "PUT region")
            keep(SetOperation(client: number, start: start, end: nil, action: .add(element)))
        case .unknown: keep(SetOperation(client: number, start: start, end: nil, action: .add(element)))
        }
    }

    private func remove(_ element: String, _ number: Int, _ client: BedClient, _ place: String) async {
        let start = monotonicNanoseconds()
        let reply = await client.call("DELETE", "/identity/v3/regions/\(element)", at: place)
        let end = monotonicNanoseconds()
        switch reply {
        case .answered(204, _):
            keep(SetOperation(client: number, start: start, end: end, action: .remove(element)))
        case .answered(404, _):
            keep(SetOperation(client: number, start: start, end: end, action: .missed(element)))
        case .answered(429, _), .notSent: break
        case .answered(let status, _):
            expect(status, [409, 500, 503, 504], "DELETE region")
            keep(SetOperation(client: number, start: start, end: nil, action: .remove(element)))
        case .unknown: keep(SetOperation(client: number, start: start, end: nil, action: .remove(element)))
        }
    }

    private func keep(_ operation: SetOperation) { record.withLock { $0.set.append(operation) } }

    // MARK: Gaps

    private var probePrefix: String { "p\(seed)-" }

    /// Adds one element after the other at the virtual address, as one client would: the gap of the API is between two
    /// acknowledgements.
    private func probeWrites() async {
        let client = BedClient(bed, token: token, limit: .milliseconds(1500))
        var count = 0
        while !isOver() {
            count += 1
            let element = "\(probePrefix)\(count)"
            let path = "/identity/v3/regions/\(element)"
            let start = monotonicNanoseconds()
            let reply = await client.call("PUT", path, ["region": [:]], at: BedPlan.virtualAddress)
            let end = monotonicNanoseconds()
            if case .answered(201, _) = reply {
                record.withLock { $0.acknowledged[element] = end }
            } else {
                record.withLock { $0.attempts.append(Attempt(start: start, end: end, outcome: "\(reply)")) }
            }
            try? await Task.sleep(for: .milliseconds(20))
        }
        await client.shutdown()
    }

    /// Connects to the virtual address again and again.
    private func probeAddress() async {
        let bootstrap = ClientBootstrap(group: MultiThreadedEventLoopGroup.singleton).connectTimeout(.milliseconds(250))
        while !isOver() {
            if let channel = try? await bootstrap.connect(host: BedPlan.virtualAddress, port: BedPlan.virtualPort).get()
            {
                record.withLock { $0.connections.append(monotonicNanoseconds()) }
                try? await channel.close()
            }
            try? await Task.sleep(for: .milliseconds(50))
        }
    }

    /// What each conductor shows at the end.
    private func lookLast() async throws {
        let client = BedClient(bed, token: token)
        for name in bed.plan.controllers {
            let place = bed.plan.address(of: name)
            guard case .answered(200, let body) = await client.call("GET", "/identity/v3/regions", at: place) else {
                await client.shutdown()
                throw BedError.failed("\(name) does not answer at the end.")
            }
            let ids = (body["regions"]?.array ?? []).compactMap { $0["id"]?.string }
            record.withLock { $0.found[name] = Set(ids.filter { $0.hasPrefix(probePrefix) }) }
            await list(100, client, place)
            for register in 0..<registerCount { _ = await read(register, 100, client, place) }
        }
        await client.shutdown()
    }

    // MARK: Shared

    /// Mostly a conductor itself, so that what one acknowledges another is asked for.
    private func address(_ random: inout SeededRandom) -> String {
        let all = bed.plan.controllers.map(bed.plan.address) + [BedPlan.virtualAddress]
        return all.randomElement(using: &random) ?? BedPlan.virtualAddress
    }

    private func pause(_ random: inout SeededRandom) async {
        try? await Task.sleep(for: .milliseconds(Int.random(in: 1...20, using: &random)))
    }

    private func expect(_ status: Int, _ statuses: Set<Int>, _ what: String) {
        guard !statuses.contains(status) else { return }
        record.withLock { if $0.surprises.count < 20 { $0.surprises.append("\(what): \(status)") } }
    }
}

extension JSONValue {
    fileprivate var wholeNumber: Int? {
        guard case .integer(let value) = self else { return nil }
        return Int(value)
    }
}
