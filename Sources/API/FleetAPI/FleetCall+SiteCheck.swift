import APISupport
import CatalogBareMetal
import Fleet
import FleetContract
import Hummingbird
import Primitives
import ResourceModel

/// Whether the conductor's surroundings are fit for a site.
extension FleetCall {
    private static let checkBodySize = ByteCount.mebibytes(1)

    /// Changes nothing, but asks BMCs and servers that the body names: it is granted and audited like applying a site.
    func checkSite(_ note: inout AuditNote) async throws -> Response {
        let request = try await body(SiteCheckRequest.self, limit: Self.checkBodySize)
        note.resource = Site.key(Site.name)
        var rows: [SiteCheckReply.Row] = []
        if let site = request.site {
            let plan = try SitePlan.make(desired: site, current: try await currentSite(), now: services.clock.now)
            let changes = plan.changes.map { "\($0.action.rawValue) \($0.kind) \($0.name)" }
            rows.append(
                changes.isEmpty
                    ? .init(check: "site file", subject: site.site.name, outcome: .ok, found: "it is what was applied")
                    : .init(
                        check: "site file", subject: site.site.name, outcome: .warning,
                        found: "\(changes.count) changes are not applied: \(changes.joined(separator: ", "))"
                            .printable(limit: 300),
                        change: "muster site apply FILE, once the other checks pass", problem: .siteNotApplied))
        } else if try await services.store.fetch(Site.self, Site.name) == nil {
            throw APIError.notFound("No site was applied yet; check a file with 'muster site check FILE'.")
        }
        rows += await services.siteCheck(request.site)
        let reply = SiteCheckReply(rows: rows)
        note.summary = "\(rows.count) findings, \(rows.count { $0.outcome == .failed }) failed"
        return .json(reply)
    }
}
