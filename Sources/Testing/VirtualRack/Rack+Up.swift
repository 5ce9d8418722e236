import FoundationEssentials
import Glibc
import Primitives

extension Rack {
    /// What `up` did.
    public struct Report: Sendable, Hashable {
        /// Whether the rack was up before.
        public var wasUp: Bool
        /// What was missing and has been made, in words; empty for a rack that was up and whole.
        public var done: [String]
        /// What executes the machines.
        public var accelerator: Accelerator
    }

    /// Brings the rack up with all machines switched off, or repairs what is missing of one that is up.
    ///
    /// When it fails, what this call has made is taken down again. Throws `RackError`.
    @discardableResult
    public func up() async throws -> Report {
        try checkHost()
        guard Self.looksLikeRack(layout) else {
            throw RackError.failed("\(layout.root) holds other files: name an empty directory with --state.")
        }
        let isNew = !FileManager.default.fileExists(atPath: layout.root)
        try FileManager.default.createDirectory(
            atPath: layout.root, withIntermediateDirectories: true, attributes: [.posixPermissions: 0o700])
        return try await Self.locked(layout) {
            let wasUp = isUp
            do {
                return try await ensure(wasUp: wasUp)
            } catch {
                if !wasUp {
                    try? await Self.toTheEnd { try await Self.takeDown(layout, name: file.name, removeFiles: isNew) }
                }
                throw error
            }
        }
    }

    /// Brings the rack up, runs `body`, and takes the rack down, also when `body` throws or the task is cancelled.
    public func whileUp<Value>(_ body: () async throws -> Value) async throws -> Value {
        try await up()
        let result: Value
        do {
            result = try await body()
        } catch {
            try? await Self.toTheEnd { try await down() }
            throw error
        }
        try await Self.toTheEnd { try await down() }
        return result
    }

    /// Runs `body` in a task that nobody cancels: whoever is cancelled has to clean up as well.
    private static func toTheEnd(_ body: @escaping @Sendable () async throws -> Void) async throws {
        try await Task { try await body() }.value
    }

    private func checkHost() throws(RackError) {
        guard geteuid() == 0 else { throw .notRoot }
        let programs = [
            ("ip", "iproute2"), ("nsenter", "util-linux"), ("mount", "mount"), ("curl", "curl"),
            ("libvirtd", "libvirt-daemon-system"), ("virsh", "libvirt-clients"),
            ("qemu-system-x86_64", "qemu-system-x86"), ("qemu-img", "qemu-utils"), ("blkid", "util-linux"),
            ("/usr/bin/python3", "python3-venv"),
        ]
        let relay = file.network.relay == nil ? [] : [("dhcrelay", "isc-dhcp-relay")]
        let tpms =
            file.machines.contains { $0.tpm == .present } ? [("swtpm", "swtpm"), ("swtpm_setup", "swtpm-tools")] : []
        let makers = file.machines.flatMap(\.disks).compactMap { $0.content?.kind.program }
        for (program, package) in programs + relay + tpms + makers where Commands.find(program) == nil {
            throw .missing(program, package: package)
        }
        let files = [
            ("/usr/lib/ipxe/qemu/pxe-virtio.rom", "ipxe-qemu"), ("/usr/share/seabios/bios-256k.bin", "seabios"),
            ("/var/cache/libvirt", "libvirt-daemon-system"),
        ]
        let ipmi = ipmiBMCs.isEmpty ? [] : [("/usr/bin/ipmi_sim", "openipmi")]
        let isUEFI = file.machines.contains { $0.firmware == .uefi }
        let uefi = isUEFI ? [(DomainXML.firmwareCode, "ovmf"), (DomainXML.firmwareVariables, "ovmf")] : []
        let isSecure = file.machines.contains { $0.firmware == .uefiSecure }
        let secure =
            isSecure ? [(DomainXML.secureFirmwareCode, "ovmf"), (DomainXML.secureFirmwareVariables, "ovmf")] : []
        for (file, package) in files + ipmi + uefi + secure where !FileManager.default.fileExists(atPath: file) {
            throw .missing(file, package: package)
        }
    }

    private func ensure(wasUp: Bool) async throws -> Report {
        var done: [String] = []
        let python = SushyEnvironment(directory: options.venv, requirements: options.requirements)
        try await python.ensure(options.progress)
        let accelerator = try await chooseAccelerator(wasUp: wasUp)
        let plan = RackPlan(file, layout, accelerator)
        if wasUp {
            guard FileManager.default.contents(atPath: layout.plan) == Data(plan.fingerprint.utf8) else {
                throw RackError.failed(
                    "The rack '\(file.name)' is up from another rack file: run `muster-rack down` before this one.")
            }
        } else {
            try await prepare(plan, python, accelerator)
            done.append("made the namespaces, the bridge and libvirt's directories")
        }
        try await ensureNamespaceName()
        if try ensureProcess("libvirtd", plan.libvirtd, [.net, .pid, .mnt]) { done.append("started libvirtd") }
        let sushy = [python.emulator, "--config", layout.sushyConfiguration]
        // It downloads virtual media to its temporary folder, and is not asked to clean up when the rack goes down.
        if try ensureProcess("sushy", ["/usr/bin/env", "TMPDIR=\(layout.sushy)"] + sushy, [.net, .pid, .mnt]) {
            done.append("started the Redfish service")
        }
        if let relay = plan.relay, try ensureProcess("relay", relay, [.net, .pid, .mnt]) {
            done.append("started the router with its DHCP relay")
        }
        for bmc in plan.ipmi where try ensureProcess(bmc.name, bmc.command, [.net, .pid, .mnt]) {
            done.append("started \(bmc.name)")
        }
        let images = try await makeImages(plan.images)
        if images > 0 { done.append("made \(images) disks") }
        for command in plan.tpms { try await Commands.run(command) }
        try await waitForLibvirt()
        let defined = try await defineMachines(plan)
        if defined > 0 { done.append("defined \(defined) machines") }
        try await waitForRedfish()
        return Report(wasUp: wasUp, done: done, accelerator: accelerator)
    }

    private func chooseAccelerator(wasUp: Bool) async throws -> Accelerator {
        if wasUp, let record = RackRecord.load(layout) { return record.accelerator }
        if let wanted = options.accelerator { return wanted }
        let (accelerator, reason) = await KVMProbe().run()
        options.progress("machines run under \(accelerator.rawValue): \(reason)")
        return accelerator
    }

    /// Writes the plan's files, starts the anchor and sets up its namespaces.
    private func prepare(_ plan: RackPlan, _ python: SushyEnvironment, _ accelerator: Accelerator) async throws {
        try await Self.takeDown(layout, name: file.name, removeFiles: false)
        let passwords = try await python.passwordLine(user: plan.user, password: plan.password)
        for directory in plan.directories {
            try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
        }
        let accounts = RackPlan.File(path: layout.sushyPasswords, text: passwords)
        let whole = RackPlan.File(path: layout.plan, text: plan.fingerprint)
        for file in plan.files + plan.domains + [accounts, whole] {
            try Data(file.text.utf8).write(to: URL(filePath: file.path))
        }
        // The shell is the init of the rack's PID namespace: its one task is to take over and reap orphans.
        let script = "while :; do sleep 86400 & wait; done"
        let command = ["/bin/sh", "-c", script, Self.anchorName, file.name, layout.root]
        let anchor = try Launch.detached(
            command, name: Self.anchorName, environment: Launch.environment, directory: "/",
            logFile: layout.log(Self.anchorName), inside: nil, [])
        try RackRecord(
            name: file.name, bridge: file.network.bridge, accelerator: accelerator, anchor: anchor
        ).save(layout)
        for command in plan.network { try await run(inNamespace: command) }
        for command in plan.mounts { try await runInside(command) }
    }

    /// The anchor's argument by which `down` finds it when the record is lost.
    static let anchorName = "muster-rack-anchor"

    /// Gives the network namespace its name, which is a convenience: nothing else depends on it.
    private func ensureNamespaceName() async throws {
        let path = Self.namespaceFile(file.namespace)
        if FileIdentity(path) == FileIdentity(try networkNamespacePath) { return }
        do {
            try await Commands.run(["ip", "netns", "attach", file.namespace, "\(try anchor.pid)"])
        } catch let error as RackError {
            options.progress("the network namespace has no name: \(error.publicMessage)")
        }
    }

    private func ensureProcess(
        _ name: String, _ command: [String], _ namespaces: [Launch.Namespace]
    ) throws -> Bool {
        if let process = process(named: name), process.isRunning { return false }
        options.progress("starting \(name)")
        _ = try spawn(command, name: name, namespaces)
        return true
    }

    /// Makes the images that are not there and gives their number.
    private func makeImages(_ images: [RackPlan.Image]) async throws -> Int {
        let missing = images.filter { !FileManager.default.fileExists(atPath: $0.path) }
        for image in missing {
            let part = "\(image.path).part"
            let size = "\(image.disk.sizeGiB)G"
            if let content = image.disk.content {
                let raw = "\(image.path).raw"
                defer { unlink(raw) }
                unlink(raw)
                try await Commands.run(["truncate", "-s", size, raw])
                let seed = RackPlan.hash(file.name + "/" + image.disk.serial)
                try await content.plant(on: raw, size: image.disk.sizeGiB << 30, seed: seed)
                try await Commands.run(["qemu-img", "convert", "-f", "raw", "-O", "qcow2", raw, part])
            } else {
                try await Commands.run(["qemu-img", "create", "-q", "-f", "qcow2", part, size])
            }
            guard rename(part, image.path) == 0 else { throw RackError.failed("\(image.path) cannot be written.") }
        }
        return missing.count
    }

    private func waitForLibvirt() async throws {
        let socket = "/proc/\(try anchor.pid)/root/run/libvirt/libvirt-sock"
        try await waitFor("libvirtd", "An answer of libvirtd", within: .seconds(60)) {
            guard FileManager.default.fileExists(atPath: socket) else { return false }
            return (try? await virsh("uri")) != nil
        }
    }

    private func waitForRedfish() async throws {
        let wanted = Set(file.machines.map { "/redfish/v1/Systems/\($0.uuid)" })
        let what = "The list of all machines at \(file.bmc.url)/redfish/v1/Systems"
        try await waitFor("sushy", what, within: .seconds(60)) {
            guard let systems = try? await redfishSystems() else { return false }
            return wanted.isSubset(of: systems)
        }
    }

    /// Polls `condition`; throws with the end of the log when the process has ended or nothing happens in time.
    private func waitFor(
        _ name: String, _ what: String, within limit: Duration, _ condition: () async throws -> Bool
    ) async throws {
        guard let process = process(named: name) else { throw RackError.failed("\(name) was not started.") }
        try await waitUntil(what, within: limit, hint: "Log of \(name): \(process.logTail())") {
            if try await condition() { return true }
            guard process.isRunning else {
                throw RackError.failed("\(name) has ended. The end of \(process.logFile): \(process.logTail())")
            }
            return false
        }
    }

    func virsh(_ command: String) async throws -> String {
        try await runInside(["virsh", "--quiet", "--connect", RackPlan.libvirtURI, command])
    }

    private func defineMachines(_ plan: RackPlan) async throws -> Int {
        let defined = Set(try await virsh("list --all --name").split(separator: "\n").map(String.init))
        var count = 0
        for (machine, domain) in zip(file.machines, plan.domains) where !defined.contains(machine.name) {
            try await runInside(["virsh", "--quiet", "--connect", RackPlan.libvirtURI, "define", domain.path])
            count += 1
        }
        return count
    }
}
