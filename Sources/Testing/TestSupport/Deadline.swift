/// A test took longer than it may.
public struct DeadlineExceeded: Error, CustomStringConvertible {
    /// How long it was given.
    public let limit: Duration
    public var description: String { "not done within \(limit)" }
}

/// Runs `body`, cancels it and throws `DeadlineExceeded` when it takes longer than `limit` of real time.
///
/// When it does not heed that within ten seconds more, the process ends with a message that names `file` and `line`.
public func withDeadline<Result: Sendable>(
    _ limit: Duration = .seconds(30), file: StaticString = #fileID, line: UInt = #line,
    _ body: @escaping @Sendable () async throws -> Result
) async throws -> Result {
    let watch = Watchdog.shared.arm(limit, file: file, line: line)
    defer { Watchdog.shared.disarm(watch) }
    return try await withThrowingTaskGroup(of: Result.self) { group in
        defer { group.cancelAll() }
        group.addTask(operation: body)
        group.addTask {
            try await Task.sleep(for: limit)
            throw DeadlineExceeded(limit: limit)
        }
        guard let result = try await group.next() else { throw DeadlineExceeded(limit: limit) }
        return result
    }
}

/// Returns when `condition` holds; throws `DeadlineExceeded` when it does not within `limit` of real time.
public func waitUntil(
    _ limit: Duration = .seconds(30), file: StaticString = #fileID, line: UInt = #line,
    _ condition: @escaping @Sendable () async throws -> Bool
) async throws {
    try await withDeadline(limit, file: file, line: line) {
        while try await !condition() { try await Task.sleep(for: .milliseconds(2)) }
    }
}
