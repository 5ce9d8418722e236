import Primitives
import WireCoding

extension DHCPPacket {
    /// The most bytes that are decoded.
    public static let sizeMax = 4096

    private static let magicCookie: [UInt8] = [99, 130, 83, 99]
    /// Bytes before the options.
    private static let fixedSize = 240

    /// Decodes one UDP payload.
    public init(decoding bytes: [UInt8]) throws(DHCPDecodingError) {
        guard bytes.count <= Self.sizeMax else { throw .tooLarge(count: bytes.count) }
        let fields: FixedFields
        do { fields = try FixedFields(bytes) } catch { throw .truncated(count: bytes.count) }
        guard let operation = Operation(rawValue: fields.operation) else {
            throw .unknownOperation(fields.operation)
        }
        guard fields.hardwareLength <= 16 else { throw .hardwareAddressLength(fields.hardwareLength) }
        guard fields.cookie == Self.magicCookie else { throw .noMagicCookie }

        var options = DHCPOptions()
        try options.append(area: fields.options)
        var overloaded: UInt8 = 0
        if let overload = options[.overload] {
            guard overload.count == 1, (1...3).contains(overload[0]) else { throw .overload }
            overloaded = overload[0]
            if overloaded & 1 != 0 { try options.append(area: fields.file) }
            if overloaded & 2 != 0 { try options.append(area: fields.name) }
            options[.overload] = nil
        }

        self.init(
            operation: operation, transaction: fields.transaction, hardwareType: fields.hardwareType,
            hardwareAddress: Array(fields.hardwareAddress.prefix(Int(fields.hardwareLength))),
            seconds: fields.seconds, flags: fields.flags, options: options)
        hops = fields.hops
        clientAddress = IPv4Address(fields.addresses[0])
        yourAddress = IPv4Address(fields.addresses[1])
        nextServer = IPv4Address(fields.addresses[2])
        relayAddress = IPv4Address(fields.addresses[3])
        serverName = overloaded & 2 != 0 ? [] : Array(fields.name.prefix { $0 != 0 })
        bootFile = overloaded & 1 != 0 ? [] : Array(fields.file.prefix { $0 != 0 })
    }

    /// The fields as they stand in the message (RFC 2131 figure 1).
    private struct FixedFields {
        let operation: UInt8, hardwareType: UInt8, hardwareLength: UInt8, hops: UInt8
        let transaction: UInt32
        let seconds: UInt16, flags: UInt16
        var addresses: [UInt32] = []
        let hardwareAddress: ArraySlice<UInt8>, name: ArraySlice<UInt8>, file: ArraySlice<UInt8>
        let cookie: [UInt8]
        let options: ArraySlice<UInt8>

        init(_ bytes: [UInt8]) throws(WireError) {
            var reader = ByteReader(bytes)
            operation = try reader.readUInt8()
            hardwareType = try reader.readUInt8()
            hardwareLength = try reader.readUInt8()
            hops = try reader.readUInt8()
            transaction = try reader.readUInt32()
            seconds = try reader.readUInt16()
            flags = try reader.readUInt16()
            for _ in 0..<4 { addresses.append(try reader.readUInt32()) }
            hardwareAddress = try reader.bytes(16)
            name = try reader.bytes(64)
            file = try reader.bytes(128)
            cookie = Array(try reader.bytes(4))
            options = reader.rest()
        }
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
