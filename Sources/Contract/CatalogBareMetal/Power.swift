import Primitives

/// Whether a machine's main power is on.
public enum PowerState: String, Sendable, Hashable, Codable, CaseIterable {
    case on
    case off
    /// The BMC cannot be asked, does not say, or is between two states. Never taken for `off`.
    case unknown
}

/// What is known of a machine's power, and since when.
public enum PowerReading: Sendable, Hashable {
    /// The BMC says that it is on.
    case on(since: Timestamp)
    /// The BMC says that it is off.
    case off(since: Timestamp)
    /// Nobody knows, and why: unreachable is not off.
    case unknown(since: Timestamp, cause: String)

    /// A reading of `state`; `cause` is why it is not known.
    public init(_ state: PowerState, since: Timestamp, cause: String? = nil) {
        self =
            switch state {
            case .on: .on(since: since)
            case .off: .off(since: since)
            case .unknown: .unknown(since: since, cause: cause ?? "the BMC does not say")
            }
    }

    /// The state alone.
    public var state: PowerState {
        switch self {
        case .on: .on
        case .off: .off
        case .unknown: .unknown
        }
    }

    /// Since when it is so.
    public var since: Timestamp {
        switch self {
        case .on(let since), .off(let since), .unknown(let since, _): since
        }
    }

    /// Why it is not known; nil when it is.
    public var cause: String? {
        guard case .unknown(_, let cause) = self else { return nil }
        return cause
    }
}

extension PowerReading: Codable {
    private enum CodingKeys: String, CodingKey {
        case state, at, cause
    }

    public init(from decoder: any Decoder) throws {
        let fields = try decoder.container(keyedBy: CodingKeys.self)
        self.init(
            try fields.decode(PowerState.self, forKey: .state), since: try fields.decode(Timestamp.self, forKey: .at),
            cause: try fields.decodeIfPresent(String.self, forKey: .cause))
    }

    public func encode(to encoder: any Encoder) throws {
        var fields = encoder.container(keyedBy: CodingKeys.self)
        try fields.encode(state, forKey: .state)
        try fields.encode(since, forKey: .at)
        try fields.encodeIfPresent(cause, forKey: .cause)
    }
}

extension BMC.Status {
    /// What is known of the power; nil: the BMC has not been asked yet.
    public var reading: PowerReading? { powerSince.map { PowerReading(power, since: $0, cause: lastError) } }

    /// Notes `state`, and `now` as its beginning when it is another than before.
    public mutating func note(_ state: PowerState, at now: Timestamp) {
        guard powerSince == nil || power != state else { return }
        power = state
        powerSince = now
    }
}
