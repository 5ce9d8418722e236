import FoundationEssentials
import Primitives

/// What a role found on its node that is more than a check, by role; what changes with every look is a metric instead.
public struct RoleFacts: Codable, Sendable, Hashable {
    /// What a hypervisor can do and runs.
    public var compute: ComputeFacts?
    /// The pools of a storage node.
    public var storage: StorageFacts?
    /// The proxy of a controller node.
    public var proxy: ProxyFacts?
    /// The other services of a controller node.
    public var controller: ControllerFacts?

    /// Facts.
    public init(
        compute: ComputeFacts? = nil, storage: StorageFacts? = nil, proxy: ProxyFacts? = nil,
        controller: ControllerFacts? = nil
    ) {
        self.compute = compute
        self.storage = storage
        self.proxy = proxy
        self.controller = controller
    }

    /// These facts with every list and text cut to its limit; a report of a node is never trusted to be small.
    public var bounded: RoleFacts {
        RoleFacts(
            compute: compute?.bounded, storage: storage?.bounded, proxy: proxy?.bounded,
            controller: controller?.bounded)
    }

    /// Whether there is nothing in them.
    public var isEmpty: Bool { compute == nil && storage == nil && proxy == nil && controller == nil }

    /// The facts of several roles together.
    public static func merged(_ all: [RoleFacts]) -> RoleFacts {
        RoleFacts(
            compute: all.lazy.compactMap(\.compute).first, storage: all.lazy.compactMap(\.storage).first,
            proxy: all.lazy.compactMap(\.proxy).first, controller: all.lazy.compactMap(\.controller).first)
    }

    /// These facts, bounded, with their lists made shorter until all is at most `limit` long in JSON; a role's facts
    /// that are still too long are left out.
    public func fitting(_ limit: ByteCount) -> RoleFacts {
        var facts = bounded
        func isTooLong() -> Bool {
            guard let size = try? JSONEncoder().encode(facts).count else { return false }
            return size > limit.bytes
        }
        for _ in 0..<8 where isTooLong() { facts.compute?.halve() }
        if isTooLong() { facts.storage = nil }
        if isTooLong() { facts.proxy = nil }
        if isTooLong() { facts.controller = nil }
        return facts
    }
}

/// A hypervisor as libvirt describes it.
public struct ComputeFacts: Codable, Sendable, Hashable {
    /// The most that is kept of each list, in entries, so that those of one node are small.
    public enum Limit {
        /// Features of the processor beside its model.
        public static let features = 96
        /// Models that a guest can be given.
        public static let models = 128
        /// NUMA cells.
        public static let cells = 16
        /// Sizes of pages a cell.
        public static let pageSizes = 4
        /// Architectures with an emulator.
        public static let guests = 8
        /// Machine types an architecture.
        public static let machines = 12
        /// Domains that are named; `domainCount` counts all.
        public static let domains = 32
        /// Bytes of a name.
        public static let name = 48
        /// Bytes of a path.
        public static let path = 100
    }

    /// The libvirt daemon's version, for example `9.0.0`.
    public var libvirtVersion: String
    /// QEMU's version; nil when libvirt does not know one.
    public var hypervisorVersion: String?
    /// The host's processor.
    public var processor: Processor
    /// The NUMA cells; one for a machine without NUMA.
    public var cells: [Cell]
    /// What can be run, by architecture; the host's own is among them on a node that is ready.
    public var guests: [Guest]
    /// The processor models that a guest of the host's architecture can be given.
    public var models: [String]
    /// All memory of the host.
    public var memory: ByteCount
    /// The domains, by name; only the first `Limit.domains`.
    public var domains: [Domain]
    /// All domains.
    public var domainCount: Int

    /// The host's processor.
    public struct Processor: Codable, Sendable, Hashable {
        /// For example `x86_64`.
        public var architecture: String
        /// The named model that is closest, for example `Broadwell`.
        public var model: String?
        /// Its maker, for example `Intel`.
        public var vendor: String?
        /// Sockets.
        public var sockets: Int
        /// Dies a socket.
        public var dies: Int
        /// Cores a die.
        public var cores: Int
        /// Threads a core.
        public var threads: Int
        /// What it can do beside what its model says, sorted.
        public var features: [String]

        /// A processor.
        public init(
            architecture: String, model: String? = nil, vendor: String? = nil, sockets: Int = 1, dies: Int = 1,
            cores: Int = 1, threads: Int = 1, features: [String] = []
        ) {
            self.architecture = architecture
            self.model = model
            self.vendor = vendor
            self.sockets = sockets
            self.dies = dies
            self.cores = cores
            self.threads = threads
            self.features = features
        }
    }

    /// A NUMA cell.
    public struct Cell: Codable, Sendable, Hashable {
        /// Its number.
        public var id: Int
        /// Its memory.
        public var memory: ByteCount
        /// Its threads.
        public var processors: Int
        /// Pages by size; without those of the usual size.
        public var hugePages: [HugePages]

        /// A cell.
        public init(id: Int, memory: ByteCount, processors: Int, hugePages: [HugePages] = []) {
            self.id = id
            self.memory = memory
            self.processors = processors
            self.hugePages = hugePages
        }
    }

    /// Pages of one size that are set aside.
    public struct HugePages: Codable, Sendable, Hashable {
        /// Of one page.
        public var size: ByteCount
        /// How many.
        public var count: UInt64

        /// Pages.
        public init(size: ByteCount, count: UInt64) {
            self.size = size
            self.count = count
        }
    }

    /// What guests of one architecture run on.
    public struct Guest: Codable, Sendable, Hashable {
        /// For example `x86_64`.
        public var architecture: String
        /// The program.
        public var emulator: String
        /// `kvm`, `qemu`.
        public var domainTypes: [String]
        /// Machine types: the ones that have another name besides their version first, then the newest.
        public var machines: [String]

        /// What guests run on.
        public init(architecture: String, emulator: String, domainTypes: [String], machines: [String] = []) {
            self.architecture = architecture
            self.emulator = emulator
            self.domainTypes = domainTypes
            self.machines = machines
        }
    }

    /// A virtual machine.
    public struct Domain: Codable, Sendable, Hashable {
        /// Its name.
        public var name: String
        /// Its UUID in lower case.
        public var uuid: String
        /// What it does.
        public var state: State
        /// Its virtual processors.
        public var processors: Int
        /// Its memory now.
        public var memory: ByteCount

        /// libvirt's words for what a domain does (virDomainState).
        public enum State: String, Codable, Sendable, Hashable, CaseIterable {
            case none
            case running
            case blocked
            case paused
            case shuttingDown
            case off
            case crashed
            case suspended
        }

        /// A domain.
        public init(name: String, uuid: String, state: State, processors: Int, memory: ByteCount) {
            self.name = name
            self.uuid = uuid
            self.state = state
            self.processors = processors
            self.memory = memory
        }
    }

    /// Facts.
    public init(
        libvirtVersion: String, hypervisorVersion: String? = nil, processor: Processor, cells: [Cell] = [],
        guests: [Guest] = [], models: [String] = [], memory: ByteCount, domains: [Domain] = [], domainCount: Int = 0
    ) {
        self.libvirtVersion = libvirtVersion
        self.hypervisorVersion = hypervisorVersion
        self.processor = processor
        self.cells = cells
        self.guests = guests
        self.models = models
        self.memory = memory
        self.domains = domains
        self.domainCount = domainCount
    }

    /// Makes the lists that can be longest half as long.
    mutating func halve() {
        processor.features.removeLast(processor.features.count / 2)
        models.removeLast(models.count / 2)
        domains.removeLast(domains.count / 2)
        cells.removeLast(cells.count / 2)
        for index in guests.indices { guests[index].machines.removeLast(guests[index].machines.count / 2) }
    }

    var bounded: ComputeFacts {
        var facts = self
        facts.libvirtVersion = libvirtVersion.name
        facts.hypervisorVersion = hypervisorVersion?.name
        facts.processor.architecture = processor.architecture.name
        facts.processor.model = processor.model?.name
        facts.processor.vendor = processor.vendor?.name
        facts.processor.features = processor.features.prefix(Limit.features).map(\.name)
        facts.cells = cells.prefix(Limit.cells).map { cell in
            var cell = cell
            cell.hugePages = Array(cell.hugePages.prefix(Limit.pageSizes))
            return cell
        }
        facts.guests = guests.prefix(Limit.guests).map { guest in
            Guest(
                architecture: guest.architecture.name, emulator: guest.emulator.cut(to: Limit.path),
                domainTypes: guest.domainTypes.prefix(4).map(\.name),
                machines: guest.machines.prefix(Limit.machines).map(\.name))
        }
        facts.models = models.prefix(Limit.models).map(\.name)
        facts.domains = domains.prefix(Limit.domains).map { domain in
            var domain = domain
            domain.name = domain.name.name
            domain.uuid = domain.uuid.name
            return domain
        }
        return facts
    }
}

extension String {
    fileprivate var name: String { cut(to: ComputeFacts.Limit.name) }

    /// Printable, and at most `limit` bytes of UTF-8.
    func cut(to limit: Int) -> String {
        if utf8.count <= limit, hasOnlyPrintableScalars { return self }
        var result = ""
        for scalar in unicodeScalars where result.utf8.count + 4 <= limit {
            result.unicodeScalars.append(String(scalar).hasOnlyPrintableScalars ? scalar : "?")
        }
        return result
    }
}
