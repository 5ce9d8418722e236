import AgentProtocol
import CatalogBareMetal
import FleetContract
import Foundation
import Glibc
import Primitives
import Testing

@testable import VirtualRack

/// The example rack with its site file: a node of each role, and what of it outlives its agent or its machine.
@Suite(
    .serialized, .enabled(if: geteuid() == 0, "a rack needs root"),
    .enabled(if: ProcessInfo.processInfo.environment["MUSTER_RACK_TESTS"] == "1", "make test-rack"))
struct RoleRackTests {
    private static let inventory = "\(PathTests.package)/Inventory/example-rack"
    private static let roles = ["compute", "network", "storage", "controller"]

    @Test(.timeLimit(.minutes(45)))
    func `four roles: a pool is adopted, a proxy tells of conductors, agents change without a lost packet`()
        async throws
    {
        for file in ["vmlinuz", "initrd.zst"] + Self.roles.map({ "node-\($0).raw" }) {
            try #require(
                FileManager.default.fileExists(atPath: "\(PathTests.images)/\(file)"),
                "\(PathTests.images)/\(file) is missing; run `make test-rack`, which builds it")
        }
        var file = try RackFile.load("\(Self.inventory)/rack.yaml")
        file.name = "roles-\(getpid())"
        let state = FileManager.default.temporaryDirectory.appending(path: "muster-\(file.name)").path
        let rack = try Rack(file: file, stateDirectory: state, options: Rack.Options(package: PathTests.package))
        try await rack.whileUp {
            let bed = PathTests.Bed(rack)
            do {
                try await prepare(bed)
                try await deploy(bed)
                try await keepPool(bed)
                try await proxy(bed)
                try await changeAgents(bed)
            } catch {
                let log = rack.process(named: "conductor")?.logTail(characters: 6000) ?? ""
                let consoles = rack.file.machines.map { machine in
                    "\(machine.name):\n\(((try? rack.console(machine: machine.name)) ?? "").suffix(2000))"
                }
                Issue.record("conductor:\n\(log)\n\(consoles.joined(separator: "\n"))")
                throw error
            }
        }
        #expect(!FileManager.default.fileExists(atPath: state))
    }

    private func prepare(_ bed: PathTests.Bed) async throws {
        try await bed.begin(images: Self.roles, makesKey: true)
        try await bed.must(["site", "apply", "\(Self.inventory)/site.yaml"])
    }

    /// Three machines come in by their rules; the fourth is known by none.
    private func deploy(_ bed: PathTests.Bed) async throws {
        try await waitUntil("four machines to register", within: .seconds(600), every: .seconds(1)) {
            try await bed.nodes().count == 4
        }
        let spare = try #require(try await bed.nodes().first { !$0.isApproved })
        try await bed.must(["node", "approve", spare.name, "--role", "controller", "--name", "controller-1"])
        for role in Self.roles { try await bed.waitForState("active", of: "\(role)-1", within: .seconds(1200)) }
        for role in Self.roles {
            #expect(try await bed.nodes().first { $0.name == "\(role)-1" }?.role?.rawValue == role)
        }
    }

    private func detail(_ bed: PathTests.Bed, _ node: String) async throws -> NodeDetail {
        try await bed.json(NodeDetail.self, ["node", "show", node])
    }

    private func address(_ bed: PathTests.Bed, _ node: String) async throws -> String {
        try #require(try await detail(bed, node).agent?.addresses.first).description
    }

    // MARK: Storage

    /// The power is cut: the pool is adopted as it was, and what bears data is refused by name, before and after.
    private func keepPool(_ bed: PathTests.Bed) async throws {
        let address = try await address(bed, "storage-1")
        try await expectRefusals(bed)
        let made = try await bed.ssh(
            address,
            """
            set -e
            lvcreate -q -y -n proof -L 32m data 2>&1 >/dev/null
            printf 'kept over a power cut' | dd of=/dev/data/proof conv=fsync status=none
            """)
        #expect(made.isEmpty, "\(made)")
        let before = try await bed.ssh(address, Self.pool)
        for serial in ["EX-POOL-0001", "EX-POOL-0002"] { #expect(before.contains(serial), "\(before)") }
        let boot = try #require(try await detail(bed, "storage-1").agent).bootID
        try await bed.must(["node", "power", "storage-1", "reset"])
        try await waitUntil("the storage node to be back", within: .seconds(400), every: .seconds(1)) {
            guard let agent = try await detail(bed, "storage-1").agent else { return false }
            return agent.bootID != boot && agent.isConnected && agent.isReady
        }
        let after = try await bed.ssh(try await self.address(bed, "storage-1"), Self.pool)
        #expect(before == after, "the pool is not as it was")
        let kept = try await bed.ssh(address, "vgchange -q -ay data >/dev/null; head -c 21 /dev/data/proof")
        #expect(kept == "kept over a power cut")
        try await expectRefusals(bed)
    }

    /// Identifiers, the number of the last change of LVM's metadata, disks, and the role's own claims.
    private static let pool = """
        vgs --noheadings -o vg_name,vg_uuid,vg_seqno,vg_tags
        pvs --noheadings -o pv_uuid,vg_name --sort pv_uuid -S vg_name=data
        lvs --noheadings -o lv_uuid,lv_name
        cat /state/muster/storage/members.json
        """

    private func expectRefusals(_ bed: PathTests.Bed) async throws {
        let detail = try await detail(bed, "storage-1")
        let checks = try #require(detail.agent).conditions.filter { $0.type.hasPrefix("DiskClaimed/") && !$0.isTrue }
        #expect(checks.count == 3, "\(checks)")
        let why = try await bed.must(["node", "why", "storage-1"])
        for words in [
            "(serial EX-DATA-EXT4) bears a file system (ext4) 'ledger'",
            "(serial EX-DATA-LVM) bears a physical volume of the volume group 'archive'",
            "(serial EX-DATA-RAID) bears an mdraid member 'mirror'",
        ] {
            #expect(checks.contains { $0.message.contains(words) }, "\(checks)")
            #expect(why.contains(words), "\(why)")
        }
        let pool = try #require(detail.facts?.storage?.pools.first)
        #expect(detail.facts?.storage?.pools.count == 1 && pool.name == "data")
        #expect(Set(pool.members.compactMap(\.serial)) == ["EX-POOL-0001", "EX-POOL-0002"])
    }

    // MARK: Controller

    /// HAProxy runs as a unit of its own, and the node tells of the conductors behind it, also of one that is gone.
    private func proxy(_ bed: PathTests.Bed) async throws {
        let address = try await address(bed, "controller-1")
        let unit = "systemctl is-active muster-haproxy; systemctl show -P MainPID muster-haproxy"
        let before = try await bed.ssh(address, unit)
        #expect(before.hasPrefix("active\n"), "\(before)")
        let facts = try #require(try await detail(bed, "controller-1").facts?.proxy)
        #expect(facts.conductors.map(\.isUp) == [true], "\(facts)")
        let conductor = "\(bed.rack.file.network.conductor):9443"
        #expect(facts.conductors.first?.address.contains("\(bed.rack.file.network.conductor)") == true, "\(facts)")
        // Through the proxy comes the conductor's own certificate and answer.
        let seen = try await bed.rack.outcome(
            inNamespace: [
                "curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", "--cacert",
                "\(bed.rack.conductorDirectory)/ca.pem", "--connect-to", "\(conductor):\(address):\(facts.port)",
                "https://\(conductor)/fleet/v1/nodes",
            ])
        #expect(seen.output == "401", "\(seen)")
        let running = try #require(bed.rack.process(named: "conductor"))
        running.signal(SIGKILL)
        try await running.waitForEnd()
        // With no conductor that passes its check the port is refused, or closed at once.
        try await waitUntil("the proxy to notice", within: .seconds(60), every: .milliseconds(500)) {
            try await bed.rack.outcome(
                inNamespace: ["curl", "-sk", "-m", "5", "https://\(address):\(facts.port)/"]
            ).status != 0
        }
        try await bed.startConductor()
        try await waitUntil("the controller to be ready again", within: .seconds(180), every: .seconds(1)) {
            let detail = try await detail(bed, "controller-1")
            let isReachable = detail.agent?.conditions.first { $0.type == "ConductorReachable" }?.isTrue
            return detail.agent?.isConnected == true && detail.agent?.isReady == true && isReachable == true
        }
        #expect(try await bed.ssh(address, unit) == before, "the proxy was started anew")
    }

    // MARK: Agents

    /// What is plugged into the overlay goes on while the agents of both its ends are killed and replaced.
    private func changeAgents(_ bed: PathTests.Bed) async throws {
        let nodes = ["network-1", "compute-1"]
        var addresses: [String] = []
        for (index, node) in nodes.enumerated() {
            addresses.append(try await address(bed, node))
            #expect(try await bed.ssh(addresses[index], OverlayProof.plug(index + 1)) == "")
        }
        // Addresses are resolved and learned before anybody watches.
        _ = try await bed.ssh(addresses[0], "ip netns exec proof ping -q -c 5 -i 0.2 -W 10 192.168.77.2")
        for address in addresses { #expect(try await bed.ssh(address, OverlayProof.watch) == "") }
        var before: [String] = []
        for address in addresses { before.append(try await bed.ssh(address, OverlayProof.objects)) }
        #expect(before.allSatisfy { $0.contains("tunnel_ends") && $0.contains("mvx4242") }, "\(before)")
        _ = try await bed.ssh(addresses[0], OverlayProof.ping)
        for (index, node) in nodes.enumerated() {
            for change in [OverlayProof.kill, OverlayProof.upgrade] {
                let stream = try await detail(bed, node).agent?.stream
                let told = try await bed.ssh(addresses[index], change)
                #expect(told == "another process looks after the overlay\n", "\(node): \(told)")
                try await waitUntil("the agent's new stream", within: .seconds(120), every: .milliseconds(500)) {
                    guard let agent = try await detail(bed, node).agent else { return false }
                    return agent.stream != stream && agent.isConnected && agent.isReady
                }
            }
        }
        let pings = try await bed.ssh(addresses[0], OverlayProof.endPing)
        let numbers = pings.matches(of: /icmp_seq=(\d+) ttl/).compactMap { Int($0.output.1) }
        #expect(numbers.count > 200 && numbers == Array(1...max(numbers.count, 1)), "lost or out of order: \(pings)")
        // Only what was sent in the moment of the end may lack its answer.
        let sent = pings.firstMatch(of: /(\d+) packets transmitted/).flatMap { Int($0.output.1) } ?? 0
        #expect((0...2).contains(sent - numbers.count), "sent \(sent), received \(numbers.count)")
        for (node, (address, old)) in zip(nodes, zip(addresses, before)) {
            let told = try await bed.ssh(address, OverlayProof.changes)
            #expect(told == "", "\(node): the kernel tells of changes:\n\(told)")
            #expect(try await bed.ssh(address, OverlayProof.objects) == old, "\(node)")
        }
        // Those who watch do tell of what is taken away, and of the agent's making it again.
        _ = try await bed.ssh(addresses[0], "nft delete table inet muster_network")
        try await waitUntil("the table to be made again", within: .seconds(60), every: .milliseconds(500)) {
            let told = try await bed.ssh(addresses[0], OverlayProof.changes)
            return told.contains("delete table inet muster_network") && told.contains("add table inet muster_network")
        }
        #expect(try await bed.ssh(addresses[0], OverlayProof.objects) != before[0])
    }
}

/// Shell for two nodes with an overlay between them: something plugged in, a ping, and who watches the kernel.
private enum OverlayProof {
    /// A network namespace on the bridge, with address `number`.
    static func plug(_ number: Int) -> String {
        """
        set -e
        mkdir -p /run/proof
        ip netns add proof
        ip link add proof0 type veth peer name eth0 netns proof
        echo 1 >/proc/sys/net/ipv6/conf/proof0/disable_ipv6
        ip netns exec proof sh -c 'for file in /proc/sys/net/ipv6/conf/*/disable_ipv6; do echo 1 >$file; done'
        ip link set proof0 mtu 1400 master mbr4242
        ip link set proof0 up
        ip -n proof link set eth0 mtu 1400
        ip -n proof address add 192.168.77.\(number)/24 dev eth0
        ip -n proof link set eth0 up
        """
    }

    /// Twenty packets a second until `endPing`.
    static let ping = """
        systemd-run -q --unit proof-ping -p StandardOutput=file:/run/proof/ping \
        ip netns exec proof ping -n -i 0.05 192.168.77.2
        """

    static let endPing = """
        systemctl kill -s INT proof-ping
        for i in $(seq 100); do grep -q transmitted /run/proof/ping && break; sleep 0.1; done
        cat /run/proof/ping
        """

    /// `mark NAME` makes one change of each kind, and waits until each monitor has told of it.
    private static let mark = """
        mark() {
            ip link add "$1" type dummy
            bridge fdb add "02:00:00:00:00:$2" dev mvx4242 dst 198.51.100.1
            nft add table inet "$1"
            for i in $(seq 300); do
                grep -q ": $1: " links && grep -q "02:00:00:00:00:$2" entries && grep -q "table inet $1" rules && return
                sleep 0.1
            done
            echo "the monitors do not tell of $1"
            exit 1
        }

        """

    /// Starts the monitors. One that has not begun yet hears nothing of a change, so changes are made until it does.
    static let watch =
        mark + """
            cd /run/proof
            run() { systemd-run -q --unit "proof-$1" -p StandardOutput=file:/run/proof/$1 "$2" "$3" $4 $5 $6; }
            run links ip monitor link address route
            run entries bridge monitor fdb
            run rules nft monitor
            for i in $(seq 300); do
                [ -s links ] && [ -s entries ] && [ -s rules ] && break
                ip link add early type dummy && ip link delete early
                bridge fdb replace 02:00:00:00:00:99 dev mvx4242 dst 198.51.100.1
                bridge fdb delete 02:00:00:00:00:99 dev mvx4242
                nft add table inet early && nft delete table inet early
                sleep 0.1
            done
            mark proofbegin 11
            """

    /// What the monitors have told since: nothing may be gone, and of the overlay nothing may be told at all.
    static let changes =
        mark + """
            cd /run/proof
            mark prooffinish 22
            since() { sed -n "/$2/,\\$p" "$1" | grep -v -e proofbegin -e prooffinish -e 02:00:00:00:00:[12][12]; }
            # Of a port that was plugged in, a bridge tells once more when its forward delay of 15 s is over.
            since links ': proofbegin:' | grep -v '^[0-9]*: proof0@' | grep -e ^Deleted -e mbr4242 -e mvx4242 -e proof0
            since entries 02:00:00:00:00:11 | grep -e mbr4242 -e mvx4242 -e proof0
            since rules 'table inet proofbegin' | grep -v '^# new generation'
            for unit in links entries rules; do systemctl is-active -q proof-$unit || echo "$unit: nobody watches"; done
            true
            """

    /// Identifiers that another object would not have: indexes of interfaces, counts of their ups and downs, handles of
    /// rules; and addresses, routes and tunnel ends.
    static let objects = """
        for device in mbr4242 mvx4242 proof0; do
            echo "$device" $(cat /sys/class/net/$device/ifindex /sys/class/net/$device/carrier_changes)
        done
        bridge fdb show dev mvx4242 | grep ^00:00:00:00:00:00
        nft -a list table inet muster_network
        ip -o -4 address | sed 's/valid_lft.*//'
        ip -4 route
        """

    /// Waits until another process than $old has applied its view: then it opens its socket for echoes.
    private static let wait = """
        looksAfter() {
            while read -r _ _ _ _ _ _ _ _ _ inode _; do
                ls -l "/proc/$1/fd" | grep -q "socket:\\[$inode\\]" && return 0
            done <"/proc/$1/net/raw"
            return 1
        }
        for i in $(seq 600); do
            new=$(systemctl show -P MainPID muster-agent)
            [ "$new" != "$old" ] && [ "$new" != 0 ] && looksAfter "$new" && break
            sleep 0.1
        done
        [ "$new" != "$old" ] && looksAfter "$new" && echo "another process looks after the overlay"
        """

    static let kill =
        """
        old=$(systemctl show -P MainPID muster-agent)
        kill -9 "$old"

        """ + wait

    /// The image is read-only: another executable is put over its agent, and the service started anew.
    static let upgrade =
        """
        old=$(systemctl show -P MainPID muster-agent)
        cp /usr/lib/muster/agent /run/proof/agent
        echo 'of another build' >>/run/proof/agent
        mount --bind /run/proof/agent /usr/lib/muster/agent
        systemctl restart muster-agent

        """ + wait + """

            cmp "/proc/$new/exe" /run/proof/agent
            """
}
