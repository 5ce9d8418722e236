import AgentProtocol
import CatalogBareMetal
import FleetContract
import Primitives

extension SiteDocument {
    /// All that is wrong with this site, wherever it came from; empty when it can be applied.
    ///
    /// Paths are those of the site file, for example `segments[0].pool`.
    public func problems() -> [SiteProblem] {
        var check = SiteCheck()
        check.site(site)
        check.count("segments", segments.count, SiteLimit.segmentCount)
        check.count("bmcs", bmcs.count, SiteLimit.bmcCount)
        check.count("rules", rules.count, SiteLimit.ruleCount)
        check.names("segments", segments.map(\.name))
        check.names("bmcs", bmcs.map(\.name))
        check.names("rules", rules.map(\.name))
        for (index, entry) in segments.enumerated() { check.segment(entry, at: "segments[\(index)]") }
        check.overlaps(segments)
        for (index, entry) in bmcs.enumerated() { check.bmc(entry, at: "bmcs[\(index)]") }
        check.sameBMC(bmcs)
        check.networks(self)
        check.skus(self)
        check.tpm(self)
        let known = Set(bmcs.map(\.name))
        for (index, entry) in rules.enumerated() { check.rule(entry, at: "rules[\(index)]", bmcs: known) }
        for (index, entry) in rules.enumerated() {
            check.nodeNetwork(entry.spec.network, of: nodeNetworks ?? [], at: "rules[\(index)].gives.network")
        }
        return check.problems
    }
}

/// Collects what is wrong with the values of a site.
struct SiteCheck {
    private(set) var problems: [SiteProblem] = []

    mutating func report(_ path: String, _ message: String) {
        problems.append(SiteProblem(path: path, message: message))
    }

    mutating func check(_ path: String, _ body: () throws(InvalidValue) -> Void) {
        do { try body() } catch { report(path, error.publicMessage) }
    }

    mutating func count(_ path: String, _ count: Int, _ limit: Int) {
        if count > limit { report(path, "\(count) entries; at most \(limit) are possible") }
    }

    /// One line without quotes, so that it can stand anywhere.
    mutating func text(_ path: String, _ value: String?, limit: Int = SiteLimit.textLength) {
        guard let value else { return }
        let isSafe = value.hasOnlyPrintableScalars && !value.contains { "\"'`\\".contains($0) }
        if value.isEmpty || value.utf8.count > limit || !isSafe {
            let shown = value.printable(limit: 80)
            report(
                path,
                "'\(shown)' is not a valid text: expected 1 to \(limit) bytes without quotes, backslashes and "
                    + "control characters.")
        }
    }

    mutating func names(_ list: String, _ names: [String]) {
        var seen: [String: Int] = [:]
        for (index, name) in names.enumerated() {
            let path = "\(list)[\(index)].name"
            check(path) { () throws(InvalidValue) in _ = try DNSLabel(name) }
            if let first = seen[name] {
                report(path, "'\(name.printable(limit: 80))' is the name of \(list)[\(first)] already")
            } else {
                seen[name] = index
            }
        }
    }

    mutating func site(_ site: Site.Spec) {
        check("site.name") { () throws(InvalidValue) in _ = try DNSLabel(site.name, as: "site name") }
        count("site.sshKeys", site.sshKeys.count, SiteLimit.sshKeyCount)
        for (index, key) in site.sshKeys.enumerated() {
            check("site.sshKeys[\(index)]") { () throws(InvalidValue) in try SSHKeyForm.check(key) }
        }
        if !(1...3600).contains(site.metricsIntervalSeconds) {
            report("site.metricsIntervalSeconds", "\(site.metricsIntervalSeconds) is not between 1 and 3600")
        }
        if let port = site.proxyPort, !(1...65_535).contains(port) {
            report("site.proxyPort", "\(port) is not between 1 and 65535")
        }
        guard let overlay = site.overlay else { return }
        if !(1...16_777_215).contains(overlay.vni) {
            report("site.overlay.vni", "\(overlay.vni) is not between 1 and 16777215")
        }
        if !(576...9216).contains(overlay.mtu) {
            report("site.overlay.mtu", "\(overlay.mtu) is not between 576 and 9216")
        }
    }

    mutating func host(_ address: IPv4Address, of network: IPv4Network, _ path: String) {
        if !network.contains(address) {
            report(path, "\(address) is not in \(network)")
        } else if address == network.address || address == network.broadcast {
            report(path, "\(address) is the network's own or its broadcast address")
        }
    }

    mutating func nodeNetwork(_ name: String?, of entries: [SiteDocument.NodeNetworkEntry], at path: String) {
        guard let name, !entries.contains(where: { $0.name == name }) else { return }
        let known = entries.map(\.name).sorted().prefix(20).joined(separator: ", ")
        report(
            path,
            "'\(name.printable(limit: 80))' is not one of 'nodeNetworks'; "
                + (known.isEmpty ? "there are none" : "there are \(known)"))
    }
}
