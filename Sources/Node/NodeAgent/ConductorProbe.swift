import AgentProtocol
import NIOCore
import NIOPosix
import NodeTransport
import Primitives

/// Tries to reach a conductor by a connection of its own: TCP and TLS, and nothing is asked.
struct ConductorProbe: Sendable {
    /// The longest that one conductor is waited for.
    static let patience: Duration = .seconds(4)
    /// The most conductors that are tried at once.
    static let countMax = 4

    let directory: AgentDirectory
    var group: any EventLoopGroup = MultiThreadedEventLoopGroup.singleton

    /// nil when one was reached; else why none was.
    func miss() async -> String? {
        do {
            let identity = try directory.identity()
            let authority = try directory.authority()
            // Before its enrolment the agent has no certificate for the agents' port.
            let credentials = directory.credentials()
            let endpoints = credentials == nil ? identity.provisioning : identity.conductors
            let security = try TransportSecurity.tls(trustRootsPEM: authority, identity: credentials?.identity)
            guard !endpoints.isEmpty else { return "no conductor is known" }
            return await withTaskGroup(of: String?.self) { group in
                for text in endpoints.prefix(Self.countMax) {
                    group.addTask { await miss(text, security) }
                }
                var last: String? = "no conductor is known"
                while let answer = await group.next() {
                    last = answer
                    if answer == nil { break }
                }
                group.cancelAll()
                return last
            }
        } catch {
            return "\(error)"
        }
    }

    private func miss(_ text: String, _ security: TransportSecurity) async -> String? {
        do {
            let connection = try await HTTPConnection.open(
                to: Endpoint(text), security: security, limits: TransportLimits(connectTimeout: Self.patience),
                on: group)
            await connection.close()
            return nil
        } catch {
            return "\(error)"
        }
    }
}
