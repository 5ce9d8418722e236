import Foundation
import Glibc
import ProgramRuns

/// A machine that is processes: its firmware, its disk (a loop device), its card in a network namespace, what udev and
/// SMBIOS tell of it (files in the place of /sys), the real discovery agent, and what its image starts, each ended like by
/// a power cut.
actor CrashMachine {
    nonisolated let number: Int
    nonisolated let scene: String
    nonisolated let folder: String
    nonisolated let image: MachineImage

    nonisolated var name: String { "m\(number)" }
    nonisolated var serial: String { "CRASH-\(number)" }
    nonisolated var mac: String { "52:54:00:99:00:0\(number)" }
    nonisolated var uuid: String { "11111111-2222-4333-8444-00000000000\(number)" }
    nonisolated var namespace: String { "\(scene)-\(name)" }

    enum Kind {
        case discovery
        case role
    }

    private struct Override {
        var target: String
        var isOnce: Bool
    }

    private var loop = ""
    private var isOn = false
    private var override: Override?
    private var life: Task<Void, Never>?
    private var agent: Task<ProgramRun.Outcome, any Error>?
    private var kind = Kind.discovery
    private var partitions: Task<ProgramRun.Outcome, any Error>?
    private var lastOrder: Task<Void, Never>?
    /// Whether its image asks for its address by DHCP whenever it starts, and has none until somebody answers.
    private var asksForAddress = false
    /// The addresses that it was given.
    private(set) var leases: Set<String> = []
    /// How often its power came on.
    private(set) var boots = 0

    /// A machine in the conductor's namespace `scene`, with its files below `folder`.
    init(_ number: Int, scene: String, folder: String, image: MachineImage) {
        self.number = number
        self.scene = scene
        self.image = image
        self.folder = "\(folder)/m\(number)"
    }

    // MARK: Making and removing it

    func make() async throws {
        try await shell(
            """
            mkdir -p \(folder)/tokens \(folder)/mnt && ip netns add \(namespace) && ip -n \(namespace) link set lo up
            ip -n \(scene) link add \(name) type veth peer name eth0 netns \(namespace)
            ip -n \(scene) link set \(name) master rack0 && ip -n \(scene) link set \(name) up
            ip -n \(namespace) link set eth0 address \(mac) && ip -n \(namespace) link set eth0 up
            truncate -s \(image.diskSize)M \(folder)/disk
            """)
        loop = try await shell("losetup --partscan --find --show \(folder)/disk")
        try await shell(Self.firmware(of: self, loop: loop))
        try Data(Self.ramdisk.utf8).write(to: URL(fileURLWithPath: "\(folder)/ramdisk"))
        try Data(image.boot.utf8).write(to: URL(fileURLWithPath: "\(folder)/image"))
        try Data(Self.lease.utf8).write(to: URL(fileURLWithPath: "\(folder)/lease.sh"))
        chmod("\(folder)/lease.sh", 0o755)
        // Not every kernel reads GPT by itself.
        let watch = Shell.program(
            "while sleep 0.2; do partx --update \(loop) >/dev/null 2>&1; done", patience: .seconds(900))
        partitions = Task { try await watch.finish() }
    }

    func remove() async {
        await order { await $0.cut() }
        partitions?.cancel()
        _ = try? await partitions?.value
        // What is still mounted somewhere lets the device go with its last mount.
        if !loop.isEmpty { _ = try? await shell("partx --delete \(loop) || true; losetup --detach \(loop)") }
        _ = try? await shell("ip netns delete \(namespace)")
    }

    // MARK: The BMC

    /// Carries out a reset as Redfish names it; orders come one after the other.
    func reset(_ type: String) async {
        await order { machine in
            switch type {
            case "On", "ForceOn": await machine.comeOn()
            case "ForceOff": await machine.cut()
            default:
                await machine.cut()
                await machine.comeOn()
            }
        }
    }

    func setOverride(_ target: String, isOnce: Bool) { override = Override(target: target, isOnce: isOnce) }

    /// From its next start on its image has the address that DHCP gives it, and none before.
    func askForAddress() { asksForAddress = true }

    /// The address that it was given last; nil: none since it began to ask.
    var address: String? {
        (try? String(contentsOfFile: "\(folder)/address", encoding: .utf8))?
            .trimmingCharacters(in: .whitespacesAndNewlines)
    }

    /// The system's resource (DSP0268 ComputerSystem).
    var system: String {
        let path = "/redfish/v1/Systems/\(name)"
        return """
            {"@odata.type":"#ComputerSystem.v1_5_0.ComputerSystem","@odata.id":"\(path)","Id":"\(name)","UUID":"\(uuid)",
            "SerialNumber":"\(serial)","PowerState":"\(isOn ? "On" : "Off")",
            "Boot":{"BootSourceOverrideTarget":"\(override?.target ?? "None")",
            "BootSourceOverrideEnabled":"\(override.map { $0.isOnce ? "Once" : "Continuous" } ?? "Disabled")",
            "BootSourceOverrideTarget@Redfish.AllowableValues":["None","Pxe","Hdd"]},
            "Actions":{"#ComputerSystem.Reset":{"target":"\(path)/Actions/ComputerSystem.Reset",
            "ResetType@Redfish.AllowableValues":["On","ForceOff","ForceRestart"]}}}
            """
    }

    private func order(_ work: @escaping @Sendable (CrashMachine) async -> Void) async {
        let before = lastOrder
        let next = Task {
            await before?.value
            await work(self)
        }
        lastOrder = next
        await next.value
    }

    // MARK: The power

    private func comeOn() {
        guard !isOn else { return }
        isOn = true
        boots += 1
        let target = override?.target
        if override?.isOnce == true { override = nil }
        life = Task { await live(target) }
    }

    private func cut() async {
        isOn = false
        life?.cancel()
        agent?.cancel()
        await life?.value
        life = nil
        _ = try? await shell("ip -n \(namespace) address flush dev eth0")
        // The kernel lets go of what a process had mounted a little after its end.
        for _ in 0..<1000 {
            let disk = open(loop, O_RDWR | O_EXCL | O_CLOEXEC)
            if disk >= 0 {
                close(disk)
                return
            }
            try? await Task.sleep(for: .milliseconds(10))
        }
    }

    /// kill -9 of the agent that runs now, and which it is; nil: none does.
    func killAgent() -> Kind? {
        agent?.cancel()
        return agent == nil ? nil : kind
    }

    /// What the machine does while its power is on.
    private func live(_ target: String?) async {
        let boot = UUID().uuidString.lowercased() + "\n"
        try? Data(boot.utf8).write(to: URL(fileURLWithPath: "\(folder)/boot_id"))
        var commandLine: String?
        if target != "Hdd" {
            commandLine = await askTheNetwork()
            if Task.isCancelled { return }
        }
        let words = commandLine ?? ""
        try? Data((words + "\n").utf8).write(to: URL(fileURLWithPath: "\(folder)/cmdline"))
        kind = words.isEmpty ? .role : .discovery
        guard words.isEmpty else { return await keepRunning("unshare --mount", "bash \(folder)/ramdisk \(folder)") }
        async let address: Void = setUpAddress()
        await keepRunning(image.unshare, "bash \(folder)/image \(folder) \(loop)p2 \(Shell.programs)")
        await address
    }

    /// Sets up the address that the image has as its own, or asks until it is given one, as systemd-networkd does.
    private func setUpAddress() async {
        guard asksForAddress else {
            _ = try? await shell("ip -n \(namespace) address replace $(cat \(folder)/address)/24 dev eth0")
            return
        }
        try? FileManager.default.removeItem(atPath: "\(folder)/address")
        // Who serves the segment first does not hear a client on its own host; the others answer after eight seconds.
        while !Task.isCancelled {
            let asked = try? await Shell.run(
                "LEASE=\(folder)/address KEEP=1 busybox udhcpc -f -q -n -t 20 -T 1 -i eth0 -s \(folder)/lease.sh",
                in: namespace)
            if let asked, asked.status == 0 { return }
        }
    }

    /// As a network card's firmware: an address by DHCP, then the boot script, for as long as that takes. nil: the script
    /// leads to the disk.
    private func askTheNetwork() async -> String? {
        while !Task.isCancelled {
            let asked = try? await Shell.run(
                "rm -f \(folder)/address; LEASE=\(folder)/address busybox udhcpc -f -q -n -t 4 -T 1 -i eth0 "
                    + "-s \(folder)/lease.sh && curl -sf --max-time 5 "
                    + "'http://10.91.0.1:8080/boot/ipxe?mac=\(mac)&uuid=\(uuid)&serial=\(serial)'", in: namespace)
            if let address { leases.insert(address) }
            if let asked, asked.status == 0 {
                if let line = asked.output.split(separator: "\n").first(where: { $0.contains("muster.server=") }) {
                    let words = line.split(separator: " ").filter { $0.contains("=") }
                    return words.joined(separator: " ")
                }
                if asked.output.contains("booting from the local disk") { return nil }
            }
            try? await Task.sleep(for: .milliseconds(200))
        }
        return nil
    }

    /// As an init does: what ends is started again.
    private func keepRunning(_ unshare: String, _ line: String) async {
        let log = "\(folder)/log-\(boots)"
        while !Task.isCancelled {
            let program = Shell.program(
                "exec \(unshare) --propagation private \(line) >>\(log) 2>&1", in: namespace,
                patience: .seconds(900))
            let running = Task<ProgramRun.Outcome, any Error> { try await program.finish() }
            agent = running
            if Task.isCancelled { running.cancel() }
            _ = try? await running.value
            agent = nil
            try? await Task.sleep(for: .milliseconds(200))
        }
    }

    /// The last lines of what its agents said.
    func lastWords() async -> String {
        (try? await shell("tail -n 12 \(folder)/log-\(boots)")) ?? "nothing"
    }

    @discardableResult
    private nonisolated func shell(_ script: String) async throws -> String {
        let answer = try await Shell.run("set -e; \(script)")
        guard answer.status == 0 else { throw CrashError(what: "\(script): \(answer.output)") }
        return answer.output.trimmingCharacters(in: .whitespacesAndNewlines)
    }
}

struct CrashError: Error, CustomStringConvertible {
    let what: String
    var description: String { what }
}

extension CrashMachine {
    /// Makes the files that stand in the place of /sys: one disk, one card, SMBIOS.
    private static func firmware(of machine: CrashMachine, loop: String) -> String {
        """
        cd \(machine.folder) && mkdir sys && cd sys
        disk=devices/pci0000:00/0000:00:04.0/virtio1/block/vda
        card=devices/pci0000:00/0000:00:03.0/virtio0/net/eth0
        mkdir -p $disk/queue $card/device class/block class/net class/dmi/id bus/pci/devices bus/virtio/drivers/virtio_net
        printf 'MAJOR=7\\nMINOR=%s\\nDEVNAME=%s\\nDEVTYPE=disk\\n' $((0x$(stat -c %T \(loop)))) "$(basename \(loop))" >$disk/uevent
        echo $((\(machine.image.diskSize) * 2048)) >$disk/size; echo 0 | tee $disk/ro $disk/removable >$disk/queue/rotational
        echo 512 | tee $disk/queue/logical_block_size >$disk/queue/physical_block_size
        echo DISK-\(machine.number) >$disk/serial
        ln -s ../../../../../../class/block $disk/subsystem; ln -s ../../$disk class/block/vda
        printf 'INTERFACE=eth0\\nIFINDEX=2\\n' >$card/uevent
        echo \(machine.mac) >$card/address; echo 1 | tee $card/type >$card/carrier; echo 1500 >$card/mtu
        ln -s ../../../../../../../bus/virtio/drivers/virtio_net $card/device/driver
        ln -s ../../../../../../class/net $card/subsystem; ln -s ../../$card class/net/eth0
        echo Muster >class/dmi/id/sys_vendor; echo \(machine.serial) >class/dmi/id/product_serial
        echo \(machine.uuid) >class/dmi/id/product_uuid
        """
    }

    /// Runs in a mount namespace of its own, which goes with it: the machine's files in their places, then the agent.
    private static let ramdisk = """
        set -e
        cd "$1"
        mount -t tmpfs tmpfs /run
        mount --bind boot_id /proc/sys/kernel/random/boot_id
        mount --bind sys /sys
        mount --bind cmdline /proc/cmdline
        # The files are no sysfs, which libudev would find out.
        SYSTEMD_DEVICE_VERIFY_SYSFS=0 exec discovery-agent

        """

    private static let lease = """
        #!/bin/sh
        case $1 in bound | renew)
            [ "$KEEP" ] || ip address flush dev "$interface"
            ip address replace "$ip/${mask:-24}" dev "$interface"
            echo "$ip" >"$LEASE"
            ;;
        esac

        """
}
