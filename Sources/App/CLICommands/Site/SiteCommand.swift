import ArgumentParser
import ClientSDK
import Fleet
import FleetContract
import Primitives

struct SiteCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "site", abstract: "Describe the site: segments, BMCs, rules, keys.",
        subcommands: [SiteApply.self, SiteCheck.self, SiteExplain.self, SiteValidate.self])
}

/// Reads site files and what they name.
enum SiteReader {
    /// The file at `path`, found right in itself; throws `SiteError` or `TextFile.Unreadable`.
    static func read(_ path: String) throws -> SiteFile {
        try SiteFile(yaml: try TextFile.read(path, sizeMax: Int(SiteLimit.fileSize.bytes)))
    }

    /// The whole site with keys and passwords. With `lenient`, a variable that is not set is let pass.
    static func resolve(_ file: SiteFile, at path: String, lenient: Bool) throws -> SiteDocument {
        let folder = path.lastIndex(of: "/").map { String(path[...$0]) } ?? ""
        return try file.resolved(
            in: SiteFile.Surroundings(
                file: { name in
                    try TextFile.read(name.hasPrefix("/") ? name : folder + name, sizeMax: 64 << 10)
                },
                variable: { name in
                    ConnectionOptions.variable(name) ?? (lenient ? "not-set" : nil)
                }))
    }
}
