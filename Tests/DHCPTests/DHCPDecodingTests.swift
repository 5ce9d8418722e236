import Primitives
import Testing

@testable import DHCP

@Suite("DHCP decoding")
struct DHCPDecodingTests {
    @Test("iPXE in a BIOS ROM is read as captured")
    func ipxe() throws {
        let packet = try DHCPPacket(decoding: Captured.ipxeBIOS)
        #expect(packet.operation == .request)
        #expect(packet.transaction == 0xDEAD_BEEF)
        #expect(packet.seconds == 4)
        #expect(!packet.wantsBroadcast)
        #expect(packet.macAddress == Captured.mac)
        #expect(packet.options.messageType == .discover)
        #expect(packet.options.userClasses == [Array("iPXE".utf8)])
        #expect(packet.options.clientArchitectures == [0])
        let interface = try #require(packet.options.clientInterface)
        #expect(interface == (1, 2, 1))
        #expect(packet.options.machineUUID == "01234567-89ab-cdef-0123-456789abcdef")
        #expect(packet.options.text(.vendorClass) == "PXEClient:Arch:00000:UNDI:002001")
        #expect(packet.options.maximumMessageSize == 1472)
        #expect(packet.payloadSizeMax == 1444)
        let inner = try #require(packet.options.encapsulated(.ipxe))
        #expect(inner.first == EncapsulatedDHCPOption(code: 0xB1, value: [1, 0x1A, 0xF4, 0x10, 0x00]))
        #expect(inner.dropFirst().first == EncapsulatedDHCPOption(code: 0xEB, value: [1, 0, 0]))
    }

    @Test(
        "OVMF asks for broadcast, as PXE and as HTTP client",
        arguments: [(Captured.ovmfPXE, 7), (Captured.ovmfHTTP, 16)] as [([UInt8], UInt16)])
    func ovmf(bytes: [UInt8], architecture: UInt16) throws {
        let packet = try DHCPPacket(decoding: bytes)
        #expect(packet.wantsBroadcast)
        #expect(packet.options.clientArchitectures == [architecture])
        #expect(packet.options.userClasses.isEmpty)
        #expect(packet.options.machineUUID == "01234567-89ab-cdef-0123-456789abcdef")
    }

    @Test("user classes are read with and without lengths")
    func userClasses() {
        var options = DHCPOptions()
        options[.userClass] = [4] + Array("iPXE".utf8) + [3] + Array("abc".utf8)
        #expect(options.userClasses == [Array("iPXE".utf8), Array("abc".utf8)])
        options[.userClass] = Array("iPXE".utf8)
        #expect(options.userClasses == [Array("iPXE".utf8)])
        options[.userClass] = []
        #expect(options.userClasses == [])
    }

    @Test("boards without a UUID have none", arguments: [0x00, 0xFF] as [UInt8])
    func emptyUUID(byte: UInt8) {
        var options = DHCPOptions()
        options[.clientMachineIdentifier] = [0] + Array(repeating: byte, count: 16)
        #expect(options.machineUUID == nil)
    }

    @Test("an option in several pieces is joined")
    func longOption() throws {
        let bytes = Captured.head() + [53, 1, 1, 43, 2, 1, 2, 12, 1, 65, 43, 3, 3, 4, 5, 255]
        let packet = try DHCPPacket(decoding: bytes)
        #expect(packet.options[.vendorSpecific] == [1, 2, 3, 4, 5])
        #expect(packet.options.text(.hostName) == "A")
    }

    @Test("overloaded fields hold options: file first, then sname")
    func overload() throws {
        let bytes =
            Captured.head(file: [43, 1, 2, 67, 1, 66, 255], name: [43, 1, 3, 255]) + [
                53, 1, 1, 43, 1, 1, 52, 1, 3, 255,
            ]
        let packet = try DHCPPacket(decoding: bytes)
        #expect(packet.options[.vendorSpecific] == [1, 2, 3])
        #expect(packet.options.text(.bootFileName) == "B")
        #expect(packet.options[.overload] == nil)
        #expect(packet.bootFile.isEmpty && packet.serverName.isEmpty)

        let onlyName = Captured.head(file: Array("/a".utf8), name: [12, 1, 67]) + [52, 1, 2, 255]
        let second = try DHCPPacket(decoding: onlyName)
        #expect(second.bootFile == Array("/a".utf8))
        #expect(second.options.text(.hostName) == "C")
    }

    @Test("relay information has neither pad nor end")
    func relay() throws {
        let bytes = Captured.head() + [53, 1, 1, 82, 8, 0, 1, 9, 255, 1, 7, 1, 0, 255]
        let packet = try DHCPPacket(decoding: bytes)
        #expect(
            packet.options.encapsulated(.relayAgentInformation) == [
                .init(code: 0, value: [9]), .init(code: 255, value: [7]), .init(code: 1, value: []),
            ])
        var damaged = packet.options
        damaged[.relayAgentInformation] = [1, 5, 0]
        #expect(damaged.encapsulated(.relayAgentInformation) == nil)
    }

    @Test("damaged messages are typed errors that say what is wrong")
    func errors() {
        func error(_ bytes: [UInt8]) -> DHCPDecodingError? {
            do {
                _ = try DHCPPacket(decoding: bytes)
                return nil
            } catch { return error }
        }
        var operation = Captured.ipxeBIOS
        operation[0] = 3
        var length = Captured.ipxeBIOS
        length[2] = 17
        var cookie = Captured.ipxeBIOS
        cookie[236] = 0
        #expect(error([]) == .truncated(count: 0))
        #expect(error(Array(Captured.ipxeBIOS.prefix(239))) == .truncated(count: 239))
        #expect(error(Array(repeating: 0, count: 4097)) == .tooLarge(count: 4097))
        #expect(error(operation) == .unknownOperation(3))
        #expect(error(length) == .hardwareAddressLength(17))
        #expect(error(cookie) == .noMagicCookie)
        #expect(error(Captured.head() + [53]) == .optionTruncated(code: 53))
        #expect(error(Captured.head() + [53, 2, 1]) == .optionTruncated(code: 53))
        #expect(error(Captured.head() + [52, 1, 4]) == .overload)
        #expect(error(Captured.head() + [52, 0]) == .overload)
        #expect(error(Captured.head(file: [12, 200]) + [52, 1, 1]) == .optionTruncated(code: 12))
        #expect(error(Captured.head()) == nil)
        #expect(error(operation)?.publicMessage.contains("operation 3") == true)
    }

    @Test("only Ethernet unicast addresses are clients")
    func hardware() throws {
        var packet = try DHCPPacket(decoding: Captured.ipxeBIOS)
        packet.hardwareAddress[0] = 0x53
        #expect(packet.macAddress == nil)
        packet.hardwareAddress = [0, 0, 0, 0, 0, 0]
        #expect(packet.macAddress == nil)
        packet.hardwareAddress = Captured.mac.bytes
        packet.hardwareType = 32
        #expect(packet.macAddress == nil)
    }
}
