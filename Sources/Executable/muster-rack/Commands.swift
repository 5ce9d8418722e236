import ArgumentParser
import FoundationEssentials
import Glibc
import Primitives
import VirtualRack

struct Up: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Bring the rack up with all machines off, or repair what is missing of one that is up.")
    @OptionGroup var options: RackOptions

    func run() async throws {
        let rack = try options.load()
        let report = try await rack.up()
        for step in report.done { print(step) }
        let machines = rack.file.machines.map(\.name).joined(separator: ", ")
        let state = !report.wasUp ? "is up" : report.done.isEmpty ? "was up already" : "was up and is repaired"
        print(
            """
            The rack '\(rack.file.name)' \(state): \(machines) under \(report.accelerator.rawValue).
              BMCs     \(rack.file.bmc.url)/redfish/v1/Systems/<uuid>, user \(rack.file.bmc.user)
              network  \(rack.file.network.subnet) in the namespace \(rack.file.namespace), \
            conductor at \(rack.file.network.conductor)
              files    \(rack.stateDirectory)
            """)
    }
}

struct Down: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "End every process of the rack and remove its network and files, also of one that is half up.")
    @OptionGroup var options: RackOptions

    func run() async throws {
        if let state = options.state, (try? RackFile.load(options.rack)) == nil {
            try await Rack.down(stateDirectory: state, name: nil)
        } else {
            try await options.load().down()
            options.removeEmptyParents()
        }
        print("The rack is down and nothing is left of it.")
    }
}

struct StatusCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "status", abstract: "Show the rack's machines and processes.")
    @OptionGroup var options: RackOptions
    @Flag(help: "Print JSON.") var json = false

    func run() async throws {
        let rack = try options.load()
        let status = await rack.status()
        if json {
            let encoder = JSONEncoder()
            encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
            print(String(decoding: try encoder.encode(status), as: UTF8.self))
            return
        }
        let accelerator = status.accelerator.map { " under \($0.rawValue)" } ?? ""
        print("The rack '\(status.name)' is \(status.isUp ? "up" : "down")\(accelerator). BMCs: \(status.bmc)")
        let machines = status.machines.map { machine in
            [machine.name, machine.power, machine.macs.map(\.description).joined(separator: ","), machine.console]
        }
        print(table([["MACHINE", "POWER", "MAC", "CONSOLE"]] + machines), terminator: "")
        let processes = status.processes.map { [$0.name, String($0.pid), $0.isRunning ? "running" : "ended"] }
        if !processes.isEmpty { print("\n" + table([["PROCESS", "PID", "STATE"]] + processes), terminator: "") }
    }
}

struct Power: AsyncParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Switch a machine on or off, or reset it, by its BMC.")
    @OptionGroup var options: RackOptions
    @Argument(help: "on, off or reset.") var action: Rack.PowerAction
    @Argument(help: "The machine's name.") var machine: String

    func run() async throws {
        let rack = try options.load()
        try await rack.power(action, machine: machine)
        print("\(machine) is \(try await rack.isOn(machine: machine) ? "on" : "off").")
    }
}

struct Console: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Print what a machine has written to its serial port.")
    @OptionGroup var options: RackOptions
    @Argument(help: "The machine's name.") var machine: String
    @Flag(name: .shortAndLong, help: "Go on until interrupted.") var follow = false

    func run() async throws {
        let path = try options.load().consoleFile(machine: machine)
        var offset: off_t = 0
        repeat {
            let bytes = read(path, from: &offset)
            if bytes.isEmpty {
                if follow { try await Task.sleep(for: .milliseconds(200)) }
            } else {
                try FileHandleText.standardOutput.write(bytes)
            }
            if !follow, bytes.isEmpty { return }
        } while true
    }

    /// The next part of the file; a file that became shorter is read from its start.
    private func read(_ path: String, from offset: inout off_t) -> [UInt8] {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { return [] }
        defer { close(descriptor) }
        if lseek(descriptor, 0, SEEK_END) < offset { offset = 0 }
        var buffer = [UInt8](repeating: 0, count: 64 << 10)
        let count = pread(descriptor, &buffer, buffer.count, offset)
        guard count > 0 else { return [] }
        offset += off_t(count)
        return Array(buffer[..<count])
    }
}

struct Env: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Print shell variables of the rack, for `eval \"$(muster-rack env)\"`.")
    @OptionGroup var options: RackOptions

    func run() async throws {
        for (name, value) in try options.load().environment() {
            let parts = value.split(separator: "'", omittingEmptySubsequences: false)
            print("export \(name)='\(parts.joined(separator: "'\\''"))'")
        }
    }
}
