import Primitives

/// The server's side of one transfer to a client, as a step without time or sockets.
///
/// A timeout sends the window again and doubles the wait; a repeated acknowledgement does so once a window at most, and
/// never with windows of one block (RFC 1123 section 4.2.3.1), so that a delayed message does not double all that follow.
public struct TFTPReadSession: Sendable {
    /// What happens to a transfer.
    public enum Event: Hashable, Sendable {
        /// It begins.
        case begin
        /// A message of its client.
        case received(TFTPPacket)
        /// `deadline` may have come.
        case tick
    }

    /// What is to be done.
    public enum Effect: Hashable, Sendable {
        case send(TFTPPacket)
        /// Nothing more comes.
        case finish(Outcome)
    }

    /// How a transfer ended.
    public enum Outcome: Hashable, Sendable {
        /// The client has the whole file.
        case complete
        /// The client ended it: code and text.
        case ended(TFTPErrorCode, String)
        /// The client never answered.
        case unanswered
        /// The client fell silent; how many blocks it has.
        case stalled(blocks: Int)
        /// It took too long.
        case tooSlow
    }

    /// When `tick` is due.
    public private(set) var deadline: Duration

    /// What was agreed on.
    public let options: TFTPTransferOptions

    private let content: [UInt8]
    private let answer: [TFTPOption]
    private let limits: TFTPLimits
    private let started: Duration
    private let blockCount: Int

    private var isHeard = false
    private var isFinished = false
    /// The first block without acknowledgement; 0 stands for the answer to the options.
    private var base: Int
    /// The first block that was not sent since `base` was acknowledged.
    private var next: Int
    private var retryCount = 0
    private var lastProgress: Duration
    /// The base for which a repeated acknowledgement has had its window sent again.
    private var repeatedBase: Int?

    /// A transfer of `content` with the options of a request, beginning at `now`.
    public init(_ content: [UInt8], for wanted: [TFTPOption], limits: TFTPLimits = .init(), now: Duration) {
        (options, answer) = TFTPTransferOptions.negotiate(wanted, size: content.count, limits: limits)
        self.content = content
        self.limits = limits
        // A file of a whole number of blocks ends with an empty one.
        blockCount = content.count / options.blockSize + 1
        base = answer.isEmpty ? 1 : 0
        next = base
        started = now
        lastProgress = now
        deadline = now
    }

    /// The next state, and what is to be done in order.
    public mutating func step(_ event: Event, now: Duration) -> [Effect] {
        guard !isFinished else { return [] }
        switch event {
        case .begin: return sendWindow(now)
        case .received(.acknowledge(let block)): return acknowledged(block, now)
        case .received(.error(let code, let text)): return finish(.ended(code, text))
        case .received: return []
        case .tick: return now >= deadline ? timedOut(now) : []
        }
    }

    private mutating func acknowledged(_ number: UInt16, _ now: Duration) -> [Effect] {
        // Which of the blocks on their way, or the one before, has this number in its last 16 bits.
        let back = Int((UInt16(truncatingIfNeeded: next - 1) &- number))
        let block = next - 1 - back
        guard block >= base - 1, block >= 0 else { return [] }
        isHeard = true
        guard block >= base else {
            // All of the window but its first block may be there.
            guard base > 0, options.windowSize > 1, repeatedBase != base, block == base - 1, next > base else {
                return []
            }
            repeatedBase = base
            return sendWindow(now)
        }
        base = block + 1
        retryCount = 0
        lastProgress = now
        return base > blockCount ? finish(.complete) : sendWindow(now)
    }

    private mutating func timedOut(_ now: Duration) -> [Effect] {
        retryCount += 1
        if !isHeard, retryCount > limits.firstRetryCountMax { return finish(.unanswered) }
        let end: Outcome? =
            if now - started >= limits.durationMax { .tooSlow } else if now - lastProgress >= limits.stallMax {
                .stalled(blocks: max(0, base - 1))
            } else { nil }
        guard let end else { return sendWindow(now) }
        return [.send(.error(.undefined, "the transfer took too long"))] + finish(end)
    }

    /// Sends all of the window from `base` on, and waits longer after each retry.
    private mutating func sendWindow(_ now: Duration) -> [Effect] {
        let wait = options.timeout * (1 << min(retryCount, 8))
        deadline = now + min(wait, max(options.timeout, limits.timeoutMax))
        guard base > 0 else {
            next = 1
            return [.send(.optionAcknowledge(answer))]
        }
        next = min(base + options.windowSize, blockCount + 1)
        return (base..<next).map { block in
            let start = (block - 1) * options.blockSize
            let bytes = content[start..<min(start + options.blockSize, content.count)]
            return .send(.data(block: UInt16(truncatingIfNeeded: block), Array(bytes)))
        }
    }

    private mutating func finish(_ outcome: Outcome) -> [Effect] {
        isFinished = true
        return [.finish(outcome)]
    }
}
