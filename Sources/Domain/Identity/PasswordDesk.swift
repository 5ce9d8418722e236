import Dispatch
import Glibc
import Primitives
import Synchronization

/// Where passwords are hashed and checked: a few at once, on threads of their own, with a bounded queue.
///
/// A hash takes long and much memory by intent, so it runs neither on the tasks' threads nor in any number. An unknown
/// user's password is checked against a hash that nothing matches, which takes as long as a known user's.
public final class PasswordDesk: Sendable {
    /// How many may wait in the queue, by default.
    public static let waitingMax = 64

    private let hasher: ScryptHasher
    private let random: RandomBytes
    private let unmatchable: String
    private let width: Int
    private let insideMax: Int
    private let places: AsyncSemaphore
    private let inside = Mutex(0)
    private let computations = Atomic<Int>(0)
    private let threads = DispatchQueue(label: "muster.passwords", attributes: .concurrent)

    /// A desk that runs `width` hashes at once (as many as there are processors, by default) and lets `waitingMax` wait.
    public init(
        hasher: ScryptHasher = ScryptHasher(), width: Int? = nil, waitingMax: Int = PasswordDesk.waitingMax,
        random: RandomBytes = .system
    ) {
        self.hasher = hasher
        self.random = random
        self.width = max(1, width ?? sysconf(Int32(_SC_NPROCESSORS_ONLN)))
        insideMax = self.width + max(0, waitingMax)
        places = AsyncSemaphore(limit: self.width)
        unmatchable = hasher.unmatchable(random: random)
    }

    /// How many hashes were computed, of known users and of others.
    var computationCount: Int { computations.load(ordering: .relaxed) }

    /// The hash of a new password.
    public func hash(_ password: String) async throws(PasswordDeskError) -> String {
        let (hasher, random) = (hasher, random)
        return try await run { () throws(PasswordHashError) in try hasher.hash(password, random: random) }
    }

    /// Whether `password` is that of the hash `stored`; nil, when there is no such user or the user has no password:
    /// the answer is no, after the same time.
    public func verify(_ password: String, _ stored: String?) async throws(PasswordDeskError) -> Bool {
        let (hasher, hash) = (hasher, stored ?? unmatchable)
        let isSame = try await run { () throws(PasswordHashError) in try hasher.verify(password, hash) }
        return isSame && stored != nil
    }

    private func run<Value: Sendable>(
        _ work: @escaping @Sendable () throws(PasswordHashError) -> Value
    ) async throws(PasswordDeskError) -> Value {
        let mayEnter = inside.withLock { count in
            guard count < insideMax else { return false }
            count += 1
            return true
        }
        guard mayEnter else { throw .busy(retryAfter: .seconds(1 + insideMax / (4 * width))) }
        defer { inside.withLock { $0 -= 1 } }
        await places.enter()
        defer { places.leave() }
        guard !Task.isCancelled else { throw .cancelled }
        computations.wrappingAdd(1, ordering: .relaxed)
        let result: Result<Value, PasswordHashError> = await withCheckedContinuation { continuation in
            threads.async {
                continuation.resume(returning: Result { () throws(PasswordHashError) in try work() })
            }
        }
        do { return try result.get() } catch { throw .hash(error) }
    }
}

/// Why the desk gives no answer.
public enum PasswordDeskError: UserFacingError, Hashable {
    /// Too many wait already: an API answers 503 with `Retry-After`.
    case busy(retryAfter: Duration)
    /// Whoever asked has gone.
    case cancelled
    /// The password or the stored hash cannot be worked with.
    case hash(PasswordHashError)

    public var publicMessage: String {
        switch self {
        case .busy(let time): "Too many logins at once; try again in \(time.components.seconds) s."
        case .cancelled: "The request has ended."
        case .hash(let error): error.publicMessage
        }
    }

    public var diagnostic: String {
        guard case .hash(let error) = self else { return publicMessage }
        return error.diagnostic
    }
}
