import Logging

/// What works in the background while a store is frozen on purpose, which it is for seconds.
public enum StoreThaw {
    /// Between two tries.
    public static let pause: Duration = .seconds(1)

    /// Does `body`, and again after each `pause` for as long as the store is frozen. Throws what else `body` throws, and
    /// `CancellationError`.
    public static func insist<Result>(
        pause: Duration = pause, _ body: () async throws -> Result
    ) async throws -> Result {
        while true {
            do { return try await body() } catch {
                guard error.isOfFrozenStore else { throw error }
            }
            try await Task.sleep(for: pause)
        }
    }
}

extension Error {
    /// Whether a store was frozen on purpose: nothing is wrong, and nobody has to be told.
    public var isOfFrozenStore: Bool { (self as? StoreError)?.isFrozen == true }

    /// How loud to log this: at `level`, but at `debug` what a store does that was frozen on purpose.
    public func logLevel(_ level: Logger.Level) -> Logger.Level { isOfFrozenStore ? .debug : level }
}
