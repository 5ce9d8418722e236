import APISupport
import Identity
import Primitives
import Synchronization
import struct Crypto.SHA256

/// Browsers that have signed in: a random name in a cookie stands for an operator's token, which stays here.
///
/// The token is verified anew at each use, so that a revoked one ends its sessions at once.
final class BrowserSessions: Sendable {
    /// Sessions at once; a further one ends that which was used longest ago.
    static let countMax = 256
    /// How long a session lasts after signing in.
    static let lifetime: Duration = .seconds(12 * 3600)
    /// The `__Host-` prefix binds the cookie to this host and to HTTPS (RFC 6265bis section 4.1.3).
    static let cookieName = "__Host-muster"

    private struct Session {
        let token: SecretText
        let ends: Timestamp
        var used: UInt64
    }

    private struct State {
        var sessions: [[UInt8]: Session] = [:]
        var uses: UInt64 = 0
    }

    private let state = Mutex(State())
    private let verify: @Sendable (String) -> Caller?
    private let clock: any WallClock
    private let random: RandomBytes

    init(verify: @escaping @Sendable (String) -> Caller?, clock: any WallClock, random: RandomBytes = .system) {
        self.verify = verify
        self.clock = clock
        self.random = random
    }

    /// How many there are.
    var count: Int { state.withLock { $0.sessions.count } }

    /// A new session for an operator's token: its cookie and its operator; nil when the token is not valid.
    func open(token: String) -> (cookie: String, caller: Caller)? {
        guard let caller = verify(token) else { return nil }
        let name = Hex.encode(random(32))
        let now = clock.now
        state.withLock { state in
            state.sessions = state.sessions.filter { now < $0.value.ends }
            if state.sessions.count >= Self.countMax,
                let oldest = state.sessions.min(by: { $0.value.used < $1.value.used })
            {
                state.sessions[oldest.key] = nil
            }
            state.uses += 1
            state.sessions[Self.key(name)] = Session(
                token: SecretText(token), ends: now.advanced(by: Self.lifetime), used: state.uses)
        }
        return (name, caller)
    }

    /// The operator of a session; nil when it is over or its token is not valid any more.
    func caller(cookie: String) -> Caller? {
        let key = Self.key(cookie)
        let now = clock.now
        let token = state.withLock { state -> SecretText? in
            guard let session = state.sessions[key], now < session.ends else {
                state.sessions[key] = nil
                return nil
            }
            state.uses += 1
            state.sessions[key]?.used = state.uses
            return session.token
        }
        guard let token else { return nil }
        if let caller = verify(token.revealed) { return caller }
        close(cookie: cookie)
        return nil
    }

    /// Ends a session.
    func close(cookie: String) { state.withLock { $0.sessions[Self.key(cookie)] = nil } }

    /// Sessions are found by the digest of their name, so that the time of a look-up tells nothing of a name.
    private static func key(_ name: String) -> [UInt8] { Array(SHA256.hash(data: Array(name.utf8.prefix(256)))) }

    /// The value of the session's cookie in a `Cookie` header.
    static func cookie(in header: String?) -> String? {
        for pair in (header ?? "").split(separator: ";") {
            let parts = pair.split(separator: "=", maxSplits: 1)
            guard parts.count == 2, parts[0].drop(while: { $0 == " " }) == cookieName else { continue }
            return String(parts[1])
        }
        return nil
    }

    /// The `Set-Cookie` header that keeps `cookie`; an empty one is forgotten.
    static func setCookie(_ cookie: String) -> String {
        let age = cookie.isEmpty ? 0 : lifetime.milliseconds / 1000
        return "\(cookieName)=\(cookie); Path=/; Max-Age=\(age); Secure; HttpOnly; SameSite=Strict"
    }
}
