import Foundation
import Testing

/// Keeps the house in order: who may import whom, which packages there are, how long files are, which words stay out.
@Suite struct TidyTests {
    private static let root = URL(fileURLWithPath: #filePath)
        .deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()

    /// From each group to the groups that it may import. A new edge is a line here that a reviewer sees.
    private static let groupEdges: [String: Set<String>] = [
        "System": [],
        "Base": ["Base", "System"],
        "Protocol": ["Base", "System"],
        "Resource": ["Base", "Resource", "System"],
        "Contract": ["Base", "Resource", "Contract"],
        "Domain": ["Base", "Resource", "Contract"],
        "Adapter": ["Base", "System", "Protocol", "Resource", "Contract", "Domain"],
        "API": ["Base", "Protocol", "Resource", "Contract", "Domain", "API"],
        "Node": ["Base", "System", "Protocol", "Contract", "Node", "Resource"],
        "App": ["Base", "System", "Protocol", "Resource", "Contract", "Domain", "Adapter", "API", "App"],
        "Testing": ["Base", "System", "Protocol", "Resource", "Contract", "Node", "Testing"],
        "Executable": ["Base", "Resource", "Node", "App", "Testing"],
    ]

    /// Which targets may use a fenced package's modules, and no others.
    private static let fences: [String: Set<String>] = [
        "Hummingbird": ["BootServer", "APISupport", "FleetAPI", "Dashboard", "ConductorServer"],
        "HummingbirdCore": ["BootServer", "APISupport", "FleetAPI", "ConductorServer"],
        "GRDB": ["StoreSQLite"],
        "Yams": ["CLICommands", "Fleet", "OpenIDIssuers", "Policy", "VirtualRack", "ConductorServer"],
        "ArgumentParser": ["CLICommands", "muster", "muster-conductor", "muster-rack", "muster-bed"],
        "Subprocess": ["BMCDrivers", "VirtualRack"],
        "AsyncHTTPClient": ["BMCDrivers", "BlobPeers", "ClientSDK", "OpenIDIssuers", "ControlPlaneBed"],
        "GRPCCore": ["StoreEtcd"],
        "GRPCProtobuf": ["StoreEtcd"],
        "GRPCNIOTransportHTTP2Posix": ["StoreEtcd"],
        "SwiftProtobuf": ["StoreEtcd"],
        "CNetlink": ["LinuxSystem"],
        "CNftables": ["LinuxSystem"],
        "CUdev": ["HardwareInventory"],
        "CLibvirt": ["RoleCompute"],
        "CXML": ["RoleCompute"],
        "CZstd": ["ImageChunks"],
        "CCrypt": ["ConductorServer"],
    ]

    /// Every package that the project depends on.
    private static let packages: Set<String> = [
        "apple/swift-nio", "apple/swift-nio-ssl", "apple/swift-crypto", "apple/swift-certificates", "apple/swift-asn1",
        "apple/swift-log", "apple/swift-http-types", "apple/swift-system", "apple/swift-argument-parser",
        "swift-server/swift-service-lifecycle", "swift-server/async-http-client", "swiftlang/swift-subprocess",
        "hummingbird-project/hummingbird", "groue/GRDB.swift", "jpsim/Yams", "grpc/grpc-swift-2",
        "grpc/grpc-swift-nio-transport", "grpc/grpc-swift-protobuf", "apple/swift-protobuf",
    ]

    /// Groups whose targets run on nodes or below and use FoundationEssentials only.
    private static let essentialsOnly: Set<String> = ["Base", "Protocol", "Resource", "Contract", "Domain", "Node"]

    private struct SourceFile {
        var path: String
        var group: String
        var target: String
        var lines: [Substring]

        var imports: [String] {
            lines.compactMap { line in
                let words = line.split(separator: " ").map(String.init)
                guard let at = words.firstIndex(of: "import"), at <= 2, at + 1 < words.count else { return nil }
                guard words[..<at].allSatisfy({ $0.hasPrefix("@") || ["public", "internal", "package"].contains($0) })
                else { return nil }
                let kinds: Set<String> = ["struct", "class", "enum", "func", "protocol", "typealias", "var", "let"]
                let name = kinds.contains(words[at + 1]) && at + 2 < words.count ? words[at + 2] : words[at + 1]
                return name.split(separator: ".").first.map(String.init)
            }
        }
    }

    private static func files(below folder: String, ending suffix: String) throws -> [(path: String, text: String)] {
        let base = root.appendingPathComponent(folder)
        guard let walk = FileManager.default.enumerator(atPath: base.path) else { return [] }
        let generated = [".pb.swift", ".grpc.swift"]
        return try walk.compactMap { $0 as? String }.filter { path in
            path.hasSuffix(suffix) && !path.contains(".build") && !generated.contains { path.hasSuffix($0) }
        }.sorted()
            .map {
                (folder + "/" + $0, try String(contentsOf: base.appendingPathComponent($0), encoding: .utf8))
            }
    }

    private static func sources() throws -> [SourceFile] {
        try files(below: "Sources", ending: ".swift").map { file in
            let parts = file.path.split(separator: "/").map(String.init)
            return SourceFile(
                path: file.path, group: parts[1], target: parts[2],
                lines: file.text.split(separator: "\n", omittingEmptySubsequences: false))
        }
    }

    @Test func `imports point down`() throws {
        let sources = try Self.sources()
        #expect(sources.count > 100)
        let groups = Dictionary(sources.map { ($0.target, $0.group) }, uniquingKeysWith: { first, _ in first })
        for file in sources {
            for name in file.imports {
                guard let group = groups[name] ?? (name.hasPrefix("C") && Self.isSystem(name) ? "System" : nil) else {
                    continue
                }
                let isAllowed = name == file.target || Self.groupEdges[file.group]?.contains(group) == true
                #expect(isAllowed, "\(file.path) (\(file.group)) imports \(name) (\(group))")
            }
        }
    }

    private static func isSystem(_ name: String) -> Bool {
        FileManager.default.fileExists(atPath: root.appendingPathComponent("Sources/System/\(name)").path)
    }

    @Test func `two domains never import each other`() throws {
        let domains = Set(try Self.sources().filter { $0.group == "Domain" }.map(\.target))
        for file in try Self.sources() where file.group == "Domain" {
            for name in file.imports where domains.contains(name) {
                #expect(name == file.target, "\(file.path) imports the domain \(name)")
            }
        }
    }

    @Test func `fenced packages stay behind their fences`() throws {
        for file in try Self.sources() {
            for name in file.imports {
                guard let allowed = Self.fences[name] else { continue }
                #expect(allowed.contains(file.target), "\(file.path) imports \(name)")
            }
        }
    }

    @Test func `agents and all below them do without full Foundation`() throws {
        for file in try Self.sources() where Self.essentialsOnly.contains(file.group) {
            #expect(!file.imports.contains("Foundation"), "\(file.path) imports Foundation")
        }
    }

    @Test func `the list of packages is the reviewed one`() throws {
        let manifest = try String(contentsOf: Self.root.appendingPathComponent("Package.swift"), encoding: .utf8)
        let found = manifest.matches(of: /url: "https:\/\/github\.com\/([^"]+)"/).map { String($0.output.1) }
        #expect(Set(found) == Self.packages)
    }

    @Test func `no file is over 800 lines`() throws {
        for folder in ["Sources", "Tests"] {
            for file in try Self.files(below: folder, ending: ".swift") {
                let count = file.text.split(separator: "\n", omittingEmptySubsequences: false).count
                #expect(count <= 800, "\(file.path) has \(count) lines; split it by concern")
            }
        }
    }

    @Test func `no module or type is called after nothing in particular`() throws {
        let vague = ["Utils", "Util", "Common", "Helper", "Helpers", "Manager", "Misc"]
        for file in try Self.sources() {
            let name = URL(fileURLWithPath: file.path).deletingPathExtension().lastPathComponent
            #expect(!vague.contains(file.target) && !vague.contains(name), "\(file.path)")
            for line in file.lines {
                guard let match = line.firstMatch(of: /\b(struct|class|enum|actor|protocol) (\w+)/) else { continue }
                let type = String(match.output.2)
                let isVague = vague.contains { type.hasSuffix($0) }
                #expect(!isVague, "\(file.path): \(type)")
                #expect(type != file.target, "\(file.path): the type \(type) has its module's name")
            }
        }
    }

    @Test func `unfinished and unowned work stays out`() throws {
        let words = ["TODO", "FIXME", "Task.detached", " as! "]
        for file in try Self.sources() where file.group != "Testing" {
            for (index, line) in file.lines.enumerated() {
                for word in words where line.contains(word) {
                    Issue.record("\(file.path):\(index + 1) has '\(word)'")
                }
            }
        }
    }

    @Test func `what the compiler cannot check says why it is safe`() throws {
        let words = ["@unchecked Sendable", "nonisolated(unsafe)", "unsafeBitCast("]
        for folder in ["Sources", "Tests"] {
            for file in try Self.files(below: folder, ending: ".swift") where !file.path.hasSuffix("TidyTests.swift") {
                let lines = file.text.split(separator: "\n", omittingEmptySubsequences: false)
                for (index, line) in lines.enumerated() where words.contains(where: { line.contains($0) }) {
                    // Above it, on it, or first thing in the type.
                    let around = lines[max(0, index - 3)...min(lines.count - 1, index + 2)]
                    let isTold = around.contains { $0.contains("// SAFETY: ") }
                    #expect(isTold, "\(file.path):\(index + 1) needs a line '// SAFETY: …'")
                }
            }
        }
    }

    @Test func `every target stands in ARCHITECTURE`() throws {
        let page = try String(contentsOf: Self.root.appendingPathComponent("ARCHITECTURE.md"), encoding: .utf8)
        for target in Set(try Self.sources().map(\.target)).sorted() {
            #expect(page.contains("`\(target)`"), "ARCHITECTURE.md does not mention `\(target)`")
        }
    }
}
