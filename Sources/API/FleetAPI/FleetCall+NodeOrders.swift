import APISupport
import AgentProtocol
import BareMetal
import CatalogBareMetal
import FleetContract
import Hummingbird
import Identity
import Primitives
import ReconcileRuntime
import ResourceModel

/// Orders write specifications and nothing else: the node controller carries them out.
extension FleetCall {
    func approve(_ note: inout AuditNote) async throws -> Response {
        let request = try await body(ApproveRequest.self)
        let found = try node()
        let judgement = try await reads.judgement(of: found)
        guard let role = request.role ?? found.spec.role ?? judgement?.decision.role else {
            throw APIError(
                .unprocessableContent, "role_needed",
                "'\(found.spec.name)' has no role and no rule gives it one; say 'muster node approve "
                    + "\(found.spec.name) --role ROLE', ROLE being one of \(Self.roleNames).")
        }
        let name = try request.name.map { (text) throws(InvalidValue) in try DNSLabel(text, as: "node name").text }
        if let name { try refuseTaken(name, for: found) }
        let image = request.image ?? found.spec.image
        try requireImage(image, role: role)
        let blocks = try blocks(of: found, judgement, isAccepted: request.acceptsDifference ?? false)
        let ownName = name ?? ruleName(for: found, judgement)
        let by = context.principal.description
        let now = services.clock.now
        return try await write(found, &note) { node in
            if case .deleting = node.status.state {
                throw APIError.conflict("'\(node.spec.name)' is being deleted.")
            }
            node.spec.role = role
            if let ownName { node.spec.name = ownName }
            if let image = request.image { node.spec.image = image }
            if node.spec.approval == nil, let judgement { node.spec.take(judgement.decision) }
            node.spec.approval = Node.Approval(
                by: by, at: now, number: (node.spec.approval?.number ?? 0) + 1,
                session: node.status.session?.tokenHash, accepted: blocks.isEmpty ? nil : blocks)
            return node.spec.isInMaintenance
                ? "let in as \(role.rawValue); it is in maintenance, so nothing else is done to it"
                : "let in as \(role.rawValue); 'muster node watch \(node.spec.name)' shows how it goes on"
        }
    }

    func deploy(_ note: inout AuditNote) async throws -> Response {
        let request = try await body(DeployRequest.self)
        let found = try node()
        guard let role = found.spec.role else {
            throw APIError(
                .unprocessableContent, "role_needed",
                "'\(found.spec.name)' has no role; say 'muster node approve \(found.spec.name) --role ROLE', ROLE being "
                    + "one of \(Self.roleNames).")
        }
        try requireImage(request.image ?? found.spec.image, role: role)
        return try await write(found, &note) { node in
            try Self.requireDeployable(node)
            node.spec.deployment = max(node.spec.deployment, node.status.attempted).next
            if let image = request.image { node.spec.image = image }
            return "the image is written anew; 'muster node watch \(node.spec.name)' shows how it goes on"
        }
    }

    func powerNode(_ note: inout AuditNote) async throws -> Response {
        let command = try await body(PowerCommand.self)
        let found = try node()
        guard let bmc = found.spec.bmc ?? found.status.identity.bmc else {
            throw APIError.conflict(
                "'\(found.spec.name)' has no BMC; switch it by hand, or give it one with 'muster node set "
                    + "\(found.spec.name) --bmc NAME'.")
        }
        return try await write(found, &note) { node in
            node.spec.power = Node.PowerRequest(
                number: max(node.spec.power?.number ?? 0, node.status.powerSeen) + 1, action: command.action)
            return "the BMC \(bmc) is told to switch it \(command.action.phrase)"
        }
    }

    func patchNode(_ note: inout AuditNote) async throws -> Response {
        let patch = try await body(NodePatch.self)
        guard !patch.isEmpty else {
            throw APIError.badRequest(
                "Nothing is to be changed; give name, role, rack, image, rootDisk, dataDisks, bmc, network, "
                    + "isInMaintenance or forgetsTPM.")
        }
        let found = try node()
        let name = try patch.name.map { (text) throws(InvalidValue) in try DNSLabel(text, as: "node name").text }
        if let name { try refuseTaken(name, for: found) }
        if let image = patch.image, !image.isEmpty {
            try requireImage(image, role: patch.role ?? found.spec.role)
        }
        if let bmc = patch.bmc, !bmc.isEmpty, services.cache.get(BMC.self, bmc) == nil {
            throw APIError(
                .unprocessableContent, "no_such_bmc",
                "There is no BMC '\(bmc.printable(limit: 80))'; 'muster bmc list' shows those there are.")
        }
        if let network = patch.network, !network.isEmpty, services.cache.get(NodeNetwork.self, network) == nil {
            throw APIError(
                .unprocessableContent, "no_such_network",
                "There is no node network '\(network.printable(limit: 80))'; 'nodeNetworks' of the site file says which "
                    + "there are.")
        }
        try patch.rootDisk?.check()
        if let rack = patch.rack, !rack.hasOnlyPrintableScalars || rack.utf8.count > 60 {
            throw InvalidValue("rack", rack, expected: "1 to 60 printable characters, or none to forget it")
        }
        if let reason = patch.maintenanceReason {
            let most = Node.Maintenance.reasonLengthMax
            guard patch.isInMaintenance == true else {
                throw APIError.badRequest("A reason is given for maintenance that begins; say --maintenance on too.")
            }
            guard reason.hasOnlyPrintableScalars, (1...most).contains(reason.utf8.count) else {
                throw InvalidValue("reason", reason, expected: "1 to \(most) bytes without control characters")
            }
        }
        let by = context.principal.description
        let now = services.clock.now
        let namesNone = patch.dataDisks.map { !$0.all && $0.matches.isEmpty } ?? false
        if !namesNone, let problem = patch.dataDisks?.problems().first {
            throw APIError.badRequest("dataDisks\(problem.path): \(problem.message).")
        }
        return try await write(found, &note) { node in
            if let name { node.spec.name = name }
            if let role = patch.role { node.spec.role = role }
            if let rack = patch.rack { node.spec.rack = rack.isEmpty ? nil : rack }
            if let image = patch.image { node.spec.image = image.isEmpty ? nil : image }
            if let rootDisk = patch.rootDisk { node.spec.rootDisk = rootDisk }
            if let dataDisks = patch.dataDisks { node.spec.dataDisks = namesNone ? nil : dataDisks }
            if let bmc = patch.bmc { node.spec.bmc = bmc.isEmpty ? nil : bmc }
            if let network = patch.network { node.spec.network = network.isEmpty ? nil : network }
            if patch.forgetsTPM == true { node.spec.forgottenTPM = node.status.identity.endorsementKey }
            if let isInMaintenance = patch.isInMaintenance {
                let before = node.spec.maintenance
                node.spec.maintenance =
                    isInMaintenance
                    ? Node.Maintenance(
                        reason: patch.maintenanceReason ?? before?.reason, by: by, since: before?.since ?? now) : nil
            }
            let isLater = patch.role != nil || patch.image != nil || patch.rootDisk != nil
            return isLater && node.status.deployed > Generation(0)
                ? "changed; its disk follows with 'muster node deploy \(node.spec.name)'" : "changed"
        }
    }

    // MARK: Checks

    /// What keeps the machine out and is accepted now; throws 409 when there is something and it is not accepted.
    private func blocks(of node: Node, _ judgement: RuleJudgement?, isAccepted: Bool) throws -> [Node.Block] {
        let known = judgement?.blocks ?? node.status.blocks ?? []
        // Rules say nothing new of a machine that was let in.
        let measured = (node.status.session?.claim?.blocks ?? []).filter { $0.kind == .measurements }
        let blocks = measured + known.filter { $0.kind == .sku || node.spec.approval == nil }
        guard isAccepted || blocks.isEmpty else {
            throw APIError(
                .conflict, "blocked",
                "'\(node.spec.name)' cannot be let in: \(blocks.map(\.message).joined(separator: "; ")). Mend it "
                    + "('muster site explain \(node.spec.name)' tells all), or accept it with 'muster node approve "
                    + "\(node.spec.name) --accept-difference'.")
        }
        return blocks
    }

    /// The name that the rules give by now to a machine that was named by nobody; nil: it keeps its own.
    private func ruleName(for node: Node, _ judgement: RuleJudgement?) -> String? {
        guard node.spec.approval == nil, let judgement, judgement.decision.name != nil,
            node.spec.name == RuleJudgement.nameOfNobody(judgement.inventory)
        else { return nil }
        let others = services.cache.all(Node.self).filter { $0.metadata.name != node.metadata.name }
        let names = Set(others.map(\.spec.name))
        return judgement.naming { names.contains($0) }.name
    }

    private static var roleNames: String { Role.allCases.map(\.rawValue).joined(separator: ", ") }

    private func refuseTaken(_ name: String, for node: Node) throws {
        let isTaken = services.cache.all(Node.self).contains {
            $0.spec.name == name && $0.metadata.name != node.metadata.name
        }
        if isTaken { throw APIError.conflict("Another node has the name '\(name)' already; choose a different one.") }
    }

    private func requireImage(_ name: String?, role: Role?) throws {
        if let name {
            guard let image = services.cache.get(NodeImage.self, name) else {
                throw APIError.conflict(
                    "There is no image '\(name.printable(limit: 80))'; push it with 'muster image push NAME --role ROLE "
                        + "--file FILE'.")
            }
            guard let role, image.spec.role != role else { return }
            throw APIError.conflict(
                "The image '\(name)' is for the role '\(image.spec.role.rawValue)', not for '\(role.rawValue)'.")
        }
        guard let role else { return }
        guard services.cache.all(NodeImage.self).contains(where: { $0.spec.role == role }) else {
            throw APIError.conflict(
                "There is no image for the role '\(role.rawValue)'; push one with 'muster image push NAME --role "
                    + "\(role.rawValue) --file FILE'.")
        }
    }

    private static func requireDeployable(_ node: Node) throws {
        let name = node.spec.name
        guard node.spec.approval != nil else {
            throw APIError.conflict("'\(name)' was not let in yet; say 'muster node approve \(name)' first.")
        }
        guard !node.spec.isInMaintenance else {
            throw APIError.conflict(
                "'\(name)' is in maintenance; end that with 'muster node set \(name) --maintenance off'.")
        }
        switch node.status.state {
        case .available, .deployFailed, .active, .rescueFailed: return
        case .deploying where node.isLeftToOperator: return
        case .deploying:
            throw APIError.conflict(
                "'\(name)' is being deployed already; 'muster node watch \(name)' shows how far it is.")
        case .enroll, .verifying, .manageable, .inspecting, .inspectFailed, .cleaning, .cleanFailed, .rescuing, .rescue,
            .unrescuing, .servicing, .serviceFailed, .deleting, .deleteFailed:
            throw APIError.conflict(
                "'\(name)' is \(node.status.state) and cannot be deployed now; 'muster node why \(name)' tells more.")
        }
    }

    // MARK: Writing

    /// Changes the specification of `found` by compare-and-swap and answers with the node and what `change` says.
    func write(
        _ found: Node, _ note: inout AuditNote, _ change: (inout Node) throws -> String
    ) async throws -> Response {
        let key = found.key
        note.resource = key
        var message = ""
        var documents: (before: [UInt8], after: [UInt8]) = ([], [])
        let revision = try await services.store.update(Node.self, key.name) { stored in
            guard var stored else { throw APIError.notFound("The node '\(found.spec.name)' is gone.") }
            documents.before = try stored.encoded()
            let old = stored.value.spec
            message = try change(&stored.value)
            guard stored.value.spec != old else { return nil }
            stored.value.metadata.generation = stored.value.metadata.generation.next
            documents.after = try stored.encoded()
            return stored
        }
        if revision != nil { (note.before, note.after) = (documents.before, documents.after) }
        if let revision { try await services.cache.wait(for: revision) }
        guard let written = try await services.store.fetch(Node.self, key.name), let summary = summary(written.value)
        else {
            throw APIError.notFound("The node '\(found.spec.name)' is gone.")
        }
        return .json(
            NodeOrderReply(node: summary, message: message, deployment: written.value.spec.deployment))
    }
}

extension RootDiskHint {
    /// Throws `InvalidValue` for a text that no disk can have.
    func check() throws(InvalidValue) {
        for (what, text) in [("serial", serial), ("WWN", wwn), ("path", path), ("model", model)] {
            guard let text else { continue }
            guard text.hasOnlyPrintableScalars, (1...200).contains(text.utf8.count) else {
                throw InvalidValue(
                    "\(what) of a root disk", text, expected: "1 to 200 bytes without control characters")
            }
        }
        if let sizeMin, let sizeMax, sizeMin > sizeMax {
            throw InvalidValue("largest size", sizeMax.description, expected: "not less than the smallest, \(sizeMin)")
        }
    }
}

extension Node.PowerRequest.Action {
    var phrase: String {
        switch self {
        case .on: "on"
        case .off: "off"
        case .reset: "off and on again"
        }
    }
}
