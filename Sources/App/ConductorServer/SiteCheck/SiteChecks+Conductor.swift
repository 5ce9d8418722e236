import AgentProtocol
import BareMetal
import CatalogBareMetal
import FleetContract
import Primitives

/// Whether each BMC answers and takes its user and password.
struct BMCCheck: SiteCheck {
    static let name = "BMC"
    /// How many are asked at once.
    static let concurrency = 16
    /// Up to so many, each that is right gets a row of its own.
    static let rowCountMax = 64

    func findings(_ site: SiteUnderCheck, _ around: CheckSurroundings) async -> [SiteCheckReply.Row] {
        guard !site.bmcs.isEmpty else { return [row("BMCs", .skipped, "none is named")] }
        return await withTaskGroup(of: (Int, SiteCheckReply.Row).self) { group in
            var next = site.bmcs.indices.makeIterator()
            var rows: [(Int, SiteCheckReply.Row)] = []
            func begin() {
                guard !Task.isCancelled, let index = next.next() else { return }
                group.addTask { (index, await finding(site.bmcs[index], around)) }
            }
            for _ in 0..<Self.concurrency { begin() }
            while let row = await group.next() {
                rows.append(row)
                begin()
            }
            return told(rows.sorted { $0.0 < $1.0 }.map(\.1), of: site.bmcs.count)
        }
    }

    private func told(_ rows: [SiteCheckReply.Row], of count: Int) -> [SiteCheckReply.Row] {
        var rows = rows
        if count > Self.rowCountMax {
            let good = rows.count { $0.outcome == .ok }
            rows.removeAll { $0.outcome == .ok }
            rows.insert(row("BMCs", .ok, "\(good) of \(count) answer and take their passwords"), at: 0)
        }
        let left = count - rows.count
        if count <= Self.rowCountMax, left > 0 {
            rows.append(
                row(
                    "BMCs", .failed(.bmcNotAsked), "\(left) could not be asked in time",
                    change: "look at those above, then check again"))
        }
        return rows
    }

    private func finding(_ bmc: CheckedBMC, _ around: CheckSurroundings) async -> SiteCheckReply.Row {
        guard let password = bmc.password else {
            return row(
                bmc.name, .failed(.bmcPasswordUnknown), bmc.passwordProblem ?? "its password is not known",
                change: "name its password in the site file and apply that")
        }
        do {
            let found = try await around.identify(bmc.spec, password)
            let model = [found.manufacturer, found.model].compactMap(\.self).joined(separator: " ")
            return row(
                bmc.name, .ok,
                "it answers: \(model.isEmpty ? found.system : model)"
                    + (found.serial.map { ", serial \($0)" } ?? ""))
        } catch is CancellationError {
            return tooSlow(bmc)
        } catch BMCError.cancelled {
            return tooSlow(bmc)
        } catch let error as BMCError {
            let (problem, change): (SiteCheckReply.Problem, String) =
                switch error {
                case .badCredentials:
                    (.bmcLoginRefused, "correct 'username' or the password of '\(bmc.name)', and apply the site")
                case .unreachable, .timeout:
                    (.bmcUnreachable, "check 'address' of '\(bmc.name)', its cable, and what filters between")
                case .tlsUntrusted:
                    (
                        .bmcCertificateUntrusted,
                        "set 'certificateDigest' of '\(bmc.name)', once the BMC is known to be the right one"
                    )
                default: (.bmcFails, "correct the entry of '\(bmc.name)' in the site file, and apply it")
                }
            return row(bmc.name, .failed(problem), error.publicMessage, change: change)
        } catch {
            return row(
                bmc.name, .failed(.bmcFails), text(error),
                change: "correct the entry of '\(bmc.name)' in the site file")
        }
    }

    private func tooSlow(_ bmc: CheckedBMC) -> SiteCheckReply.Row {
        row(bmc.name, .failed(.bmcTooSlow), "it did not answer in time", change: "check its address and cable")
    }
}

/// Whether there is room for the store and for images.
struct DiskSpaceCheck: SiteCheck {
    static let name = "disk space"
    /// Below this a push of an image may fail.
    static let least = ByteCount.gibibytes(2)
    /// Room for some releases of some images.
    static let comfortable = ByteCount.gibibytes(10)

    func findings(_ site: SiteUnderCheck, _ around: CheckSurroundings) async -> [SiteCheckReply.Row] {
        let path = around.stateDirectory
        guard let free = around.freeSpace(path) else {
            return [
                row(
                    path, .failed(.diskSpaceUnknown), "what is free there cannot be told",
                    change: "look at the disk that it is on")
            ]
        }
        let change = "free some space there, or move the state directory to a larger disk"
        if free < Self.least {
            return [
                row(
                    path, .failed(.diskSpaceTooSmall), "\(free) free, at least \(Self.least) are needed", change: change
                )
            ]
        }
        if free < Self.comfortable { return [row(path, .warning(.diskSpaceScarce), "\(free) free", change: change)] }
        return [row(path, .ok, "\(free) free")]
    }
}

/// Whether what machines boot and are given is there.
struct ImageCheck: SiteCheck {
    static let name = "images"

    func findings(_ site: SiteUnderCheck, _ around: CheckSurroundings) async -> [SiteCheckReply.Row] {
        let facts = await around.images()
        var rows: [SiteCheckReply.Row] = []
        rows.append(
            facts.hasRamdisk
                ? row("discovery", .ok, "kernel and ramdisk are there")
                : row(
                    "discovery", .failed(.ramdiskMissing), "there is no kernel and ramdisk for machines to boot",
                    change: "muster image push-ramdisk --kernel FILE --initrd FILE"))
        rows += facts.missingPrograms.map { program in
            row(program.name, .failed(.bootProgramMissing), program.consequence, change: program.change)
        }
        if facts.missingPrograms.isEmpty { rows.append(row("boot programs", .ok, "all are there")) }
        for missing in facts.missing {
            rows.append(row("store", .failed(.blobMissing), "\(missing) is not in the store", change: "push it again"))
        }
        for role in site.roles.sorted(by: { $0.rawValue < $1.rawValue }) {
            rows.append(
                facts.roles.contains(role)
                    ? row(role.rawValue, .ok, "there is an image for the role")
                    : row(
                        role.rawValue, .failed(.roleImageMissing), "there is no image for the role",
                        change: "muster image push NAME --role \(role.rawValue) --file FILE"))
        }
        return rows
    }
}

/// Whether the certificate authority is good for some time.
struct AuthorityCheck: SiteCheck {
    static let name = "CA"
    /// Nodes' certificates end with the authority's.
    static let remaining: Duration = .seconds(30 * 86_400)

    func findings(_ site: SiteUnderCheck, _ around: CheckSurroundings) async -> [SiteCheckReply.Row] {
        let now = around.clock.now
        let (begin, end) = around.authority
        guard begin <= now else {
            return [
                row(
                    "site CA", .failed(.authorityNotYetValid),
                    "it is not valid before \(begin), and the clock shows \(now)",
                    change: "set the host's clock; nobody trusts this conductor until then")
            ]
        }
        guard end > now else {
            return [
                row(
                    "site CA", .failed(.authorityEnded), "it ended on \(end)",
                    change: "start the conductor with a new state directory and enrol the nodes anew")
            ]
        }
        guard end.since(now) > Self.remaining else {
            return [
                row(
                    "site CA", .warning(.authorityEndsSoon), "it ends on \(end)",
                    change: "plan for a new one; nodes have to be enrolled anew")
            ]
        }
        return [row("site CA", .ok, "it is valid until \(end)")]
    }
}
