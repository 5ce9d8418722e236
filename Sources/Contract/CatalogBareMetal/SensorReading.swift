/// What one of a BMC's sensors tells.
public struct SensorReading: Codable, Sendable, Hashable {
    /// The most of one BMC that are kept.
    public static let countMax = 256

    /// What is measured, in the BMC's words.
    public var name: String
    /// How much.
    public var value: Double
    /// Of what.
    public var unit: Unit
    /// Whether the BMC calls it good.
    public var isGood: Bool

    /// What is measured.
    public enum Unit: String, Codable, Sendable, Hashable, CaseIterable {
        case celsius
        case rpm
        case percent
        case volts
        case watts
        case amperes
        /// Anything else.
        case other
    }

    /// A reading.
    public init(name: String, value: Double, unit: Unit, isGood: Bool) {
        self.name = name
        self.value = value
        self.unit = unit
        self.isGood = isGood
    }
}
