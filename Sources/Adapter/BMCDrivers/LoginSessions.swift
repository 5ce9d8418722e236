import BareMetal
import Primitives
import Redfish
import Synchronization

/// The sessions that the conductor holds at Redfish services (DSP0266, session management), one for each BMC and user.
///
/// A session is made at the first call, used by all later ones, made anew when the service no longer knows it, and
/// deleted by `RedfishDriver` when the conductor stops. A service that has no sessions is asked with the password in
/// each request (HTTP Basic).
public final class LoginSessions: Sendable {
    /// A session at a service.
    struct Login: Sendable, Hashable {
        /// The value of `X-Auth-Token`.
        let token: SecretText
        /// Where it is deleted; nil: the service did not say.
        let path: ResourcePath?

        static func == (one: Login, other: Login) -> Bool { one.token.revealed == other.token.revealed }
        func hash(into hasher: inout Hasher) { hasher.combine(token.revealed) }
    }

    /// How a service is to be spoken to.
    enum Way: Sendable, Hashable {
        case session(Login)
        case basic
    }

    private struct Entry {
        var way: Way
        var password: SecretText
        var address: BMCAddress
        var trust: BMCTrust
    }

    private let entries = Mutex<[String: Entry]>([:])

    /// No session yet.
    public init() {}

    /// How to speak to the BMC; nil when it is not known, or the password has changed since.
    func way(_ address: BMCAddress, password: SecretText) -> Way? {
        entries.withLock { entries in
            guard let entry = entries[Self.key(address)], entry.password.revealed == password.revealed else {
                return nil
            }
            return entry.way
        }
    }

    /// Keeps `way`, and gives the one to use: that of a call that was quicker, if any.
    func keep(_ way: Way, _ address: BMCAddress, password: SecretText, trust: BMCTrust) -> Way {
        entries.withLock { entries in
            let key = Self.key(address)
            if let entry = entries[key], entry.password.revealed == password.revealed { return entry.way }
            entries[key] = Entry(way: way, password: password, address: address, trust: trust)
            return way
        }
    }

    /// The session that was made with another password than `password`; it is not held any more.
    func takeOutdated(_ address: BMCAddress, password: SecretText) -> Login? {
        entries.withLock { entries in
            let key = Self.key(address)
            guard let entry = entries[key], entry.password.revealed != password.revealed else { return nil }
            entries[key] = nil
            guard case .session(let login) = entry.way else { return nil }
            return login
        }
    }

    /// Forgets a session that the service does not know any more, unless it has been replaced already.
    func forget(_ login: Login, _ address: BMCAddress) {
        entries.withLock { entries in
            if entries[Self.key(address)]?.way == .session(login) { entries[Self.key(address)] = nil }
        }
    }

    /// All sessions that are held; none is afterwards.
    func takeAll() -> [(login: Login, address: BMCAddress, password: SecretText, trust: BMCTrust)] {
        entries.withLock { entries in
            defer { entries = [:] }
            return entries.values.compactMap { entry in
                guard case .session(let login) = entry.way else { return nil }
                return (login, entry.address, entry.password, entry.trust)
            }
        }
    }

    private static func key(_ address: BMCAddress) -> String { "\(address.user)@\(address)" }
}
