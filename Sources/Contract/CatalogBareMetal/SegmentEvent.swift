import Primitives
import ResourceModel

/// One thing that happened on a segment; kept to a bounded number a segment.
public struct SegmentEvent: Resource {
    public static let kind = "baremetal.segmentevent"
    public static let schemaVersion = 1
    /// The most events that are kept of one segment.
    public static let countMax = 200

    public var metadata: Metadata
    public var spec: Spec
    public var status: NoStatus

    /// An event.
    public init(metadata: Metadata, spec: Spec) {
        self.metadata = metadata
        self.spec = spec
        status = NoStatus()
    }

    /// What happened.
    public struct Spec: Codable, Sendable, Hashable {
        /// On which segment, by name.
        public var segment: String
        /// When.
        public var time: Timestamp
        /// For example `ForeignServer`, `AddressInUse` or `PoolExhausted`.
        public var type: String
        /// What, for people.
        public var message: String

        /// An event.
        public init(segment: String, time: Timestamp, type: String, message: String) {
            self.segment = segment
            self.time = time
            self.type = type
            self.message = message
        }
    }
}
