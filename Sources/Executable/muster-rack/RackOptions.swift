import ArgumentParser
import FoundationEssentials
import Glibc
import Primitives
import VirtualRack

/// Which rack a command is about.
struct RackOptions: ParsableArguments {
    @Option(help: ArgumentHelp("The rack file.", valueName: "file"))
    var rack = "Inventory/example-rack/rack.yaml"

    @Option(help: ArgumentHelp("Where the rack keeps its files (default: .muster/racks/<name>).", valueName: "dir"))
    var state: String?

    @Option(
        help: ArgumentHelp(
            "The Python environment of sushy-tools, made when absent (default: MUSTER_SUSHY_VENV or .cache/sushy-venv).",
            valueName: "dir"))
    var venv: String?

    @Option(help: ArgumentHelp("kvm or tcg (default: kvm where a probe boot proves it).", valueName: "name"))
    var accelerator: Accelerator?

    func load() throws -> Rack {
        let file = try RackFile.load(rack)
        let package = package
        var options = Rack.Options(package: package)
        options.venv = venv ?? ProcessInfo.processInfo.environment["MUSTER_SUSHY_VENV"] ?? options.venv
        options.accelerator = accelerator
        options.progress = { printError($0) }
        return try Rack(file: file, stateDirectory: state ?? "\(package)/.muster/racks/\(file.name)", options: options)
    }

    /// Removes the directories that racks without --state are kept in, when the last of them is gone.
    func removeEmptyParents() {
        guard state == nil else { return }
        for directory in ["\(package)/.muster/racks", "\(package)/.muster"] { rmdir(directory) }
    }

    private var package: String { Self.packageDirectory(from: FileManager.default.currentDirectoryPath) }

    /// The nearest directory above with a Package.swift, else `directory` itself.
    private static func packageDirectory(from directory: String) -> String {
        var candidate = directory
        while candidate != "/", candidate != "" {
            if FileManager.default.fileExists(atPath: "\(candidate)/Package.swift") { return candidate }
            candidate = URL(filePath: candidate).deletingLastPathComponent().path
        }
        return directory
    }
}

extension Accelerator: ExpressibleByArgument {}
extension Rack.PowerAction: ExpressibleByArgument {}

/// Writes a line to standard error.
func printError(_ text: String) {
    try? FileHandleText.standardError.write(text + "\n")
}
