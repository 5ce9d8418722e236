/// In what a service differs from the standard, as data.
public struct RedfishQuirks: Hashable, Sendable {
    /// A boot override for `Once` stays for ever, so it is asked for as `Continuous`, which is what it is.
    public var keepsOnce: Bool
    /// What a boot override reads as after it was set, where that is another word.
    public var words: [String: String]

    /// The differences; none unless given.
    public init(keepsOnce: Bool = false, words: [String: String] = [:]) {
        self.keepsOnce = keepsOnce
        self.words = words
    }

    /// One row: systems whose manufacturer starts with `manufacturer`, and model with `model`, differ so.
    public struct Row: Hashable, Sendable {
        /// The start of `Manufacturer`.
        public let manufacturer: String
        /// The start of `Model`; empty: any.
        public let model: String
        /// The differences.
        public let quirks: RedfishQuirks

        /// A row.
        public init(manufacturer: String, model: String = "", quirks: RedfishQuirks) {
            self.manufacturer = manufacturer
            self.model = model
            self.quirks = quirks
        }
    }

    /// The known ones. sushy-tools 2.2.0 answers `Continuous` after `Once` was set, and rewrites the boot order;
    /// an image for UEFI HTTP boot it inserts as a CD.
    public static let table: [Row] = [
        Row(manufacturer: "Sushy Emulator", quirks: RedfishQuirks(keepsOnce: true, words: ["UefiHttp": "Cd"]))
    ]

    /// The quirks of a system: those of the first row that fits.
    public static func of(_ system: ComputerSystem, in table: [Row] = Self.table) -> RedfishQuirks {
        let row = table.first { row in
            (system.manufacturer ?? "").hasPrefix(row.manufacturer) && (system.model ?? "").hasPrefix(row.model)
        }
        return row?.quirks ?? RedfishQuirks()
    }
}
