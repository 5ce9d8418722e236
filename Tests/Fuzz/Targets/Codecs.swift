import DHCP
import IPMI
import LLDP
import Primitives
import TFTP

extension FuzzTarget {
    /// A DHCP message decodes from its own encoding, whatever size it may have.
    static let dhcp = FuzzTarget("dhcp", sizeMax: 1500) { bytes in
        guard let packet = try? DHCPPacket(decoding: bytes) else { return }
        let options = packet.options
        _ = (options.messageType, options.requestedAddress, options.serverIdentifier, options.maximumMessageSize)
        _ = (options.userClasses, options.clientArchitectures, options.clientInterface, options.machineUUID)
        for code in options.codes {
            _ = (options.addresses(code), options.seconds(code), options.text(code), options.encapsulated(code))
        }
        _ = (packet.macAddress, packet.wantsBroadcast, options.selectedLink, options.interfaceMTU)
        for size in [packet.payloadSizeMax, DHCPPacket.sizeMax] {
            guard let encoded = try? packet.encoded(sizeMax: size) else { continue }
            try require(encoded.count <= max(size, 300), "an encoding within its limit")
            try require((try? DHCPPacket(decoding: encoded)) == packet, "a message that its encoding does not change")
        }
    }

    /// A TFTP message decodes from its own encoding, and a transfer that is sent it ends in bounded time with bounded
    /// output.
    static let tftp = FuzzTarget("tftp", sizeMax: 1500) { bytes in
        guard let packet = try? TFTPPacket(decoding: bytes) else { return }
        var options: [TFTPOption] = []
        switch packet {
        case .readRequest(let request), .writeRequest(let request):
            options = request.options
            _ = request.path
        case .error: return
        default: break
        }
        try require(
            (try? TFTPPacket(decoding: packet.encoded)) == packet, "a message that its encoding does not change")
        let content = [UInt8](repeating: 7, count: 3000)
        var session = TFTPReadSession(content, for: options, now: .zero)
        try require(session.step(.begin, now: .zero).count <= 16, "at most a window at the beginning")
        try require(session.step(.received(packet), now: .seconds(1)).count <= 17, "at most a window in answer")
        var now: Duration = .seconds(2)
        for _ in 0..<1000 {
            let effects = session.step(.tick, now: now)
            if effects.contains(where: { if case .finish = $0 { true } else { false } }) { return }
            now += .seconds(1)
        }
        try require(session.step(.tick, now: .seconds(100_000)).isEmpty, "a transfer that ends")
    }

    /// What a switch says of itself comes out short and printable.
    static let lldp = FuzzTarget("lldp", sizeMax: 1500) { bytes in
        guard let neighbour = try? LLDPNeighbour(bytes) else { return }
        let texts = [neighbour.chassis, neighbour.port, neighbour.portDescription, neighbour.systemName]
        for text in texts.compactMap(\.self) {
            try require(text.utf8.count <= 5000 && !text.utf8.contains { $0 < 0x20 }, "a short printable text")
        }
    }

    /// What `ipmitool` prints, after the exit status in the first byte; and a BMC's answers in band.
    static let ipmi = FuzzTarget("ipmi", sizeMax: 4096) { bytes in
        let text = String(decoding: bytes.dropFirst(), as: UTF8.self)
        let parts = text.split(separator: "\u{0}", maxSplits: 1).map(String.init)
        let answer = IPMIAnswer(
            status: Int32(bytes.first ?? 0), output: parts.first ?? "", errorOutput: parts.dropFirst().first ?? "")
        _ = try? answer.isPoweredOn()
        if let guid = try? answer.guid() {
            try require(guid.utf8.allSatisfy { $0 < 0x80 }, "a GUID of ASCII digits, not '\(guid)'")
        }
        if let product = try? answer.product() {
            for text in [product.manufacturer, product.name, product.serial].compactMap(\.self) {
                try require(text.unicodeScalars.count <= 1200, "a short product text")
            }
        }
        _ = try? answer.firmwareVersion()
        let sensors = (try? answer.sensors()) ?? []
        try require(sensors.count <= IPMISensor.countMax && sensors.allSatisfy { $0.value.isFinite }, "bounded sensors")
        var rest = bytes[...]
        _ = OwnBMC { _ in
            let length = Int(rest.popFirst() ?? 0) % 32
            let part = rest.prefix(length)
            rest = rest.dropFirst(length)
            return OwnBMCAnswer(Array(part))
        }
    }
}
