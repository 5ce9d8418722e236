/// A command that README.md shows, and how it is proven to work.
struct ReadmeCommand: Sendable {
    enum Way: Sendable {
        /// Typed into a shell in the package's folder, after what stands in the README was replaced.
        case typed(replacing: [String: String], adding: String)
        /// Only named: there is such a command.
        case named
        /// Make knows the target and all that it needs.
        case made
    }

    /// As the README has it.
    var text: String
    var way: Way
    /// How it ends.
    var exit: Int32 = 0
    /// Something that it prints.
    var shows = ""
    /// Why it is not run just as it stands.
    var because = ""

    static func typed(
        _ text: String, _ replacing: [String: String] = [:], adding: String = "", exit: Int32 = 0, shows: String,
        because: String = ""
    ) -> Self {
        Self(
            text: text, way: .typed(replacing: replacing, adding: adding), exit: exit, shows: shows, because: because)
    }

    static func named(_ text: String) -> Self { Self(text: text, way: .named, because: "it is named in a sentence") }

    static func made(_ text: String, because: String) -> Self { Self(text: text, way: .made, because: because) }

    /// The line that a shell gets, with `paths` for the names that only a run knows.
    func line(_ paths: [String: String]) -> String {
        guard case .typed(let replacing, let adding) = way else { return text }
        var line = text
        for (old, new) in replacing {
            line = line.replacing(old, with: new)
        }
        if !adding.isEmpty { line += " \(adding)" }
        for (name, path) in paths { line = line.replacing(name, with: path) }
        return line
    }

    /// Every command of the README, in an order in which each finds what it needs. `ReadmeScene` has the machines:
    /// compute-1, network-1, network-2 and storage-1 are active, spare-1 is available, the strangers wait.
    static let all: [ReadmeCommand] = [
        .typed(
            "muster-conductor --state-dir /var/lib/muster", ["/var/lib/muster": "@state"], adding: "--help",
            shows: "--state-dir", because: "the scene's conductor was started by it already"),
        .typed(
            "muster-conductor backup --to FILE --passphrase-file PASS", adding: "--help", shows: "--blobs",
            because: "BackupTests makes a backup and restores it"),
        .typed(
            "muster-conductor restore FILE --passphrase-file PASS --list", adding: "--help", shows: "--list",
            because: "BackupTests does"),
        .typed(
            "muster-conductor restore FILE --passphrase-file PASS --state-dir EMPTY", adding: "--help",
            shows: "--state-dir", because: "BackupTests does"),
        .named("muster-conductor restore"),
        .typed(
            "muster-conductor migrate --to etcd --etcd https://10.0.0.1:2379 --etcd-ca CA --etcd-cert CERT --etcd-key KEY",
            adding: "--help", shows: "--to <etcd|sqlite>", because: "StoreMoveTests moves a site there and back"),
        .typed(
            "muster-conductor --conductor-name c1 --etcd https://10.0.0.1:2379 --etcd https://10.0.0.2:2379 --etcd-ca CA "
                + "--etcd-cert CERT --etcd-key KEY",
            adding: "--help", shows: "--conductor-name", because: "ConductorClusterTests starts two on a cluster"),
        .typed(
            "muster-conductor migrate --to sqlite --etcd https://10.0.0.1:2379", adding: "--help", shows: "--to",
            because: "StoreMoveTests moves a site there and back"),
        .typed("muster controller list", shows: "muster controller pivot"),
        .typed(
            "muster controller pivot c1 c2 c3 --vip 10.77.0.5/24", exit: 3, shows: "There is no node 'c1'",
            because: "the scene has no controllers; FleetAPIPivotTests orders it"),
        .typed(
            "muster controller pivot --back", exit: 4, shows: "not being moved",
            because: "the scene's site stays; FleetAPIPivotTests undoes it"),
        .typed(
            "muster controller plan c1 c2 c3", exit: 4, shows: "no control plane",
            because: "the scene has one conductor; ControllerJourneyTests and FleetAPIControllerTests plan"),
        .typed(
            "muster controller grow c2 c3", exit: 4, shows: "no control plane",
            because: "the scene has one conductor; ControllerJourneyTests grows"),
        .typed(
            "muster controller replace c2 --with c4", exit: 4, shows: "no control plane",
            because: "the scene has one conductor; ControllerJourneyTests replaces"),
        .typed(
            "muster controller shrink c3 c4", exit: 4, shows: "no control plane",
            because: "the scene has one conductor; ControllerJourneyTests shrinks"),
        .typed(
            "muster image push NAME --role network --file node-network.raw",
            ["NAME": "node-network", "node-network.raw": "@image"], shows: "Sent "),
        .typed("muster site validate FILE", ["FILE": "@site"], shows: "all right"),
        .typed("muster site apply FILE --dry-run", ["FILE": "@site"], shows: "nothing to change"),
        .typed(
            "muster site check FILE", ["FILE": "@site"], exit: 1, shows: "there is no kernel and ramdisk",
            because: "nobody has pushed a ramdisk, and no BMC answers"),
        .typed("muster node list", shows: "compute-1"),
        .typed("muster conductor list", shows: "LEADS"),
        .typed(
            "muster conductor forget NAME", ["NAME": "c9"], exit: 3, shows: "of those that do not run none is",
            because: "the only conductor runs"),
        .typed("muster node inventory NAME", ["NAME": "compute-1"], shows: "S6XNNE0T3101"),
        .typed("muster node show NAME", ["NAME": "compute-1"], shows: "PowerEdge R650"),
        .named("muster node show"),
        .typed("muster node stages", shows: "compute-1"),
        .typed("muster node why NAME", ["NAME": "stranger-1"], shows: "nobody has let this machine in"),
        .typed("muster node why NODE", ["NODE": "compute-1"], shows: "compute-1"),
        .typed("muster site explain NAME", ["NAME": "stranger-1"], shows: "elm"),
        .typed("muster site explain --inventory FILE", ["FILE": "@inventory"], shows: "elm"),
        .named("muster site explain"),
        .typed(
            "muster node watch", adding: "--timeout 1", exit: 1, shows: "compute-1",
            because: "without --timeout it goes on until it is broken off"),
        .typed("muster node events NAME", ["NAME": "compute-1"], shows: "seen first"),
        .typed("muster top", shows: "compute-1", because: "without a terminal one table is printed"),
        .typed("muster node logs NAME --since 10m", ["NAME": "compute-1"], shows: "the hypervisor is there"),
        .typed(
            "muster node logs NAME --boot discovery --follow", ["NAME": "compute-1"], adding: "& sleep 2; kill $!",
            shows: "the ramdisk is up", because: "it goes on until it is broken off"),
        .typed("muster node console NAME", ["NAME": "compute-1"], shows: "a kernel speaks"),
        .typed(
            "muster node console NAME --since 10m", ["NAME": "compute-1"], shows: "a kernel speaks"),
        .typed(
            "muster node ssh NAME", ["NAME": "compute-1"], shows: "root@10.66.0.61",
            because: "a program in ssh's place tells what it was asked for; the virtual rack's tests log in"),
        .typed("muster node set NODE --network NAME", ["NODE": "compute-1", "NAME": "lacp"], shows: "changed"),
        .typed("muster node set NAME --data-disks all", ["NAME": "storage-1"], shows: "changed"),
        .typed("muster node set NAME --forget-tpm", ["NAME": "storage-1"], shows: "changed"),
        .typed("muster node power NAME on", ["NAME": "compute-1"], shows: "is told to switch it on"),
        .typed("muster bmc power NAME on", ["NAME": "elm-bmc"], shows: "elm-bmc"),
        .typed("muster bmc list", shows: "elm-bmc"),
        .typed("muster bmc show NAME", ["NAME": "elm-bmc"], shows: "http://10.66.0.2:8000"),
        .named("muster bmc show"),
        .typed(
            "muster bmc approve NAME --fingerprint SHA256",
            ["NAME": "elm-bmc", "SHA256": String(repeating: "0a", count: 32)], exit: 4, shows: "has no certificate",
            because: "the scene's BMC is reached without TLS"),
        .typed(
            "muster bmc rotate-password NAME", ["NAME": "elm-bmc"], shows: "another password is ordered"),
        .typed("muster bmc rotate-password --all", shows: "another password is ordered"),
        .typed("muster token create NAME --role reader", ["NAME": "ann"], shows: "shown here and nowhere else"),
        .typed("muster token list", shows: "ann"),
        .typed("muster token rotate NAME --grace 1h", ["NAME": "ann"], shows: "is taken until"),
        .typed("muster token revoke NAME", ["NAME": "ann"], shows: "is void"),
        .typed("muster policy list", shows: "fleet:node:approve"),
        .typed(
            "muster policy explain USER GET /identity/v3/users", ["USER": "admin"],
            shows: "identity:list_users (as shipped)"),
        .typed("muster ca show", shows: "steady"),
        .typed("muster ca rotate", shows: "The rotation is ordered"),
        .typed("muster ca trust", shows: "trusts authority"),
        .typed(
            "muster node approve NAME --role network", ["NAME": "stranger-1"], shows: "let in as network"),
        .typed(
            "muster node approve NAME --accept-difference", ["NAME": "stranger-2"], shows: "let in as network"),
        .named("muster node approve"),
        .typed(
            "muster node set NAME --maintenance on --reason fan", ["NAME": "storage-1"], shows: "changed"),
        .typed("muster node rescue NAME", ["NAME": "compute-1"], shows: "password"),
        .typed("muster node unrescue NAME", ["NAME": "compute-1"], shows: "its disk is booted"),
        .typed(
            "muster node revoke-certificate NAME", ["NAME": "compute-1"], shows: "accepted no more"),
        .named("muster node clean"),
        .typed("muster node delete NAME", ["NAME": "stranger-3"], shows: "taken out of the inventory"),
        .typed("muster node deploy NAME", ["NAME": "network-1"], shows: "written anew"),
        .typed(
            "muster node clean NAME --disk SERIAL", ["NAME": "spare-1", "SERIAL": "S6XNNE0T3102"],
            shows: "a disk is emptied"),
        .typed("muster node clean NAME --all --release", ["NAME": "network-2"], shows: "2 disks are emptied"),
        .typed("muster conflict list", shows: "claim-1"),
        .typed("muster conflict delete NAME", ["NAME": "claim-1"], shows: "forgotten"),
        .typed("muster segment list", shows: "provisioning"),
        .typed("muster segment events NAME", ["NAME": "provisioning"], shows: "10.66.0.77"),
        .typed("muster lease list", shows: "10.66.0.61"),
        .typed(
            "Images/boot/build.sh --out /usr/lib/muster", ["/usr/lib/muster": "@out"], adding: "&& ls -l @out",
            shows: "local.efi"),
        .typed(
            "Images/discovery/media.sh --from DIR --out DIR", ["DIR": "@out"], exit: 1,
            shows: "vmlinuz is missing: build the ramdisk first",
            because: "the ramdisk takes minutes; a test of the virtual rack makes and boots it"),
        .typed(
            "muster image push-ramdisk --kernel vmlinuz --initrd initrd.zst --media boot.iso",
            ["vmlinuz": "@image", "initrd.zst": "@image", "boot.iso": "@image"], exit: 1,
            shows: "is no medium of", because: "a test of the virtual rack makes a medium and boots it"),
        .typed(
            #"eval "$(.build/release/muster-rack env)""#, [".build/release": ".build/debug"],
            shows: "is not up: run `muster-rack up` first",
            because: "tests have debug builds, and no rack is up; the demo's is"),
        .made("make demo", because: "it takes minutes; the virtual rack's tests do the same"),
        .made(
            "make demo RACK=Inventory/example-rack/rack-b.yaml",
            because: "it takes minutes; the virtual rack's tests do the same"),
        .made("make demo-down", because: "no demo is up"),
        .made("make demo-ha", because: "it takes minutes"),
        .made("make test", because: "it runs this"),
        .made("make test-rack", because: "it takes minutes"),
        .made("make bench", because: "it measures"),
        .made("make bench-node", because: "it measures"),
        .made("make test-apis", because: "it fetches clients from PyPI"),
        .made("make judge", because: "it needs a judge"),
        .made("make bench-apis", because: "it measures"),
        .made("make help", because: "it is what is compared with"),
    ]
}
