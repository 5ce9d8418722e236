import Primitives

/// Quantities as people write them in a site file.
enum SiteUnits {
    /// A size: bytes, or a number with `KiB`, `MiB`, `GiB` or `TiB`.
    static func size(_ text: String) throws(InvalidValue) -> ByteCount {
        let units: [(name: String, shift: UInt64)] = [("KiB", 10), ("MiB", 20), ("GiB", 30), ("TiB", 40)]
        let unit = units.first { text.hasSuffix($0.name) }
        let digits = text.dropLast(unit?.name.count ?? 0).split(separator: " ").joined()
        guard let count = UInt64(digits), count < UInt64.max >> (unit?.shift ?? 0) else {
            throw InvalidValue("size", text, expected: "a whole number of bytes, or with a unit as in '8 GiB'")
        }
        return ByteCount(bytes: count << (unit?.shift ?? 0))
    }

    /// A time: seconds, or a number with `s`, `m` or `h`; 60 seconds to a week.
    static func leaseTime(_ text: String) throws(InvalidValue) -> UInt32 {
        let factor: UInt32? =
            switch text.last {
            case "s": 1
            case "m": 60
            case "h": 3600
            default: nil
            }
        let digits = factor == nil ? text[...] : text.dropLast()
        let product = UInt32(digits)?.multipliedReportingOverflow(by: factor ?? 1)
        guard let product, !product.overflow, (60...604_800).contains(product.partialValue) else {
            throw InvalidValue("lease time", text, expected: "60 to 604800 seconds, or as in '30m' or '1h'")
        }
        return product.partialValue
    }
}
