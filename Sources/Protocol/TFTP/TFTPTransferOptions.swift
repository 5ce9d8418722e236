/// What both sides keep to during a transfer.
public struct TFTPTransferOptions: Hashable, Sendable {
    /// Bytes of every block but the last.
    public var blockSize = 512
    /// Blocks that are sent before an acknowledgement is waited for.
    public var windowSize = 1
    /// How long an answer is waited for at first.
    public var timeout: Duration = .seconds(1)

    /// RFC 1350 without options.
    public init() {}

    /// What a server grants of a request's options for a file of `size` bytes, and what it answers with.
    ///
    /// Options that are unknown, out of range or there before are passed over, as RFC 2347 asks; sizes are lowered to
    /// the limits, as RFC 2348 and RFC 7440 allow.
    public static func negotiate(
        _ wanted: [TFTPOption], size: Int, limits: TFTPLimits
    ) -> (granted: TFTPTransferOptions, answer: [TFTPOption]) {
        var granted = TFTPTransferOptions()
        var answer: [TFTPOption] = []
        for option in wanted where !answer.contains(where: { $0.name == option.name }) {
            switch option.name {
            case "blksize":
                guard let number = option.number(in: TFTPOption.blockSizeRange) else { continue }
                granted.blockSize = min(number, limits.blockSizeMax)
                answer.append(TFTPOption(option.name, granted.blockSize))
            case "windowsize":
                guard let number = option.number(in: TFTPOption.windowSizeRange) else { continue }
                granted.windowSize = min(number, limits.windowSizeMax)
                answer.append(TFTPOption(option.name, granted.windowSize))
            case "timeout":
                guard let number = option.number(in: TFTPOption.timeoutRange) else { continue }
                granted.timeout = .seconds(number)
                answer.append(option)
            case "tsize":
                guard option.number(in: 0...Int.max) != nil else { continue }
                answer.append(TFTPOption(option.name, size))
            default: continue
            }
        }
        return (granted, answer)
    }
}

/// The most that a server gives a transfer.
public struct TFTPLimits: Hashable, Sendable {
    /// Bytes of a block: by default what an Ethernet frame of 1500 bytes takes, so that nothing is cut in parts.
    public var blockSizeMax = 1468
    /// Blocks of a window.
    public var windowSizeMax = 16
    /// The longest wait for an answer, after which the wait does not double any more.
    public var timeoutMax: Duration = .seconds(8)
    /// How often the first message is sent again to a client that never answered, which may never have asked.
    public var firstRetryCountMax = 3
    /// How long a transfer may stand still.
    public var stallMax: Duration = .seconds(30)
    /// How long a transfer may take.
    public var durationMax: Duration = .seconds(900)

    /// The defaults.
    public init() {}
}
