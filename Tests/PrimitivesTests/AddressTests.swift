import FoundationEssentials
import Primitives
import Testing

@Suite struct AddressTests {
    @Test(arguments: [
        ("52:54:00:77:00:01", "52:54:00:77:00:01"), ("52-54-00-AB-CD-EF", "52:54:00:ab:cd:ef"),
        ("ff:ff:ff:ff:ff:ff", "ff:ff:ff:ff:ff:ff"), ("00:00:00:00:00:00", "00:00:00:00:00:00"),
    ])
    func macAddressesAreParsedAndPrinted(text: String, printed: String) throws {
        let address = try MACAddress(text)
        #expect(address.description == printed)
        #expect(MACAddress(bytes: address.bytes) == address)
        #expect(try roundTrip(address) == address)
    }

    @Test(arguments: [
        "", "52:54:00:77:00", "52:54:00:77:00:01:02", "5254.0077.0001", "525400770001", "52:54:00:77:00:0g",
        "52:54:00:77:00:1", "52:54:00:77::01", " 52:54:00:77:00:01", "52:54:00:77:00:01\n", "+2:54:00:77:00:01",
        "52:54:00:77:00:0１",
    ])
    func otherTextsAreNoMACAddress(text: String) { #expect(throws: InvalidValue.self) { try MACAddress(text) } }

    @Test func groupAddressesAreToldApart() throws {
        #expect(try MACAddress("ff:ff:ff:ff:ff:ff").isGroup)
        #expect(try MACAddress("01:00:5e:00:00:01").isGroup)
        #expect(try !MACAddress("52:54:00:77:00:01").isGroup)
        #expect(try MACAddress("00:00:00:00:00:01") < MACAddress("00:00:00:00:01:00"))
    }

    @Test(arguments: [("10.77.0.1", 0x0A4D_0001 as UInt32), ("0.0.0.0", 0), ("255.255.255.255", .max)])
    func ipv4AddressesAreParsedAndPrinted(text: String, value: UInt32) throws {
        let address = try IPv4Address(text)
        #expect(address.value == value && address.description == text)
        #expect(IPv4Address(bytes: address.bytes) == address)
        #expect(try roundTrip(address) == address)
    }

    @Test(arguments: [
        "", "10.77.0", "10.77.0.1.2", "10.77.0.256", "10.77.0.-1", "10.77.0.01", "010.77.0.1", "10.77..1", "10.77.0.1 ",
        "0x0a.0.0.1", "+1.0.0.0", "10.77.0.1/24", "a.b.c.d", "10,77,0,1",
    ])
    func otherTextsAreNoIPv4Address(text: String) { #expect(throws: InvalidValue.self) { try IPv4Address(text) } }

    @Test func networksKnowWhatIsInThem() throws {
        let network = try IPv4Network("10.77.0.0/22")
        #expect(network.description == "10.77.0.0/22")
        #expect(network.mask.description == "255.255.252.0")
        #expect(network.broadcast.description == "10.77.3.255")
        #expect(try network.contains(IPv4Address("10.77.3.255")))
        #expect(try !network.contains(IPv4Address("10.77.4.0")))
        #expect(try IPv4Network(containing: IPv4Address("10.77.2.9"), prefixLength: 22) == network)
        #expect(try roundTrip(network) == network)
    }

    @Test func theSmallestAndLargestNetworks() throws {
        let all = try IPv4Network("0.0.0.0/0")
        #expect(all.mask == .any && all.broadcast == .broadcast && all.contains(.broadcast))
        let one = try IPv4Network("10.77.0.1/32")
        #expect(one.mask == .broadcast && one.broadcast == one.address)
        #expect(!one.contains(IPv4Address(one.address.value + 1)))
    }

    @Test(arguments: [
        "", "10.77.0.0", "10.77.0.0/", "10.77.0.0/33", "10.77.0.0/-1", "10.77.0.1/24", "10.77.0.0/24/24", "/24",
        "10.77.0/24", "10.77.0.0/2a",
    ])
    func otherTextsAreNoNetwork(text: String) { #expect(throws: InvalidValue.self) { try IPv4Network(text) } }
}

/// A value after it was written as JSON and read again.
func roundTrip<Value: Codable>(_ value: Value) throws -> Value {
    try JSONDecoder().decode(Value.self, from: JSONEncoder().encode(value))
}

/// The JSON text of a value.
func json(_ value: some Encodable) throws -> String { String(decoding: try JSONEncoder().encode(value), as: UTF8.self) }

/// A value read from JSON text.
func decode<Value: Decodable>(_ type: Value.Type, _ text: String) throws -> Value {
    try JSONDecoder().decode(type, from: Data(text.utf8))
}
