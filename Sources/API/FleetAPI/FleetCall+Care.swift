import APISupport
import AgentProtocol
import BlobStore
import CatalogBareMetal
import FleetContract
import FoundationEssentials
import Hummingbird
import Identity
import Primitives

/// What is done to a machine between two lives.
extension FleetCall {
    /// Orders disks to be emptied: the named ones or all, as the last inventory has them.
    func clean(_ note: inout AuditNote) async throws -> Response {
        let request = try await body(CleanRequestBody.self)
        let found = try node()
        let name = found.spec.name
        let order = CleanOrder(
            disks: try await cleanable(found, serials: request.disks).map(\.cleanHint), method: request.method)
        let isRelease = request.release ?? false
        return try await write(found, &note) { node in
            guard node.spec.approval != nil else {
                throw APIError.conflict("'\(name)' was not let in yet; say 'muster node approve \(name)' first.")
            }
            guard !node.spec.isInMaintenance else {
                throw APIError.conflict(
                    "'\(name)' is in maintenance; end that with 'muster node set \(name) --maintenance off'.")
            }
            switch node.status.state {
            case .available, .manageable, .deployFailed, .cleanFailed: break
            case .active:
                guard isRelease else {
                    throw APIError.conflict(
                        "'\(name)' is active; to end what it does and empty its disks, say 'muster node clean \(name) "
                            + "--release …'.")
                }
            default:
                throw APIError.conflict(
                    "'\(name)' is \(node.status.state) and cannot be cleaned now; 'muster node why \(name)' tells more."
                )
            }
            if isRelease { node.spec.role = nil }
            node.spec.cleaning = Node.CleanRequest(
                number: max(node.spec.cleaning?.number ?? 0, node.status.cleaned ?? 0) + 1, order: order,
                isRelease: isRelease)
            return "\(order.disks.count == 1 ? "a disk is" : "\(order.disks.count) disks are") emptied "
                + "(\(order.method.rawValue)); 'muster node watch \(name)' shows how it goes on"
        }
    }

    /// The disks of the node's inventory with these serial numbers, or all that can be emptied.
    private func cleanable(_ node: Node, serials: [String]?) async throws -> [InventoryReport.Disk] {
        let name = node.spec.name
        guard let digest = node.status.inventory else {
            throw APIError.conflict(
                "Nothing is known of the disks of '\(name)'; boot it over the network, for example with 'muster node power "
                    + "\(name) reset'.")
        }
        let bytes = try await services.blobs.get(digest)
        let known = try JSONDecoder().decode(InventoryReport.self, from: Data(bytes)).disks
        let usable = known.filter { !$0.isReadOnly && !$0.isRemovable && $0.size.bytes > 0 }
        var chosen = usable
        if let serials {
            chosen = try serials.map { serial in
                let fitting = usable.filter { $0.serial == serial || $0.wwn == serial || $0.idPath == serial }
                guard fitting.count == 1 else {
                    let list = usable.map {
                        "\($0.name) (\($0.serial ?? $0.wwn ?? $0.idPath ?? "no name"), \($0.size))"
                    }
                    throw APIError(
                        .unprocessableContent, "no_such_disk",
                        "\(fitting.isEmpty ? "No disk" : "More than one disk") of '\(name)' is called "
                            + "'\(serial.printable(limit: 80))'. Name one by serial number, WWN or path: "
                            + "\(list.joined(separator: ", ").printable(limit: 600)).")
                }
                return fitting[0]
            }
        }
        guard (1...CleanOrder.diskCountMax).contains(chosen.count) else {
            throw APIError(
                .unprocessableContent, "no_such_disk",
                "\(chosen.count) disks cannot be emptied at once; name 1 to \(CleanOrder.diskCountMax).")
        }
        if let nameless = chosen.first(where: { $0.cleanHint.serial ?? $0.cleanHint.wwn ?? $0.cleanHint.path == nil }) {
            throw APIError(
                .unprocessableContent, "no_such_disk",
                "\(nameless.name) has neither serial number, WWN nor path, so it cannot be told from others.")
        }
        return chosen
    }
}

extension InventoryReport.Disk {
    /// Facts that fit this disk and no other.
    fileprivate var cleanHint: RootDiskHint {
        RootDiskHint(
            serial: serial, wwn: serial == nil ? wwn : nil, path: serial == nil && wwn == nil ? idPath : nil,
            sizeMin: size, sizeMax: size)
    }
}
