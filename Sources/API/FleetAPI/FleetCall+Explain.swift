import APISupport
import AgentProtocol
import BareMetal
import BlobStore
import CatalogBareMetal
import FleetContract
import FoundationEssentials
import Hummingbird
import Primitives
import ReconcileRuntime
import ResourceModel

/// Why machines are what the rules make of them.
extension FleetCall {
    /// An inventory and the rules of a site file.
    private static let explainBodySize = ByteCount.mebibytes(4)

    func explainNode() async throws -> Response {
        let node = try node()
        guard let judgement = try await reads.judgement(of: node), let summary = summary(node) else {
            throw APIError.notFound(
                "'\(node.spec.name)' has not been inventoried yet; boot it over the network, for example with "
                    + "'muster node power \(node.spec.name) reset'.")
        }
        let headline = try await reads.explanation(of: node, summary, judgement).reply.headline
        return .json(
            ExplainReply(
                node: summary, headline: headline, rules: judgement.explanation, fields: judgement.fields(of: node),
                blocks: judgement.blocks))
    }

    func explainInventory() async throws -> Response {
        let request = try await body(ExplainRequest.self, limit: Self.explainBodySize)
        var rules = services.cache.all(Rule.self)
        if let own = request.rules {
            let now = services.clock.now
            rules = own.map { entry in
                Rule(
                    metadata: Metadata(name: entry.name, schemaVersion: Rule.schemaVersion, created: now),
                    spec: entry.spec)
            }
        }
        let now = services.clock.now
        let skus = request.skus?.map { entry in
            SKU(
                metadata: Metadata(name: entry.name, schemaVersion: SKU.schemaVersion, created: now), spec: entry.spec)
        }
        let judgement = RuleJudgement(
            rules: rules, skus: skus ?? services.cache.all(SKU.self), inventory: request.inventory)
        let names = Set(services.cache.all(Node.self).map(\.spec.name))
        let naming = judgement.naming { names.contains($0) }
        return .json(
            ExplainReply(
                node: nil, headline: judgement.headline(named: naming), rules: judgement.explanation,
                fields: judgement.fields(named: naming), blocks: judgement.blocks))
    }
}
