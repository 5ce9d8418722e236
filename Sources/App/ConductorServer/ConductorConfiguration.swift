import CatalogBareMetal
import Glibc
import Identity
import Primitives
import StoreEtcd

/// How a conductor process is started; everything else is in the catalog.
public struct ConductorConfiguration: Sendable {
    /// Where the store, the blobs, the keys and the logs are; made with mode 0700.
    public var stateDirectory: String
    /// The address that operators reach, for example `10.77.0.1` or `0.0.0.0`.
    public var apiHost: String
    /// The ports.
    public var ports: ConductorPorts
    /// Further names and addresses for the server's certificate.
    public var names: [String]
    /// What this conductor is called among those of its site.
    public var conductorName: String
    /// The name or address at which agents, machines and other conductors reach this one; nil: found, see `reachableHost`.
    public var advertisedHost: String?
    /// The program that starts the disk's loader on a deployed UEFI machine, as `Images/boot/build.sh` makes it.
    public var localLoader = "/usr/lib/muster/local.efi"
    /// Where Debian's package ipxe has its programs.
    public var ipxeDirectory = "/usr/lib/ipxe"
    /// Whether a store that is older than the one that was there, or another one, is taken all the same.
    public var acceptsOlderStore = false
    /// The cluster that this and other conductors keep the catalog in; nil: a file in the state directory, for one conductor.
    public var etcd: EtcdConfiguration?
    /// Debian's shim (package shim-signed), for segments with Secure Boot.
    public var signedShim = "/usr/lib/shim/shimx64.efi.signed"
    /// Debian's signed GRUB for network boot (package grub-efi-amd64-signed).
    public var signedGRUB = "/usr/lib/grub/x86_64-efi-signed/grubnetx64.efi.signed"

    /// The region of this cloud's own services in the catalog.
    public var region = "RegionOne"
    /// Where clients reach the API, for example `https://cloud.example:9443`; nil: at the API's address and port.
    public var endpoint: String?
    /// A file of rules that take the place of those of the cloud's APIs and the fleet's (`policy.yaml`); nil: none.
    public var policyFile: String?
    /// A file of settings of the identity service; nil: none.
    public var identitySettingsFile: String?
    /// A file of the OpenID Connect issuers whose tokens are taken (`oidc-settings.yaml`); nil: none.
    public var oidcSettingsFile: String?
    /// How many requests a second each caller may make of the cloud's APIs; 0: any number, and of logins too.
    ///
    /// The default stops a program that runs wild before the others get nothing, and is far above what is made on purpose:
    /// services that check tokens keep the answers, and tempest or a script that seeds make some hundreds or thousands.
    public var apiRate = 10_000
    /// What hashing a user's password costs.
    var passwordCost = ScryptCost.standard

    /// The same as a power of two of rounds.
    public var passwordCostExponent: Int {
        get { passwordCost.logN }
        set { passwordCost.logN = newValue }
    }

    /// Where clients reach the API.
    var publicURL: String {
        let host = apiHost == "0.0.0.0" ? names.first ?? "127.0.0.1" : apiHost
        return endpoint ?? "https://\(host):\(ports.api)"
    }

    /// The host of this conductor in the list of conductors: the one that was given, else the first name, else the address
    /// of the API, else the first address of this machine.
    var reachableHost: String {
        if let host = advertisedHost ?? names.first { return host }
        if apiHost != "0.0.0.0" { return apiHost }
        return LocalAddresses.all().first { $0 != IPv4Address(0x7F00_0001) }?.description ?? "127.0.0.1"
    }

    /// Where this conductor is reached.
    var addresses: ConductorRecord.Addresses {
        let host = reachableHost
        return ConductorRecord.Addresses(
            api: "https://\(host):\(ports.api)", agents: "\(host):\(ports.agents)",
            provisioning: "\(host):\(ports.provisioning)", boot: "http://\(host):\(ports.boot)")
    }

    /// The most connections of one address at a port of machines; nil: 64, and of the host itself any number.
    public var connectionsPerAddress: Int?

    /// Places for connections, `factor` times as many for each address as at a port of machines.
    func addressLimit(_ factor: Int = 1) -> AddressLimit {
        AddressLimit((connectionsPerAddress ?? 64) * factor, boundsLoopback: connectionsPerAddress != nil)
    }

    /// The defaults for a state directory.
    public init(stateDirectory: String) {
        self.stateDirectory = stateDirectory
        apiHost = "0.0.0.0"
        ports = ConductorPorts()
        names = []
        conductorName = Self.hostName
    }

    /// The name of this machine.
    private static var hostName: String {
        var name = [CChar](repeating: 0, count: 256)
        guard gethostname(&name, name.count - 1) == 0 else { return "conductor" }
        let text = String(decoding: name.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
        return text.isEmpty ? "conductor" : text
    }
}

/// The ports that a conductor listens on.
public struct ConductorPorts: Sendable, Hashable {
    /// The operators' API, HTTPS.
    public var api = 9443
    /// Boot files and public image chunks, plain HTTP.
    public var boot = 8080
    /// Registration and enrolment, HTTPS with server authentication.
    public var provisioning = 8443
    /// The agents' streams, mutual TLS.
    public var agents = 7443

    /// The defaults.
    public init() {}
}
