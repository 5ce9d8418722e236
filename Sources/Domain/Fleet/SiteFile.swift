import AgentProtocol
import CatalogBareMetal
import FleetContract
import Primitives
import Yams

/// A site file that was read and found right, with references to passwords and keys that are in other files.
public struct SiteFile: Sendable, Hashable {
    /// What the file says, without passwords and without the keys of `sshKeyFiles`.
    public var document: SiteDocument
    /// Files with SSH public keys, relative to the site file.
    public var sshKeyFiles: [String]
    /// An environment variable with more such files, parted by `:`; nothing is missing when it is not set.
    public var sshKeyFilesVariable: String?
    /// Where each BMC's password is, by the BMC's name.
    public var passwords: [String: PasswordReference]
    /// The file of each TPM authority's certificate, relative to the site file, by the authority's name.
    public var certificateFiles: [String: String] = [:]
    private var lines: [String: Int]

    /// Where a password is.
    public enum PasswordReference: Sendable, Hashable {
        /// In a file, relative to the site file; a newline at its end is not part of it.
        case file(String)
        /// In an environment variable of whoever applies the site.
        case environment(String)
    }

    /// Reads YAML 1.1 `text`; throws `SiteError` with all that is wrong with it.
    ///
    /// Unknown keys, doubled keys and values out of range are refused, each with its line.
    public init(yaml text: String) throws(SiteError) {
        guard text.utf8.count <= Int(SiteLimit.fileSize.bytes) else {
            throw SiteError([SiteProblem(path: "", message: "the file has more than \(SiteLimit.fileSize)")])
        }
        let root: Yams.Node?
        do { root = try Yams.compose(yaml: text) } catch { throw SiteError([Self.problem(of: error)]) }
        guard let root else {
            throw SiteError([SiteProblem(path: "", message: "the file is empty; it needs at least 'site:'")])
        }
        let reading = SiteReading()
        guard let top = FieldReader(root, path: "", reading: reading) else { throw SiteError(reading.problems) }
        (document, sshKeyFiles, sshKeyFilesVariable, passwords, certificateFiles) = Self.read(top)
        lines = reading.lines
        var problems = reading.problems
        if problems.isEmpty {
            problems = document.problems().map { problem in
                SiteProblem(
                    path: problem.path, line: SiteReading.line(of: problem.path, in: reading.lines),
                    message: problem.message)
            }
        }
        guard problems.isEmpty else { throw SiteError(problems.sorted { ($0.line ?? 0) < ($1.line ?? 0) }) }
    }

    /// The line of `path` in the file, or of what is around it.
    public func line(of path: String) -> Int? { SiteReading.line(of: path, in: lines) }

    private static func read(
        _ top: FieldReader
    ) -> (
        SiteDocument, sshKeyFiles: [String], sshKeyFilesVariable: String?, passwords: [String: PasswordReference],
        certificateFiles: [String: String]
    ) {
        var certificateFiles: [String: String] = [:]
        var sshKeyFiles: [String] = []
        var variable: String?
        var passwords: [String: PasswordReference] = [:]
        var site = Site.Spec(name: "", sshKeys: [])
        if top.has("site"), let fields = top.fields("site") {
            (site, sshKeyFiles, variable) = readSite(fields)
        } else {
            _ = top.requiredText("site")
        }
        let segments = top.list("segments", countMax: SiteLimit.segmentCount).compactMap { entry in
            FieldReader(entry.node, path: entry.path, reading: top.reading).flatMap(readSegment)
        }
        let bmcs = top.list("bmcs", countMax: SiteLimit.bmcCount).compactMap { entry in
            FieldReader(entry.node, path: entry.path, reading: top.reading).map { fields in
                let (bmc, password) = readBMC(fields)
                passwords[bmc.name] = password
                return bmc
            }
        }
        let rules = top.list("rules", countMax: SiteLimit.ruleCount).compactMap { entry in
            FieldReader(entry.node, path: entry.path, reading: top.reading).map(readRule)
        }
        var document = SiteDocument(site: site, segments: segments, bmcs: bmcs, rules: rules)
        document.skus = top.list("skus", countMax: SiteLimit.skuCount).compactMap { entry in
            FieldReader(entry.node, path: entry.path, reading: top.reading).map(readSKU)
        }
        document.networks = top.list("networks", countMax: SiteLimit.networkCount).compactMap { entry in
            FieldReader(entry.node, path: entry.path, reading: top.reading).flatMap(readNetwork)
        }
        document.nodeNetworks = top.list("nodeNetworks", countMax: SiteLimit.networkCount).compactMap { entry in
            FieldReader(entry.node, path: entry.path, reading: top.reading).map(readNodeNetwork)
        }
        if let fields = top.fields("tpm") {
            let (policy, authorities, files) = readTPM(fields)
            document.site.tpm = policy
            document.tpmAuthorities = authorities
            certificateFiles = files
        }
        top.finish()
        return (document, sshKeyFiles, variable, passwords, certificateFiles)
    }

    private static func readSite(
        _ fields: FieldReader
    ) -> (Site.Spec, sshKeyFiles: [String], sshKeyFilesVariable: String?) {
        var site = Site.Spec(name: fields.requiredText("name"), sshKeys: [])
        site.sshKeys = fields.texts("sshKeys", countMax: SiteLimit.sshKeyCount)
        let files = fields.texts("sshKeyFiles", countMax: SiteLimit.sshKeyCount)
        let variable = fields.value("sshKeyFilesEnv", variableName)
        site.metricsIntervalSeconds = fields.integer("metricsIntervalSeconds") ?? site.metricsIntervalSeconds
        if let overlay = fields.fields("overlay") {
            let vni = overlay.required("vni", number32)
            let mtu = overlay.value("mtu", number32)
            overlay.finish()
            site.overlay = vni.map { Site.Spec.Overlay(vni: $0, mtu: mtu ?? 1450) }
        }
        site.networkConfirmSeconds = fields.integer("networkConfirmSeconds")
        let servers = fields.texts("ntp", countMax: SiteLimit.serverCount)
        site.ntpServers = servers.isEmpty ? nil : servers
        site.proxyPort = fields.integer("proxyPort")
        fields.finish()
        return (site, files, variable)
    }

    static func number32(_ text: String) throws(InvalidValue) -> UInt32 {
        guard let number = UInt32(text) else {
            throw InvalidValue("number", text, expected: "a whole number such as 100")
        }
        return number
    }

    static func variableName(_ text: String) throws(InvalidValue) -> String {
        let isName = text.utf8.allSatisfy {
            (UInt8(ascii: "A")...UInt8(ascii: "Z")).contains($0)
                || (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) || $0 == UInt8(ascii: "_")
        }
        guard isName, (1...100).contains(text.utf8.count) else {
            throw InvalidValue("name of an environment variable", text, expected: "A-Z, 0-9 and '_'")
        }
        return text
    }

    private static func problem(of error: any Error) -> SiteProblem {
        switch error as? YamlError {
        case .scanner(_, let problem, let mark, _), .parser(_, let problem, let mark, _),
            .composer(_, let problem, let mark, _):
            return SiteProblem(path: "", line: mark.line, message: "not YAML: \(problem.printable(limit: 200))")
        case .duplicatedKeysInMapping(let duplicates, let context):
            let names = duplicates.map { $0.printable(limit: 80) }.joined(separator: ", ")
            return SiteProblem(path: "", line: context.mark.line, message: "the key '\(names)' stands here twice")
        default:
            return SiteProblem(path: "", message: "not YAML: \("\(error)".printable(limit: 200))")
        }
    }
}
