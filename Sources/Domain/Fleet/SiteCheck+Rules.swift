import AgentProtocol
import CatalogBareMetal
import FleetContract
import Primitives

extension SiteCheck {
    mutating func rule(_ entry: SiteDocument.RuleEntry, at path: String, bmcs: Set<String>) {
        let spec = entry.spec
        if !(0...1_000_000).contains(spec.order) {
            report("\(path).order", "\(spec.order) is not between 0 and 1000000")
        }
        count("\(path).match", spec.match.count, SiteLimit.factCount)
        for fact in spec.match { self.fact(fact, at: "\(path).match.\(fact.path.printable(limit: 80))") }
        if let name = spec.name {
            check("\(path).gives.name") { () throws(InvalidValue) in _ = try NamePattern(name) }
        }
        text("\(path).gives.rack", spec.rack, limit: 60)
        if let bmc = spec.bmc, !bmcs.contains(bmc) {
            let known =
                bmcs.isEmpty ? "there are none" : "there are \(bmcs.sorted().prefix(20).joined(separator: ", "))"
            report("\(path).gives.bmc", "'\(bmc.printable(limit: 80))' is not a BMC of this site; \(known)")
        }
        if let hint = spec.rootDisk {
            text("\(path).gives.rootDisk.serial", hint.serial)
            text("\(path).gives.rootDisk.wwn", hint.wwn)
            text("\(path).gives.rootDisk.path", hint.path)
            text("\(path).gives.rootDisk.model", hint.model)
            if let least = hint.sizeMin, let most = hint.sizeMax, least > most {
                report("\(path).gives.rootDisk.sizeMax", "\(most) is less than sizeMin, \(least)")
            }
        }
        if let disks = spec.dataDisks {
            for problem in disks.problems() { report("\(path).gives.dataDisks\(problem.path)", problem.message) }
            if let role = spec.role, role != .storage {
                report("\(path).gives.dataDisks", "only storage nodes have a pool, and the rule gives \(role.rawValue)")
            }
        }
        let givesNothing =
            spec.name == nil && spec.role == nil && spec.rack == nil && spec.bmc == nil && spec.rootDisk == nil
            && spec.network == nil && spec.dataDisks == nil && spec.sku == nil
        if givesNothing, !spec.approves { report(path, "the rule gives nothing; add 'gives' or 'approves: true'") }
        if spec.match.isEmpty, spec.approves {
            report(path, "a rule that approves must name what has to match; add at least one fact to 'match'")
        }
        let isOneName = spec.name.map { !$0.contains("{") } ?? false
        if spec.match.isEmpty, isOneName || spec.bmc != nil {
            report(path, "a rule that gives a name or a BMC must name what has to match; add 'match'")
        }
    }

    private mutating func fact(_ fact: Rule.Fact, at path: String) {
        guard let known = FactPath(rawValue: fact.path) else {
            report(path, "unknown fact; known are \(FactPath.allCases.map(\.rawValue).joined(separator: ", "))")
            return
        }
        count(path, fact.values.count, SiteLimit.factValueCount)
        for value in fact.values.prefix(SiteLimit.factValueCount) {
            if fact.comparison == .matches {
                check(path) { () throws(InvalidValue) in _ = try GlobPattern(value) }
                continue
            }
            text(path, value)
            if known.isNumber, fact.comparison != .exists, UInt64(value) == nil {
                let example = known.isSize ? "a size such as 8 GiB" : "a whole number"
                report(path, "'\(value.printable(limit: 80))' is not a valid value: expected \(example).")
            }
        }
        if fact.comparison != .oneOf, fact.others?.isEmpty == false {
            report(path, "\(fact.comparison.rawValue) takes one value; use in for several")
        }
        switch fact.comparison {
        case .atLeast, .atMost:
            if !known.isNumber { report(path, "is not a number; use equals, not, in, matches or hasPrefix") }
        case .hasPrefix, .matches:
            if known.isNumber { report(path, "is a number; use equals, not, in, atLeast or atMost") }
        case .contains:
            if !known.isList {
                report(path, "is one value and no list; use equals, or matches: '*…*' for a part of it")
            }
        case .exists:
            if !["true", "false"].contains(fact.value) { report(path, "exists takes true or false") }
        case .equals, .not, .oneOf:
            break
        }
    }
}
