import Primitives

extension InventoryReport {
    /// What the machine's own BMC tells in band. The machine says so itself: nobody vouches for it.
    public struct BMC: Hashable, Sendable, Codable {
        /// Its address on its network.
        public let address: IPv4Address?
        /// Its Ethernet address there.
        public let mac: MACAddress?
        /// Its firmware's version.
        public let firmwareVersion: String?
        /// The system's GUID, as the BMC knows it.
        public let guid: String?

        /// A BMC.
        public init(
            address: IPv4Address? = nil, mac: MACAddress? = nil, firmwareVersion: String? = nil, guid: String? = nil
        ) {
            self.address = address
            self.mac = mac
            self.firmwareVersion = firmwareVersion
            self.guid = guid
        }

        /// The same with its texts within their limits.
        var bounded: BMC {
            BMC(address: address, mac: mac, firmwareVersion: firmwareVersion?.bounded, guid: guid?.bounded)
        }
    }
}
