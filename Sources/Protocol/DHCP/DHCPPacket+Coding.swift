import Primitives

extension DHCPPacket {
    /// The most bytes that are decoded.
    public static let sizeMax = 4096

    private static let magicCookie: [UInt8] = [99, 130, 83, 99]
    private static let fixedSize = 240

    /// Decodes one UDP payload.
    public init(decoding bytes: [UInt8]) throws(DHCPDecodingError) {
        guard bytes.count >= Self.fixedSize else { throw .truncated(count: bytes.count) }
        guard bytes.count <= Self.sizeMax else { throw .tooLarge(count: bytes.count) }
        guard let operation = Operation(rawValue: bytes[0]) else { throw .unknownOperation(bytes[0]) }
        guard bytes[2] <= 16 else { throw .hardwareAddressLength(bytes[2]) }
        guard Array(bytes[236..<240]) == Self.magicCookie else { throw .noMagicCookie }
        func number(_ range: Range<Int>) -> UInt32 { bytes[range].reduce(0) { $0 << 8 | UInt32($1) } }

        var options = DHCPOptions()
        try options.append(area: bytes[240...])
        var fileHoldsOptions = false
        var nameHoldsOptions = false
        if let overload = options[.overload] {
            guard overload.count == 1, (1...3).contains(overload[0]) else { throw .overload }
            options[.overload] = nil
            fileHoldsOptions = overload[0] & 1 != 0
            nameHoldsOptions = overload[0] & 2 != 0
            if fileHoldsOptions { try options.append(area: bytes[108..<236]) }
            if nameHoldsOptions { try options.append(area: bytes[44..<108]) }
            options[.overload] = nil
        }

        self.init(
            operation: operation, transaction: number(4..<8), hardwareType: bytes[1],
            hardwareAddress: Array(bytes[28..<28 + Int(bytes[2])]), seconds: UInt16(number(8..<10)),
            flags: UInt16(number(10..<12)), options: options)
        hops = bytes[3]
        clientAddress = IPv4Address(number(12..<16))
        yourAddress = IPv4Address(number(16..<20))
        nextServer = IPv4Address(number(20..<24))
        relayAddress = IPv4Address(number(24..<28))
        serverName = nameHoldsOptions ? [] : Array(bytes[44..<108].prefix { $0 != 0 })
        bootFile = fileHoldsOptions ? [] : Array(bytes[108..<236].prefix { $0 != 0 })
    }

    /// The UDP payload, at least 300 bytes (BOOTP, RFC 1542 section 2.1) and at most `sizeMax`.
    ///
    /// Options that do not fit go to `file` and `sname` when these are empty (option 52), values over 255 bytes are
    /// split (RFC 3396), option 82 comes last (RFC 3046 section 2.2).
    public func encoded(sizeMax: Int = 548) throws(DHCPEncodingError) -> [UInt8] {
        for (field, count, limit) in [
            ("chaddr", hardwareAddress.count, 16), ("sname", serverName.count, 64), ("file", bootFile.count, 128),
        ] where count > limit {
            throw .fieldTooLong(field: field, count: count, limit: limit)
        }
        let areas = try optionAreas(sizeMax: sizeMax)
        var bytes: [UInt8] = [operation.rawValue, hardwareType, UInt8(hardwareAddress.count), hops]
        bytes.reserveCapacity(sizeMax)
        for shift in stride(from: 24, through: 0, by: -8) {
            bytes.append(UInt8(truncatingIfNeeded: transaction >> UInt32(shift)))
        }
        bytes += [UInt8(seconds >> 8), UInt8(seconds & 0xFF), UInt8(flags >> 8), UInt8(flags & 0xFF)]
        bytes += clientAddress.bytes + yourAddress.bytes + nextServer.bytes + relayAddress.bytes
        bytes += Self.padded(hardwareAddress, to: 16)
        bytes += Self.padded(areas.name ?? serverName, to: 64)
        bytes += Self.padded(areas.file ?? bootFile, to: 128)
        bytes += Self.magicCookie + areas.main
        return Self.padded(bytes, to: max(bytes.count, 300))
    }

    private static func padded(_ bytes: [UInt8], to count: Int) -> [UInt8] {
        bytes + Array(repeating: 0, count: count - bytes.count)
    }

    /// The options as they stand in the options field and, when overloaded, in `file` and `sname`.
    private func optionAreas(sizeMax: Int) throws(DHCPEncodingError) -> (main: [UInt8], file: [UInt8]?, name: [UInt8]?)
    {
        let pieces = options.pieces
        let whole = pieces.reduce(1) { $0 + $1.count }
        let capacity = sizeMax - Self.fixedSize
        if whole <= capacity { return (pieces.flatMap { $0 } + [DHCPOptions.end], nil, nil) }

        // The overload option itself takes three bytes and comes right after the first option, the message type.
        var capacities = [capacity - 4, bootFile.isEmpty ? 127 : 0, serverName.isEmpty ? 63 : 0]
        var areas: [[UInt8]] = [[], [], []]
        var area = 0
        for piece in pieces {
            while area < 3, piece.count > capacities[area] { area += 1 }
            guard area < 3 else { throw .tooLarge(limit: sizeMax) }
            areas[area] += piece
            capacities[area] -= piece.count
        }
        let overload: UInt8 = (areas[1].isEmpty ? 0 : 1) | (areas[2].isEmpty ? 0 : 2)
        let first = pieces.first.map { areas[0].starts(with: $0) ? $0.count : 0 } ?? 0
        areas[0].insert(contentsOf: [DHCPOptions.Code.overload.rawValue, 1, overload], at: first)
        let end = [DHCPOptions.end]
        return (
            areas[0] + end, areas[1].isEmpty ? nil : areas[1] + end, areas[2].isEmpty ? nil : areas[2] + end
        )
    }
}
