import AgentProtocol
import CatalogBareMetal
import FleetContract
import Primitives
import Yams

extension SiteFile {
    static func readBMC(_ fields: FieldReader) -> (SiteDocument.BMCEntry, PasswordReference?) {
        var entry = SiteDocument.BMCEntry(
            name: fields.requiredText("name"), address: fields.requiredText("address"),
            system: fields.text("system"), username: fields.requiredText("username"), password: nil,
            certificateDigest: fields.value("certificateDigest") { (text) throws(InvalidValue) in
                try Digest(hex: text)
            },
            cipherSuite: fields.integer("cipherSuite"),
            powersOnForDiscovery: fields.flag("powersOnForDiscovery"),
            boot: fields.value("boot") { (text) throws(InvalidValue) in
                guard let way = BMC.BootWay(rawValue: text) else {
                    throw InvalidValue(
                        "way to boot", text,
                        expected: BMC.BootWay.allCases.map(\.rawValue).joined(separator: ", "))
                }
                return way
            })
        entry.console = fields.text("console")
        entry.recordsConsole = fields.has("recordsConsole") ? fields.flag("recordsConsole") : nil
        let file = fields.text("passwordFile")
        let variable = fields.value("passwordEnv", variableName)
        let reading = fields.reading
        var reference: PasswordReference?
        switch (file, variable) {
        case (.some(let file), nil): reference = .file(file)
        case (nil, .some(let variable)):
            reference = .environment(variable)
        case (.some, .some):
            reading.report(
                fields.path(of: "passwordEnv"), nil, "give either 'passwordFile' or 'passwordEnv', not both")
        case (nil, nil):
            if !fields.has("password"), !fields.has("passwordFile"), !fields.has("passwordEnv") {
                reading.report(
                    fields.path, nil,
                    "the password is missing; name its file with 'passwordFile' or a variable with "
                        + "'passwordEnv'")
            }
        }
        fields.finish()
        return (entry, reference)
    }

    static func readRule(_ fields: FieldReader) -> SiteDocument.RuleEntry {
        let name = fields.requiredText("name")
        var spec = Rule.Spec(order: fields.integer("order") ?? 100, match: [])
        if let match = fields.fields("match") { spec.match = readFacts(match) }
        if let gives = fields.fields("gives") {
            spec.name = gives.text("name")
            spec.role = gives.value("role", role)
            spec.rack = gives.text("rack")
            spec.bmc = gives.text("bmc")
            spec.network = gives.text("network")
            spec.sku = gives.text("sku")
            if let hint = gives.fields("rootDisk") { spec.rootDisk = readRootDisk(hint) }
            if let disks = gives.fields("dataDisks") { spec.dataDisks = readDataDisks(disks) }
            gives.finish()
        }
        spec.approves = fields.flag("approves")
        fields.finish()
        return SiteDocument.RuleEntry(name: name, spec: spec)
    }

    /// `path: value` for equality, `path: [value, …]` for one of several, or `path: {comparison: value, …}`.
    private static func readFacts(_ match: FieldReader) -> [Rule.Fact] {
        var facts: [Rule.Fact] = []
        for path in match.allKeys() {
            guard let known = FactPath(rawValue: path) else {
                let paths = FactPath.allCases.map(\.rawValue).joined(separator: ", ")
                match.reading.report(
                    match.path(of: path.printable(limit: 80)), nil, "unknown fact; known are \(paths)")
                continue
            }
            switch match.node(path) {
            case .mapping?:
                guard let comparisons = match.fields(path) else { continue }
                for comparison in Rule.Fact.Comparison.allCases {
                    if comparison == .oneOf {
                        let values = comparisons.texts(comparison.rawValue, countMax: SiteLimit.factValueCount)
                        if let fact = fact(known, comparison, values) { facts.append(fact) }
                    } else if let value = comparisons.value(comparison.rawValue, { text in text }),
                        let fact = fact(known, comparison, [value])
                    {
                        facts.append(fact)
                    }
                }
                comparisons.finish()
            case .sequence?:
                let values = match.texts(path, countMax: SiteLimit.factValueCount)
                if let fact = fact(known, .oneOf, values) { facts.append(fact) }
            default:
                if let value = match.text(path), let fact = fact(known, .equals, [value]) { facts.append(fact) }
            }
        }
        return facts
    }

    /// The comparison with `values`, sizes in bytes; nil when there is no value.
    private static func fact(
        _ path: FactPath, _ comparison: Rule.Fact.Comparison, _ values: [String]
    ) -> Rule.Fact? {
        let plain = values.map { value in
            let size = path.isSize ? try? SiteUnits.size(value) : nil
            return size.map { String($0.bytes) } ?? value
        }
        guard let first = plain.first else { return nil }
        return Rule.Fact(
            path: path.rawValue, comparison: comparison, value: first,
            others: plain.count > 1 ? Array(plain.dropFirst()) : nil)
    }

    private static func readRootDisk(_ fields: FieldReader) -> RootDiskHint {
        let hint = RootDiskHint(
            serial: fields.text("serial"), wwn: fields.text("wwn"), path: fields.text("path"),
            model: fields.text("model"), sizeMin: fields.value("sizeMin", SiteUnits.size),
            sizeMax: fields.value("sizeMax", SiteUnits.size))
        fields.finish()
        return hint
    }

    /// `{all: true}`, or `{match: [{serial: S}, {bus: nvme, sizeMin: 1 TiB}]}`; both with `pool: NAME`.
    private static func readDataDisks(_ fields: FieldReader) -> DataDisks {
        var disks = DataDisks(pool: fields.text("pool") ?? DataDisks.poolDefault, all: fields.flag("all"))
        disks.matches = fields.list("match", countMax: DataDisks.matchCountMax).compactMap { entry in
            FieldReader(entry.node, path: entry.path, reading: fields.reading).map { match in
                let found = DataDisks.Match(
                    serial: match.text("serial"), wwn: match.text("wwn"), path: match.text("path"),
                    model: match.text("model"), bus: match.text("bus"),
                    isRotational: match.has("rotational") ? match.flag("rotational") : nil,
                    sizeMin: match.value("sizeMin", SiteUnits.size), sizeMax: match.value("sizeMax", SiteUnits.size))
                match.finish()
                return found
            }
        }
        fields.finish()
        return disks
    }

    static func address(_ text: String) throws(InvalidValue) -> IPv4Address { try IPv4Address(text) }

    private static func role(_ text: String) throws(InvalidValue) -> Role {
        guard let role = Role(rawValue: text) else {
            throw InvalidValue("role", text, expected: Role.allCases.map(\.rawValue).joined(separator: ", "))
        }
        return role
    }
}
