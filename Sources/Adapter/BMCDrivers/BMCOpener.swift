import BareMetal
import CatalogBareMetal
import Logging
import NIOCore
import NIOPosix
import Primitives

/// Chooses the driver of a BMC by the scheme of its address.
public struct BMCOpener: Sendable {
    private let limits: BMCLimits
    private let logins = LoginSessions()
    private let group: any EventLoopGroup
    private let logger: Logger

    /// An opener whose drivers keep to `limits`.
    public init(
        limits: BMCLimits = BMCLimits(), group: any EventLoopGroup = MultiThreadedEventLoopGroup.singleton,
        logger: Logger
    ) {
        self.limits = limits
        self.group = group
        self.logger = logger
    }

    /// A driver of the BMC that the catalog describes; throws `InvalidValue` when its address, user or password cannot
    /// be one.
    public func driver(of bmc: BMC.Spec, password: SecretText) throws(InvalidValue) -> any BMCDriver {
        let address = try BMCAddress(bmc.address, system: bmc.system, user: bmc.username)
        switch address.scheme {
        case .http, .https:
            return RedfishDriver(
                address: address, password: password,
                trust: bmc.trustedCertificate.map(BMCTrust.certificate) ?? .systemStore, limits: limits,
                logins: logins, group: group, logger: logger)
        case .ipmi:
            return try IPMIDriver(
                address: address, password: password, cipherSuite: bmc.cipherSuite, limits: limits, logger: logger)
        }
    }

    /// The console at `console`; user, password and cipher suite are the BMC's. Throws nothing of the network: it is opened
    /// later, and closed perhaps much later, with the password that `passwordLater` gives then.
    public func console(
        at console: ConsoleAddress, of bmc: BMC.Spec, password: SecretText,
        passwordLater: @escaping @Sendable () async -> SecretText? = { nil }
    ) -> any ConsoleAccess {
        switch console {
        case .ipmi(let host, let port):
            IPMIConsole(
                host: host, port: port, user: bmc.username, password: password, passwordLater: passwordLater,
                cipherSuite: bmc.cipherSuite, limits: limits, group: group, logger: logger)
        case .tcp(let host, let port): SocketConsole(host: host, port: port, limits: limits, group: group)
        case .unix(let path): SocketConsole(path: path, limits: limits, group: group)
        }
    }

    /// Ends the sessions that are held at BMCs, within 5 s; those that are not reached end by themselves.
    public func close() async {
        var brief = limits
        (brief.connect, brief.request, brief.call) = (.seconds(2), .seconds(5), .seconds(5))
        await withDiscardingTaskGroup { tasks in
            for held in logins.takeAll() {
                let driver = RedfishDriver(
                    address: held.address, password: held.password, trust: held.trust, limits: brief, group: group,
                    logger: logger)
                tasks.addTask { await driver.end(held.login) }
            }
        }
    }
}
