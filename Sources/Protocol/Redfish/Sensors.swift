import FoundationEssentials
import Primitives

/// A box with sensors (DSP0268 Chassis).
public struct Chassis: RedfishResource, Decodable, Hashable {
    public static let typeName = "Chassis"

    /// Temperatures and fans, the older way.
    public let thermal: ResourcePath?
    /// Power and voltages, the older way.
    public let power: ResourcePath?
    /// The collection of sensors, the newer way.
    public let sensors: ResourcePath?

    public init(from decoder: any Decoder) throws {
        let container = try decoder.container(keyedBy: MemberName.self)
        thermal = container.link("Thermal")
        power = container.link("Power")
        sensors = container.link("Sensors")
    }
}

/// One reading.
public struct RedfishReading: Sendable, Hashable {
    /// What is measured.
    public let name: String
    /// How much.
    public let value: Double
    /// Of what, in the words of DSP0268 Sensor `ReadingUnits`: `Cel`, `RPM`, `%`, `V`, `W`, `A` and others.
    public let unit: String
    /// Whether the service calls it good; true when it says nothing.
    public let isGood: Bool

    /// `container` has the reading in `member`; nil: there is none, or its sensor is absent.
    init?(_ container: KeyedDecodingContainer<MemberName>, _ member: MemberName, unit: String) {
        guard let name = container.text("Name") ?? container.text("MemberId"), let value = container.number(member)
        else { return nil }
        let status = try? container.nestedContainer(keyedBy: MemberName.self, forKey: "Status")
        guard status?.text("State").map({ $0 == "Enabled" }) ?? true else { return nil }
        self.name = String(name.prefix(64))
        self.value = value
        self.unit = unit
        isGood = status?.text("Health").map { $0 == "OK" } ?? true
    }
}

/// Temperatures and fans of a chassis (DSP0268 Thermal).
public struct Thermal: RedfishResource, Decodable, Hashable {
    public static let typeName = "Thermal"

    /// At most 256 of each kind.
    public let readings: [RedfishReading]

    public init(from decoder: any Decoder) throws {
        let container = try decoder.container(keyedBy: MemberName.self)
        readings =
            container.readings("Temperatures", "ReadingCelsius") { _ in "Cel" }
            + container.readings("Fans", "Reading") { $0.text("ReadingUnits") == "Percent" ? "%" : "RPM" }
    }
}

/// Power and voltages of a chassis (DSP0268 Power).
public struct PowerMetrics: RedfishResource, Decodable, Hashable {
    public static let typeName = "Power"

    /// At most 256 of each kind.
    public let readings: [RedfishReading]

    public init(from decoder: any Decoder) throws {
        let container = try decoder.container(keyedBy: MemberName.self)
        readings =
            container.readings("PowerControl", "PowerConsumedWatts") { _ in "W" }
            + container.readings("Voltages", "ReadingVolts") { _ in "V" }
    }
}

/// One sensor (DSP0268 Sensor).
public struct Sensor: RedfishResource, Decodable, Hashable {
    public static let typeName = "Sensor"

    /// Its reading; nil: it has none now.
    public let reading: RedfishReading?

    public init(from decoder: any Decoder) throws {
        let container = try decoder.container(keyedBy: MemberName.self)
        reading = RedfishReading(container, "Reading", unit: container.text("ReadingUnits") ?? "")
    }
}

/// Work that a service does after it has answered (DSP0268 Task).
public struct ServiceTask: RedfishResource, Decodable, Hashable {
    public static let typeName = "Task"

    /// Whether it still runs, has ended well, or has failed with the messages.
    public enum State: Sendable, Hashable {
        case running
        case done
        case failed(String)
    }

    /// How far it is.
    public let state: State

    public init(from decoder: any Decoder) throws {
        let container = try decoder.container(keyedBy: MemberName.self)
        let state = try container.decode(String.self, forKey: "TaskState")
        switch state {
        case "Completed":
            let status = container.text("TaskStatus") ?? "OK"
            self.state = status == "Critical" ? .failed(Self.messages(container) ?? status) : .done
        case "Exception", "Killed", "Cancelled", "Interrupted":
            self.state = .failed(Self.messages(container) ?? state.printable(limit: 64))
        default: self.state = .running
        }
    }

    private static func messages(_ container: KeyedDecodingContainer<MemberName>) -> String? {
        let texts = (try? container.decodeIfPresent([Lenient<ErrorDocument.Message>].self, forKey: "Messages"))?
            .prefix(5).compactMap { $0.value?.text }
        guard let texts, !texts.isEmpty else { return nil }
        return texts.joined(separator: " ").printable(limit: 300)
    }
}

extension KeyedDecodingContainer where Key == MemberName {
    fileprivate func readings(
        _ list: MemberName, _ member: MemberName, unit: (KeyedDecodingContainer<MemberName>) -> String
    ) -> [RedfishReading] {
        guard var items = try? nestedUnkeyedContainer(forKey: list) else { return [] }
        var readings: [RedfishReading] = []
        while !items.isAtEnd, items.currentIndex < 256 {
            guard let item = try? items.nestedContainer(keyedBy: MemberName.self) else { break }
            if let reading = RedfishReading(item, member, unit: unit(item)) { readings.append(reading) }
        }
        return readings
    }
}
