import AgentProtocol
import ArgumentParser
import CatalogBareMetal
import ClientSDK
import FleetContract
import Primitives

struct NodeShow: FleetCommand {
    static let configuration = CommandConfiguration(
        commandName: "show", abstract: "Show all that is known of a machine.")

    @OptionGroup var node: NodeArgument
    @OptionGroup(title: "Connection") var connection: ConnectionOptions

    func run(_ client: FleetClient, _ terminal: Terminal) async throws {
        let detail = try await client.node(node.name)
        if terminal.isJSON { return terminal.json(detail) }
        for line in Self.facts(detail).lines(for: terminal) { terminal.print(line) }
    }

    static func facts(_ detail: NodeDetail) -> Facts {
        let node = detail.node
        let now = detail.time
        var facts = Facts()
        facts.add("name", node.name, .bold)
        facts.add("id", node.id.raw)
        facts.add("role", node.role?.rawValue ?? "none yet")
        facts.add("rack", detail.spec.rack)
        facts.add("state", "\(NodeText.state(node)), for \(Ages.since(node.since, now: now))", NodeText.style(node))
        facts.add(
            "waiting for", node.wait.map { "\($0.cause) (\($0.owner.rawValue), \(Ages.until($0.deadline, now: now)))" })
        facts.add("next", node.wait?.next)
        facts.add("last error", node.lastError, .red)
        facts.add("maintenance", node.maintenance.map { maintenance($0, now) }, .yellow)
        facts.add(
            "let in", detail.spec.approval.map { "by \($0.by), \($0.at)" } ?? "no: 'muster node approve \(node.name)'")
        facts.add("trust", trust(detail), NodeText.style(node.trust))
        facts.add("accepted", detail.spec.approval?.accepted?.map(\.message).joined(separator: "; "))
        facts.add("differs", detail.blocks?.map(\.message).joined(separator: "; "), .yellow)
        facts.add("power", power(detail, now))
        facts.add("bmc", detail.spec.bmc ?? detail.identity.bmc ?? "none known")
        facts.add("network", detail.spec.network ?? "DHCP on every card")
        facts.add("root disk", hint(detail.spec.rootDisk))
        facts.add("data disks", detail.spec.dataDisks?.description)
        facts.add("image", detail.spec.image ?? (node.role.map { "the one of the role \($0.rawValue)" }))
        facts.add(
            "on its disk", detail.deployed > Generation(0) ? detail.image.map { "manifest \($0)" } : "nothing of ours")
        facts.add("agent", agent(detail, now))
        facts.add(
            "certificate", detail.certificate.map(certificate), detail.certificate?.revoked == nil ? .plain : .red)
        facts.add(
            "clock", detail.agent?.clockOffsetMilliseconds.map { "\($0) ms ahead of the conductor's" }, .yellow)
        facts.add(
            "not so",
            detail.agent?.conditions.filter { !$0.isTrue }.map { "\($0.type): \($0.message)" }.joined(separator: " "),
            .yellow)
        facts.add("addresses", detail.agent?.addresses.map(\.description).joined(separator: ", "))
        facts.add("ramdisk", detail.session.map { "booted \($0.opened), \($0.isTrusted ? "trusted" : "not trusted")" })
        if let rescue = detail.rescue {
            facts.add("log in", rescue.access.addresses.first.map { "root@\($0), or 'muster node ssh \(node.name)'" })
            facts.add("host key", rescue.access.fingerprint)
            facts.add("password", password(rescue, detail.spec.rescue?.passwordEnds))
        }
        for (name, text) in NodeText.hypervisor(detail.facts?.compute) { facts.add(name, text) }
        facts.add("model", node.hardware?.model)
        facts.add("hardware", NodeText.hardware(node.hardware))
        facts.add("disks", node.hardware?.disks.map { "\($0.serial) (\($0.size))" }.joined(separator: ", "))
        facts.add("serial", detail.identity.serial)
        facts.add("uuid", detail.identity.smbiosUUID)
        facts.add("endorsement key", detail.identity.endorsementKey?.hex)
        facts.add("MACs", detail.identity.macs.sorted().map(\.description).joined(separator: ", "))
        facts.add("first seen", detail.created.description)
        return facts
    }

    private static func trust(_ detail: NodeDetail) -> String? {
        detail.node.trust.map { level in
            guard let attestation = detail.attestation else { return level.rawValue }
            let voucher = attestation.voucher.map { "its TPM is vouched for by \($0)" }
            return "\(level.rawValue); " + (voucher ?? "nobody vouches for its TPM: \(attestation.doubt ?? "unknown")")
        }
    }

    private static func maintenance(_ maintenance: Node.Maintenance, _ now: Timestamp) -> String {
        let reason = maintenance.reason.map { ": \($0)" } ?? ""
        return "for \(Ages.since(maintenance.since, now: now)), by \(maintenance.by)\(reason); nothing is done to it"
    }

    private static func password(_ rescue: Node.Rescue, _ ends: Timestamp?) -> String {
        if let at = rescue.loginAt { return "used \(at) from \(rescue.loginFrom ?? "somewhere")" }
        if rescue.hasPasswordEnded { return "ended unused" }
        return "good for one login" + (ends.map { " until \($0)" } ?? "")
    }

    private static func power(_ detail: NodeDetail, _ now: Timestamp) -> String {
        guard let reading = detail.powerReading else { return "unknown" }
        let age = Ages.since(reading.since, now: now)
        guard let cause = reading.cause else { return "\(reading.state.rawValue) for \(age)" }
        return "unknown for \(age): \(cause)"
    }

    private static func agent(_ detail: NodeDetail, _ now: Timestamp) -> String? {
        detail.agent.map { agent in
            let stream =
                switch agent.connection {
                case .open: "connected"
                case .unknown: "unknown (its conductor is gone), connected before"
                case .gone: "gone"
                }
            let ready = agent.isReady ? ", ready" : ", not ready"
            return "version \(agent.version), \(stream) for \(Ages.since(agent.since, now: now))\(ready)"
        }
    }

    private static func certificate(_ certificate: CertificateRecord) -> String {
        guard let revoked = certificate.revoked else { return "\(certificate.serial), until \(certificate.notAfter)" }
        return "\(certificate.serial), revoked \(revoked) by \(certificate.revokedBy ?? "somebody"): "
            + (certificate.reason ?? "no reason is known")
    }

    private static func hint(_ hint: RootDiskHint) -> String {
        let facts = [
            hint.serial.map { "serial \($0)" }, hint.wwn.map { "WWN \($0)" }, hint.path.map { "path \($0)" },
            hint.model.map { "model \($0)" }, hint.sizeMin.map { "at least \($0)" },
            hint.sizeMax.map { "at most \($0)" },
        ].compactMap(\.self)
        return facts.isEmpty ? "the only one" : facts.joined(separator: ", ")
    }
}
