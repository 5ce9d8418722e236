import AgentProtocol
import CLibvirt
import Glibc
import Primitives

/// A call of libvirt that failed.
struct LibvirtError: UserFacingError, Hashable {
    /// What was to be done, for example `list the domains`.
    let action: String
    /// libvirt's own words.
    let detail: String

    /// The error that libvirt has of the calling thread's last call.
    init(_ action: String) {
        self.action = action
        let error = virGetLastError()
        detail = (error?.pointee.message.map { String(cString: $0) } ?? "unknown error").printable(limit: 300)
    }

    init(_ action: String, detail: String) {
        self.action = action
        self.detail = detail
    }

    var publicMessage: String { "libvirt could not \(action): \(detail)." }
}

/// Figures that change all the time.
struct ComputeFigures: Hashable, Sendable {
    /// Pages of one size.
    struct Pages: Hashable, Sendable {
        var free: UInt64
        var total: UInt64
    }

    /// All memory, and what is free of it.
    var memory = ByteCount(bytes: 0)
    var memoryFree = ByteCount(bytes: 0)
    /// Processors of the host.
    var processors = 0
    /// Domains by state.
    var domains: [ComputeFacts.Domain.State: Int] = [:]
    /// Virtual processors and memory of domains that are not off.
    var processorsInUse = 0
    var memoryInUse = ByteCount(bytes: 0)
    /// Pages that are set aside, by size.
    var hugePages: [ByteCount: Pages] = [:]
}

/// A connection to a libvirt daemon; for one thread at a time. Every call may block until libvirt gives up.
///
/// Keep-alives end a connection whose daemon has not answered for 20 seconds.
final class Libvirt {
    /// The most domains that are looked at.
    static let domainCountMax = 4096

    // SAFETY: the reference belongs to this object alone and is given back with it.
    private let connection: virConnectPtr
    private let callback: Int32

    /// Connects; `changed` is called on libvirt's thread when the connection ended or a domain changed.
    ///
    /// Throws `LibvirtError`.
    init(uri: String, changed: @escaping @Sendable () -> Void) throws(LibvirtError) {
        LibvirtEvents.start()
        guard let connection = virConnectOpen(uri) else { throw LibvirtError("connect to \(uri)") }
        self.connection = connection
        let events = ConnectionEvents(changed: changed)
        callback = virConnectDomainEventRegisterAny(
            connection, nil, Int32(VIR_DOMAIN_EVENT_ID_LIFECYCLE.rawValue),
            // SAFETY: libvirt calls it by the type that goes with the event's number (VIR_DOMAIN_EVENT_CALLBACK).
            unsafeBitCast(ConnectionEvents.domain, to: virConnectDomainEventGenericCallback.self), events.retained(),
            ConnectionEvents.release)
        guard virConnectSetKeepAlive(connection, 5, 3) >= 0,
            virConnectRegisterCloseCallback(
                connection, ConnectionEvents.closed, events.retained(), ConnectionEvents.release) == 0
        else {
            let error = LibvirtError("watch the connection to \(uri)")
            virConnectClose(connection)
            throw error
        }
    }

    deinit {
        virConnectUnregisterCloseCallback(connection, ConnectionEvents.closed)
        if callback >= 0 { virConnectDomainEventDeregisterAny(connection, callback) }
        virConnectClose(connection)
    }

    /// The daemon's version, and QEMU's.
    func versions() throws(LibvirtError) -> (libvirt: String, hypervisor: String?) {
        var number: UInt = 0
        guard virConnectGetLibVersion(connection, &number) == 0 else { throw LibvirtError("tell its version") }
        let libvirt = Self.version(number)
        number = 0
        // A daemon without any emulator knows no version, which is no failure of the connection.
        let code = virConnectGetVersion(connection, &number)
        return (libvirt, code == 0 && number > 0 ? Self.version(number) : nil)
    }

    private static func version(_ number: UInt) -> String {
        "\(number / 1_000_000).\(number / 1000 % 1000).\(number % 1000)"
    }

    func capabilities() throws(LibvirtError) -> HostCapabilities {
        guard let text = virConnectGetCapabilities(connection) else { throw LibvirtError("tell its capabilities") }
        defer { free(text) }
        do {
            return try HostCapabilities(xml: String(cString: text))
        } catch {
            throw LibvirtError("tell its capabilities", detail: "the answer cannot be read, \(error.reason)")
        }
    }

    /// The models that a guest of this architecture can be given.
    func models(architecture: String) throws(LibvirtError) -> [String] {
        var list: UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>?
        let count = virConnectGetCPUModelNames(connection, architecture, &list, 0)
        guard count >= 0 else { throw LibvirtError("list the processor models") }
        defer { free(list) }
        var names: [String] = []
        for index in 0..<Int(count) {
            guard let name = list?[index] else { break }
            names.append(String(cString: name))
            free(name)
        }
        return names.sorted()
    }

    /// The domains by name, and how many there are.
    func domains() throws(LibvirtError) -> (domains: [ComputeFacts.Domain], count: Int) {
        var list: UnsafeMutablePointer<virDomainPtr?>?
        let count = Int(virConnectListAllDomains(connection, &list, 0))
        guard count >= 0 else { throw LibvirtError("list the domains") }
        defer {
            for index in 0..<count { virDomainFree(list?[index]) }
            free(list)
        }
        var domains: [ComputeFacts.Domain] = []
        for index in 0..<min(count, Self.domainCountMax) {
            guard let pointer = list?[index], let domain = Self.domain(pointer) else { continue }
            domains.append(domain)
        }
        return (domains.sorted { $0.name < $1.name }, count)
    }

    /// nil for one that has just gone.
    private static func domain(_ pointer: virDomainPtr) -> ComputeFacts.Domain? {
        var info = virDomainInfo()
        var uuid = [CChar](repeating: 0, count: Int(VIR_UUID_STRING_BUFLEN))
        guard virDomainGetInfo(pointer, &info) == 0, virDomainGetUUIDString(pointer, &uuid) == 0,
            let name = virDomainGetName(pointer)
        else { return nil }
        let states = ComputeFacts.Domain.State.allCases
        return ComputeFacts.Domain(
            name: String(cString: name),
            uuid: String(decoding: uuid.prefix { $0 != 0 }.map(UInt8.init(bitPattern:)), as: UTF8.self),
            state: Int(info.state) < states.count ? states[Int(info.state)] : .none, processors: Int(info.nrVirtCpu),
            memory: .kibibytes(UInt64(info.memory)))
    }

    /// What changes all the time, of the host and of `domains`.
    func figures(_ host: HostCapabilities, _ domains: [ComputeFacts.Domain]) throws(LibvirtError) -> ComputeFigures {
        var info = virNodeInfo()
        guard virNodeGetInfo(connection, &info) == 0 else { throw LibvirtError("tell the host's memory") }
        var figures = ComputeFigures()
        figures.memory = .kibibytes(UInt64(info.memory))
        figures.memoryFree = ByteCount(bytes: virNodeGetFreeMemory(connection))
        figures.processors = Int(info.cpus)
        for domain in domains {
            figures.domains[domain.state, default: 0] += 1
            guard domain.state != .off, domain.state != .crashed else { continue }
            figures.processorsInUse += domain.processors
            figures.memoryInUse.bytes += domain.memory.bytes
        }
        for size in host.pageSizes {
            let total = host.cells.flatMap(\.hugePages).filter { $0.size == size }.map(\.count).reduce(0, +)
            figures.hugePages[size] = ComputeFigures.Pages(free: try freePages(size, host.cells), total: total)
        }
        return figures
    }

    private func freePages(_ size: ByteCount, _ cells: [ComputeFacts.Cell]) throws(LibvirtError) -> UInt64 {
        var sizes = [UInt32(truncatingIfNeeded: size.bytes >> 10)]
        var total: UInt64 = 0
        // Cell by cell: their numbers need not be without gaps.
        for cell in cells {
            var count: UInt64 = 0
            guard virNodeGetFreePages(connection, 1, &sizes, Int32(cell.id), 1, &count, 0) >= 0 else {
                throw LibvirtError("count the free pages of cell \(cell.id)")
            }
            total += count
        }
        return total
    }
}
