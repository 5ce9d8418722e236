// A libFuzzer target: any bytes are a DHCP message or an error, and a message decodes from its own encoding.
// `Tests/Fuzz/run.sh dhcp SECONDS` builds it together with the codec's sources into one module and runs it.

@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzDHCP(_ start: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
    let bytes = Array(UnsafeBufferPointer(start: start, count: count))
    guard let packet = try? DHCPPacket(decoding: bytes) else { return 0 }
    let options = packet.options
    _ = (options.messageType, options.requestedAddress, options.serverIdentifier, options.maximumMessageSize)
    _ = (options.userClasses, options.clientArchitectures, options.clientInterface, options.machineUUID)
    for code in options.codes {
        _ = (options.addresses(code), options.seconds(code), options.text(code), options.encapsulated(code))
    }
    _ = (packet.macAddress, packet.wantsBroadcast, options.selectedLink, options.interfaceMTU)
    for size in [packet.payloadSizeMax, DHCPPacket.sizeMax] {
        guard let encoded = try? packet.encoded(sizeMax: size) else { continue }
        guard encoded.count <= max(size, 300), let again = try? DHCPPacket(decoding: encoded), again == packet else {
            fatalError("a message changed by being encoded")
        }
    }
    return 0
}
