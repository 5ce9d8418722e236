import AgentProtocol
import CatalogBareMetal
import Primitives

/// What a machine tells of each fact, and whether a rule's fact holds of it.
enum RuleFacts {
    /// The machine's values of `path`; empty when it does not tell.
    static func values(of path: FactPath, in inventory: InventoryReport) -> [String] {
        let system = inventory.system
        let cpu = inventory.cpu
        func one(_ value: String?) -> [String] { value.map { [$0] } ?? [] }
        switch path {
        case .systemSerial: return one(system.serial)
        case .systemUUID: return one(system.uuid)
        case .systemVendor: return one(system.vendor)
        case .systemProduct: return one(system.product)
        case .boardSerial: return one(system.boardSerial)
        case .chassisSerial: return one(system.chassisSerial)
        case .firmwareMode: return [system.firmwareMode.rawValue]
        case .firmwareVendor: return one(system.biosVendor)
        case .firmwareVersion: return one(system.biosVersion)
        case .secureBoot: return one(system.secureBoot.map(String.init))
        case .tpmVersion: return one(inventory.tpmVersion)
        case .tpmAttested: return [String(inventory.attestation?.isVouched ?? false)]
        case .tpmEndorsementKey: return one(inventory.attestation?.endorsementKey.hex)
        case .cpuArchitecture: return [cpu.architecture]
        case .cpuVendor: return one(cpu.vendor)
        case .cpuModel: return one(cpu.model)
        case .cpuSockets: return [String(cpu.sockets)]
        case .cpuCores: return [String(cpu.cores)]
        case .cpuThreads: return [String(cpu.threads)]
        case .cpuFlag: return cpu.flags
        case .memoryBytes: return [String(inventory.memory.total.bytes)]
        case .diskCount: return [String(inventory.disks.count)]
        case .diskSerial: return inventory.disks.compactMap(\.serial)
        case .diskBytes: return inventory.disks.map { String($0.size.bytes) }
        case .diskModel: return inventory.disks.compactMap(\.model)
        case .diskBus: return inventory.disks.compactMap(\.bus)
        case .diskWWN: return inventory.disks.compactMap(\.wwn)
        case .nicCount: return [String(inventory.nics.count)]
        case .nicMAC: return inventory.nics.map { ($0.permanentMAC ?? $0.mac).description }
        case .nicDriver: return inventory.nics.compactMap(\.driver)
        case .nicSpeed: return inventory.nics.compactMap { $0.speed.map(String.init) }
        case .nicLLDPSwitch: return inventory.nics.compactMap(\.lldp?.switchName)
        case .nicLLDPPort: return inventory.nics.compactMap(\.lldp?.port)
        case .pciDevice: return inventory.pciDevices.map { "\(hex($0.vendor)):\(hex($0.device))" }
        case .bootMAC: return one(inventory.bootInterface?.description)
        case .virtualization: return one(inventory.virtualization)
        }
    }

    private static func hex(_ number: UInt16) -> String { Hex.encode([UInt8(number >> 8), UInt8(number & 0xFF)]) }

    /// How `fact` comes out on the machine with `inventory`.
    static func trial(of fact: Rule.Fact, on inventory: InventoryReport) -> RuleExplanation.FactTrial {
        let path = FactPath(rawValue: fact.path)
        let found = path.map { values(of: $0, in: inventory) } ?? []
        return RuleExplanation.FactTrial(
            path: fact.path, wanted: wanted(fact, path), found: found.prefix(8).map { shown($0, path) },
            holds: holds(fact, found: found))
    }

    /// Whether `fact` holds of the values `found`: of none for `not`, of any for the others.
    static func holds(_ fact: Rule.Fact, found: [String]) -> Bool {
        guard let path = FactPath(rawValue: fact.path) else { return false }
        if fact.comparison == .exists { return fact.value == (found.isEmpty ? "false" : "true") }
        guard !found.isEmpty else { return false }
        let wanted = normal(fact.value, path)
        switch fact.comparison {
        case .equals: return found.contains { normal($0, path) == wanted }
        case .contains: return path.isList && found.contains { normal($0, path) == wanted }
        case .not: return found.allSatisfy { normal($0, path) != wanted }
        case .oneOf:
            let all = Set(fact.values.map { normal($0, path) })
            return found.contains { all.contains(normal($0, path)) }
        case .matches:
            guard let pattern = try? GlobPattern(wanted) else { return false }
            return found.contains { pattern.matches(normal($0, path)) }
        case .hasPrefix: return found.contains { normal($0, path).hasPrefix(wanted) }
        case .atLeast, .atMost:
            guard path.isNumber, let limit = UInt64(fact.value) else { return false }
            return found.compactMap(UInt64.init).contains { fact.comparison == .atLeast ? $0 >= limit : $0 <= limit }
        case .exists: return true
        }
    }

    static func normal(_ value: String, _ path: FactPath) -> String {
        path.ignoresCase ? value.lowercased() : value
    }

    /// A value as people read it: sizes with a unit.
    private static func shown(_ value: String, _ path: FactPath?) -> String {
        guard path?.isSize == true, let bytes = UInt64(value) else { return value }
        return "\(ByteCount(bytes: bytes))"
    }

    private static func wanted(_ fact: Rule.Fact, _ path: FactPath?) -> String {
        let value = path?.isNumber == true ? shown(fact.value, path) : "'\(fact.value)'"
        switch fact.comparison {
        case .equals: return "is \(value)"
        case .not: return "is not \(value)"
        case .oneOf: return "is in \(fact.values.map { shown($0, path) }.joined(separator: ", "))"
        case .matches: return "matches \(value)"
        case .hasPrefix: return "begins with \(value)"
        case .contains: return "contains \(value)"
        case .exists: return fact.value == "true" ? "is told" : "is not told"
        case .atLeast: return "is at least \(value)"
        case .atMost: return "is at most \(value)"
        }
    }

    /// Whether the machine all but has what the fact asks for: it differs in case, blanks or at most two characters.
    static func isClose(_ fact: Rule.Fact, found: [String]) -> Bool {
        guard fact.comparison == .equals || fact.comparison == .oneOf || fact.comparison == .contains else {
            return false
        }
        return fact.values.contains { wanted in found.contains { isClose(wanted, $0) } }
    }

    private static func isClose(_ wanted: String, _ found: String) -> Bool {
        let left = Array(wanted.lowercased().unicodeScalars).filter { $0 != " " }
        let right = Array(found.lowercased().unicodeScalars).filter { $0 != " " }
        if left == right { return true }
        guard left.count > 4, right.count > 4, abs(left.count - right.count) <= 2 else { return false }
        return TextDistance.between(left, right) <= 2
    }
}
