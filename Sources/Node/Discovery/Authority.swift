import FoundationEssentials
import ImageChunks
import Primitives

/// The site's CA certificate as it comes over the plain port, believed only by its digest.
struct Authority: Hashable, Sendable {
    /// The one certificate, in PEM.
    let pem: String

    private static let begin = "-----BEGIN CERTIFICATE-----"
    private static let end = "-----END CERTIFICATE-----"

    /// The most certificates that are looked at.
    private static let countMax = 4

    /// The certificate of `text` whose DER form has the SHA-256 `fingerprint`, among several while the site's authority
    /// is being replaced; nil: there is none.
    init?(_ text: String, fingerprint: Primitives.Digest) {
        var rest = text[...]
        for _ in 0..<Self.countMax {
            guard let start = rest.firstRange(of: Self.begin),
                let stop = rest[start.upperBound...].firstRange(of: Self.end)
            else { return nil }
            let base64 = rest[start.upperBound..<stop.lowerBound].filter { !$0.isWhitespace }
            guard let der = Data(base64Encoded: String(base64)), !der.isEmpty else { return nil }
            if Array(der).withUnsafeBytes({ ChunkDigest(of: $0) }).digest == fingerprint {
                pem = String(rest[start.lowerBound..<stop.upperBound]) + "\n"
                return
            }
            rest = rest[stop.upperBound...]
        }
        return nil
    }
}

/// The times that HTTP headers hold (RFC 9110 section 5.6.7).
enum HTTPDate {
    private static let months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]

    /// Reads for example `Sun, 06 Nov 1994 08:49:37 GMT`; nil for any other form.
    static func parse(_ text: String) -> Timestamp? {
        let parts = text.split(separator: " ")
        guard parts.count == 6, parts[5] == "GMT", let day = Int(parts[1]), let year = Int(parts[3]),
            let month = months.firstIndex(of: String(parts[2])), (1...31).contains(day), (1970...9999).contains(year)
        else { return nil }
        let clock = parts[4].split(separator: ":").compactMap { Int($0) }
        guard clock.count == 3, (0..<24).contains(clock[0]), (0..<60).contains(clock[1]), (0...60).contains(clock[2])
        else { return nil }
        // Days since 1970-01-01 with years that begin in March.
        let shifted = month < 2 ? year - 1 : year
        let monthIndex = (month + 10) % 12
        let dayOfYear = (153 * monthIndex + 2) / 5 + day - 1
        let days = shifted * 365 + shifted / 4 - shifted / 100 + shifted / 400 + dayOfYear - 719_468
        let seconds = days * 86_400 + clock[0] * 3600 + clock[1] * 60 + clock[2]
        return Timestamp(millisecondsSinceEpoch: Int64(seconds) * 1000)
    }
}
