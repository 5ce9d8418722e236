import Identity
import Primitives
import Yams

extension IssuerSettings {
    /// Reads `text`, the content of the file at `path`; throws `IssuerSettingsError` with the line that is wrong.
    public init(_ text: String, path: String) throws(IssuerSettingsError) {
        let reader = IssuerFileReader(path: path)
        guard text.utf8.count <= Self.sizeMax else {
            throw IssuerSettingsError(path: path, line: nil, problem: "it is larger than \(Self.sizeMax) bytes")
        }
        let root: Node?
        do { root = try Yams.compose(yaml: text) } catch {
            throw IssuerSettingsError(path: path, line: nil, problem: "not YAML: \("\(error)".printable(limit: 200))")
        }
        let top = try reader.members(root, "the file", known: ["issuers"])
        guard let list = top["issuers"], case .mapping(let mapping) = list, !mapping.isEmpty else {
            throw reader.wrong(root, "expected 'issuers:' with each issuer's URL below it")
        }
        guard mapping.count <= Self.countMax else { throw reader.wrong(list, "at most \(Self.countMax) issuers") }
        var issuers: [Issuer] = []
        for (key, value) in mapping { issuers.append(try reader.issuer(key, value)) }
        self.init(issuers)
    }
}

/// Reads the nodes of the file, strictly: what is not known is an error, and no key stands twice.
private struct IssuerFileReader {
    let path: String

    func wrong(_ node: Node?, _ problem: String) -> IssuerSettingsError {
        IssuerSettingsError(path: path, line: node?.mark?.line, problem: problem)
    }

    func members(_ node: Node?, _ what: String, known: Set<String>) throws(IssuerSettingsError) -> [String: Node] {
        guard let node, case .mapping(let mapping) = node else { throw wrong(node, "expected \(what) to be a mapping") }
        var members: [String: Node] = [:]
        for (key, value) in mapping {
            let name = key.scalar?.string ?? ""
            guard known.contains(name) else {
                let all = known.sorted().joined(separator: ", ")
                throw wrong(key, "'\(name.printable(limit: 80))' is not known here; there are \(all)")
            }
            members[name] = value
        }
        return members
    }

    func issuer(_ key: Node, _ value: Node) throws(IssuerSettingsError) -> IssuerSettings.Issuer {
        let url = key.scalar?.string ?? ""
        guard SecureAddress.isValid(url) else {
            throw wrong(
                key,
                "'\(url.printable(limit: 200))' is no issuer; expected an address such as https://sso.example.com/realm"
            )
        }
        let members = try members(
            value, "what stands below an issuer", known: ["audiences", "caFile", "allowPrivateAddresses"])
        guard let given = members["audiences"], case .sequence(let nodes) = given, !nodes.isEmpty else {
            throw wrong(members["audiences"] ?? key, "an issuer needs a list 'audiences', such as [muster]")
        }
        var audiences: Set<String> = []
        for node in nodes { audiences.insert(try text(node, "an audience")) }
        var allowsPrivate = false
        if let node = members["allowPrivateAddresses"] {
            switch node.scalar?.string {
            case "true": allowsPrivate = true
            case "false": break
            default: throw wrong(node, "'allowPrivateAddresses' is true or false")
            }
        }
        var caFile: String?
        if let node = members["caFile"] { caFile = try text(node, "'caFile'") }
        return IssuerSettings.Issuer(
            url: url, audiences: audiences, caFile: caFile, allowsPrivateAddresses: allowsPrivate)
    }

    private func text(_ node: Node, _ what: String) throws(IssuerSettingsError) -> String {
        guard let text = node.scalar?.string, (1...2048).contains(text.utf8.count) else {
            throw wrong(node, "expected \(what) to be a text")
        }
        return text
    }
}
