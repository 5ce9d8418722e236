import AgentProtocol
import Primitives

/// What libvirt tells of a host (virConnectGetCapabilities; libvirt, "Driver capabilities XML format").
struct HostCapabilities: Hashable, Sendable {
    var processor: ComputeFacts.Processor
    var cells: [ComputeFacts.Cell]
    var guests: [ComputeFacts.Guest]
    /// The sizes of pages that can be set aside, smallest first, without the usual one.
    var pageSizes: [ByteCount]

    /// Reads capabilities; throws `XMLError` when that is not what they are.
    init(xml: String) throws(XMLError) {
        let root = try XMLTree(parsing: xml)
        guard root.name == "capabilities", let host = root.first("host"), let cpu = host.first("cpu"),
            let architecture = cpu.first("arch")?.text, !architecture.isEmpty
        else { throw XMLError(reason: "it does not tell the host's architecture") }
        let topology = cpu.first("topology")
        processor = ComputeFacts.Processor(
            architecture: architecture, model: cpu.first("model")?.text, vendor: cpu.first("vendor")?.text,
            sockets: topology?.number("sockets") ?? 1, dies: topology?.number("dies") ?? 1,
            cores: topology?.number("cores") ?? 1, threads: topology?.number("threads") ?? 1,
            features: cpu.all("feature").compactMap { $0.attributes["name"] }.sorted())
        // The first size is the usual one of the architecture.
        pageSizes = Array(cpu.all("pages").compactMap { Self.size($0, $0.attributes["size"]) }.sorted().dropFirst())
        let huge = Set(pageSizes)
        cells = (host.first("topology", "cells")?.all("cell") ?? []).map { cell in
            let pages = cell.all("pages").compactMap { pages -> ComputeFacts.HugePages? in
                guard let size = Self.size(pages, pages.attributes["size"]), huge.contains(size) else { return nil }
                return ComputeFacts.HugePages(size: size, count: UInt64(pages.text) ?? 0)
            }
            return ComputeFacts.Cell(
                id: cell.number("id") ?? 0,
                memory: cell.first("memory").flatMap { Self.size($0, $0.text) } ?? ByteCount(bytes: 0),
                processors: cell.first("cpus")?.number("num") ?? 0, hugePages: pages)
        }
        guests = root.all("guest").compactMap { guest in
            guard guest.first("os_type")?.text == "hvm", let arch = guest.first("arch"),
                let name = arch.attributes["name"], let emulator = arch.first("emulator")?.text
            else { return nil }
            return ComputeFacts.Guest(
                architecture: name, emulator: emulator,
                domainTypes: arch.all("domain").compactMap { $0.attributes["type"] }.sorted(),
                machines: Self.machines(arch.all("machine")))
        }
    }

    /// What runs guests of the host's own architecture.
    var ownGuest: ComputeFacts.Guest? { guests.first { $0.architecture == processor.architecture } }

    private static func size(_ element: XMLTree, _ number: String?) -> ByteCount? {
        guard let count = number.flatMap({ UInt64($0) }) else { return nil }
        let factors: [String: UInt64] = ["b": 1, "bytes": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30]
        guard let factor = factors[element.attributes["unit"] ?? "KiB"] else { return nil }
        let (bytes, isTooMuch) = count.multipliedReportingOverflow(by: factor)
        return isTooMuch ? nil : ByteCount(bytes: bytes)
    }

    /// Those with a short name first (`pc`, `q35`), then the newest of each family.
    private static func machines(_ elements: [XMLTree]) -> [String] {
        let aliases = elements.filter { $0.attributes["canonical"] != nil }.map(\.text)
        let versions = elements.filter { $0.attributes["canonical"] == nil && $0.attributes["deprecated"] == nil }
            .map(\.text)
        return aliases.sorted()
            + versions.sorted { Self.version($0).lexicographicallyPrecedes(Self.version($1)) }
            .reversed()
    }

    private static func version(_ machine: String) -> [Int] {
        machine.split(separator: "-").last?.split(separator: ".").map { Int($0) ?? 0 } ?? []
    }
}
