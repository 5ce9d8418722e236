import APISupport
import AgentProtocol
import CatalogBareMetal
import CatalogIdentity
import FleetContract
import Hummingbird
import Identity
import Primitives
import ReconcileRuntime
import ResourceModel

/// A way into a machine whose system does not come up, without touching what is on its disks.
extension FleetCall {
    /// Orders a rescue, or another password in one; the answer has the password.
    func rescue(_ note: inout AuditNote) async throws -> Response {
        let request = try await body(RescueRequestBody.self)
        let hours = request.hours ?? Node.RescueRequest.hoursDefault
        guard Node.RescueRequest.hours.contains(hours) else {
            throw InvalidValue("hours", String(hours), expected: "1 to \(Node.RescueRequest.hours.upperBound)")
        }
        let found = try node()
        let wantsPassword = request.newPassword ?? false
        try Self.requireRescuable(found, wantsPassword: wantsPassword)
        let password = Self.oneTimePassword(RandomBytes.system)
        let hash = try services.hashPassword(password)
        let ends = services.clock.now.advanced(by: .seconds(hours * 3600))
        let written = try await orderRescue(found, &note, passwordEnds: ends, hash: hash) { node in
            try Self.requireRescuable(node, wantsPassword: wantsPassword)
        }
        guard let summary = summary(written), let number = written.spec.rescue?.number else {
            throw APIError.notFound("The node '\(found.spec.name)' is gone.")
        }
        let name = written.spec.name
        let hasBMC = written.spec.bmc ?? written.status.identity.bmc != nil
        let message =
            wantsPassword
            ? "the password before is void, and this one is good for one login"
            : "it is booted into the ramdisk, its disks are left alone; 'muster node watch \(name)' shows how it goes on"
                + (hasBMC
                    ? ""
                    : ". It has no BMC: boot it over the network by hand, then say 'muster node approve \(name)'")
        return .json(
            RescueReply(
                node: summary, message: message, password: password.revealed, passwordEnds: ends, number: number))
    }

    /// Orders the end of a rescue: the disk is booted, and nothing is written to it.
    func unrescue(_ note: inout AuditNote) async throws -> Response {
        let found = try node()
        try Self.requireInRescue(found)
        let written = try await orderRescue(found, &note, passwordEnds: nil, hash: nil) { node in
            try Self.requireInRescue(node)
        }
        guard let summary = summary(written) else {
            throw APIError.notFound("The node '\(found.spec.name)' is gone.")
        }
        return .json(
            NodeOrderReply(
                node: summary,
                message:
                    "logins end and its disk is booted; 'muster node watch \(written.spec.name)' shows how it goes on",
                deployment: written.spec.deployment))
    }

    /// Ten characters twice over of an alphabet of 32 without those that look alike: 100 random bits.
    static func oneTimePassword(_ random: RandomBytes) -> SecretText {
        let alphabet = Array("abcdefghijkmnpqrstuvwxyz23456789")
        let letters = random(20).map { alphabet[Int($0 & 31)] }
        let groups = stride(from: 0, to: letters.count, by: 5).map { String(letters[$0..<$0 + 5]) }
        return SecretText(groups.joined(separator: "-"))
    }

    // MARK: Checks

    private static func requireNoMaintenance(_ node: Node) throws {
        guard node.spec.isInMaintenance else { return }
        throw APIError.conflict(
            "'\(node.spec.name)' is in maintenance; end that with 'muster node set \(node.spec.name) --maintenance off'."
        )
    }

    private static func requireRescuable(_ node: Node, wantsPassword: Bool) throws {
        let name = node.spec.name
        guard node.spec.approval != nil else {
            throw APIError.conflict("'\(name)' was not let in yet; say 'muster node approve \(name)' first.")
        }
        try requireNoMaintenance(node)
        switch node.status.state {
        case .rescue:
            guard !wantsPassword else { return }
            throw APIError.conflict(
                "'\(name)' is in rescue already; 'muster node show \(name)' says how to log in, and 'muster node rescue "
                    + "\(name) --new-password' gives another password.")
        case .active, .rescueFailed:
            guard wantsPassword else { return }
            throw APIError.conflict(
                "'\(name)' is \(node.status.state), not in rescue; say 'muster node rescue \(name)' without "
                    + "--new-password.")
        case .rescuing, .unrescuing:
            throw APIError.conflict(
                "'\(name)' is \(node.status.state) already; 'muster node watch \(name)' shows how it goes on.")
        case .available, .manageable, .deployFailed, .inspectFailed, .cleanFailed, .enroll:
            throw APIError.conflict(
                "'\(name)' is \(node.status.state): no system of ours runs from its disk that could be rescued. "
                    + "'muster node deploy \(name)' writes one.")
        case .verifying, .inspecting, .deploying, .cleaning, .servicing, .serviceFailed, .deleting, .deleteFailed:
            throw APIError.conflict(
                "'\(name)' is \(node.status.state) and cannot be rescued now; 'muster node why \(name)' tells more.")
        }
    }

    private static func requireInRescue(_ node: Node) throws {
        try requireNoMaintenance(node)
        switch node.status.state {
        case .rescue, .rescuing, .rescueFailed: return
        case .unrescuing:
            throw APIError.conflict(
                "The rescue of '\(node.spec.name)' ends already; 'muster node watch \(node.spec.name)' shows how it goes "
                    + "on.")
        default:
            throw APIError.conflict("'\(node.spec.name)' is \(node.status.state), not in rescue.")
        }
    }

    // MARK: Writing

    /// Writes the order and its secret in one commit.
    private func orderRescue(
        _ found: Node, _ note: inout AuditNote, passwordEnds: Timestamp?, hash: String?,
        check: (Node) throws -> Void
    ) async throws -> Node {
        let id = try found.id
        let secret = Node.RescueRequest.secretName(id)
        note.resource = found.key
        for attempt in 0..<StoreContention.attemptCountMax {
            guard var stored = try await services.store.fetch(Node.self, id.raw) else {
                throw APIError.notFound("The node '\(found.spec.name)' is gone.")
            }
            try check(stored.value)
            let before = try stored.encoded()
            let number = max(stored.value.spec.rescue?.number ?? 0, stored.value.status.rescued ?? 0) + 1
            stored.value.spec.rescue = Node.RescueRequest(
                number: number, by: context.principal.description, at: services.clock.now, passwordEnds: passwordEnds)
            stored.value.metadata.generation = stored.value.metadata.generation.next
            let after = try stored.encoded()
            var transaction = Transaction(conditions: [stored.unchanged], operations: [try stored.put()])
            if let hash {
                let sealed = try services.vault.sealed(
                    secret, purpose: "one-time password of a rescue", SecretText("\(number) \(hash)"),
                    replacing: try await services.store.fetch(Secret.self, secret))
                transaction.conditions.append(sealed.unchanged)
                transaction.operations.append(try sealed.put())
            } else {
                transaction.operations.append(.delete(Secret.key(secret)))
            }
            do {
                let revision = try await services.store.commit(transaction)
                (note.before, note.after) = (before, after)
                try await services.cache.wait(for: revision)
                return stored.value
            } catch let error as StoreError {
                guard case .conflict = error else { throw error }
            }
            await StoreContention.giveWay(after: attempt)
        }
        throw APIError.conflict("'\(found.spec.name)' is changed by others all the time; try again.")
    }
}
