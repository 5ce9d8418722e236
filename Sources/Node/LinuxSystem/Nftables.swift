import CNftables
import FoundationEssentials
import Primitives

/// A table of nftables with all that its owner wants in it (nft(8)).
public struct NftablesTable: Hashable, Sendable {
    /// For example `inet`.
    public var family: String
    /// Its name; the table belongs to one owner, who leaves nothing else in it.
    public var name: String
    /// The chains.
    public var chains: [Chain]

    /// One chain and its rules in order.
    public struct Chain: Hashable, Sendable {
        /// Its name.
        public var name: String
        /// Where it hooks in, for example `type filter hook input priority 0; policy accept;`; nil for a chain that is
        /// only jumped to.
        public var hook: String?
        /// The rules, as nft writes them, without comments.
        public var rules: [String]

        /// A chain.
        public init(name: String, hook: String?, rules: [String]) {
            self.name = name
            self.hook = hook
            self.rules = rules
        }

        /// A rule's mark in the kernel: what it was made from, and so whether it is still the wanted one.
        static func mark(_ rule: String) -> String {
            // Only to tell one owner's own rules apart.
            "muster-" + String(StableHash.of(rule), radix: 16)
        }
    }

    /// A table.
    public init(family: String, name: String, chains: [Chain]) {
        self.family = family
        self.name = name
        self.chains = chains
    }

    /// What a table in the kernel holds: the marks of the rules of each chain, in order; nil for a foreign rule.
    public struct Observed: Hashable, Sendable {
        /// By chain name.
        public var chains: [String: [String?]]

        /// An observation.
        public init(chains: [String: [String?]]) { self.chains = chains }
    }

    /// The commands that make `observed` (nil: no such table) into this table, one transaction; empty when it is so
    /// already. Chains whose rules are right are not touched and keep their counters.
    public func commands(from observed: Observed?) -> String {
        let place = "\(family) \(name)"
        var lines: [String] = observed == nil ? ["add table \(place)"] : []
        for chain in chains {
            let marks = chain.rules.map { Optional(Chain.mark($0)) }
            if observed?.chains[chain.name] == marks { continue }
            if observed?.chains[chain.name] == nil {
                lines.append("add chain \(place) \(chain.name)" + (chain.hook.map { " { \($0) }" } ?? ""))
            } else {
                lines.append("flush chain \(place) \(chain.name)")
            }
            for rule in chain.rules {
                lines.append("add rule \(place) \(chain.name) \(rule) comment \"\(Chain.mark(rule))\"")
            }
        }
        let gone = (observed?.chains.keys.sorted() ?? []).filter { name in !chains.contains { $0.name == name } }
        lines += gone.map { "flush chain \(place) \($0)" } + gone.map { "delete chain \(place) \($0)" }
        return lines.map { $0 + "\n" }.joined()
    }
}

/// A connection to nftables through libnftables, for one thread, in the network namespace of that thread.
public final class Nftables {
    // SAFETY: the context belongs to this object alone and is freed with it; its buffers are copied at once.
    private let context: OpaquePointer

    /// A connection; throws `SystemError`.
    public init() throws(SystemError) {
        guard let context = nft_ctx_new(UInt32(NFT_CTX_DEFAULT)) else {
            throw SystemError("open nftables", errno: 0, detail: "out of memory")
        }
        self.context = context
        nft_ctx_buffer_output(context)
        nft_ctx_buffer_error(context)
        nft_ctx_output_set_flags(context, UInt32(NFT_CTX_OUTPUT_JSON | NFT_CTX_OUTPUT_HANDLE))
    }

    deinit { nft_ctx_free(context) }

    /// What the table holds; nil when there is none. Throws `SystemError`.
    public func observe(family: String, name: String) throws(SystemError) -> NftablesTable.Observed? {
        let tables = try list("list tables \(family)")
        guard tables.contains(where: { $0["table"]?["name"] == .string(name) }) else { return nil }
        var chains: [String: [String?]] = [:]
        for item in try list("list table \(family) \(name)") {
            if case .string(let chain)? = item["chain"]?["name"] { chains[chain] = chains[chain] ?? [] }
            if case .string(let chain)? = item["rule"]?["chain"] {
                guard case .string(let mark)? = item["rule"]?["comment"] else {
                    chains[chain, default: []].append(nil)
                    continue
                }
                chains[chain, default: []].append(mark)
            }
        }
        return NftablesTable.Observed(chains: chains)
    }

    /// Makes the table so; returns whether anything had to be changed. Throws `SystemError`.
    @discardableResult
    public func ensure(_ table: NftablesTable) throws(SystemError) -> Bool {
        let commands = table.commands(from: try observe(family: table.family, name: table.name))
        guard !commands.isEmpty else { return false }
        try run("change the nftables table \(table.name)", commands)
        return true
    }

    /// Deletes the table when it is there; throws `SystemError`.
    public func delete(family: String, name: String) throws(SystemError) {
        guard try observe(family: family, name: name) != nil else { return }
        try run("delete the nftables table \(name)", "delete table \(family) \(name)\n")
    }

    private func list(_ command: String) throws(SystemError) -> [JSONValue] {
        try run(command, command + "\n")
        let text = nft_ctx_get_output_buffer(context).map { String(cString: $0) } ?? ""
        guard !text.isEmpty else { return [] }
        guard let answer = try? JSONDecoder().decode(JSONValue.self, from: Data(text.utf8)),
            case .array(let items)? = answer["nftables"]
        else { throw SystemError(command, errno: 0, detail: "the answer is not understood") }
        return items
    }

    private func run(_ action: String, _ commands: String) throws(SystemError) {
        guard nft_run_cmd_from_buffer(context, commands) != 0 else { return }
        let text = nft_ctx_get_error_buffer(context).map { String(cString: $0) } ?? "unknown error"
        let first = text.split(separator: "\n").first.map(String.init) ?? "unknown error"
        throw SystemError(action, errno: 0, detail: first)
    }
}
