import Primitives

/// How often each machine and all together may ask; bounded, and the same for the same calls.
struct ClientRates: Sendable {
    enum Answer: Hashable { case admitted, refused, refusedAndReported }

    private let clientRate: Int
    private let totalRate: Int
    private let countMax: Int
    private var total: Bucket
    private var lastReport: Timestamp?
    // Two generations: when the younger is half of what may be kept, the older is forgotten.
    private var young: [MACAddress: Entry] = [:]
    private var old: [MACAddress: Entry] = [:]

    private struct Entry {
        var bucket: Bucket
        var reported: Timestamp?
    }

    /// Tokens that come back with time, in thousandths.
    private struct Bucket {
        var tokens: Int64
        var filled: Timestamp?

        /// Takes one token, of which `rate` come back a second and `4 * rate` can be there.
        mutating func take(rate: Int, now: Timestamp) -> Bool {
            if let filled {
                let elapsed = min(max(now.since(filled).milliseconds, 0), 60_000)
                tokens = min(tokens + elapsed * Int64(rate), Int64(rate) * 4000)
            }
            filled = now
            guard tokens >= 1000 else { return false }
            tokens -= 1000
            return true
        }
    }

    init(_ limits: LeaseEngine.Limits) {
        clientRate = max(1, limits.clientRate)
        totalRate = max(1, limits.totalRate)
        countMax = max(2, limits.clientCountMax)
        total = Bucket(tokens: Int64(totalRate) * 4000)
    }

    mutating func admit(_ mac: MACAddress, _ now: Timestamp) -> Answer {
        guard total.take(rate: totalRate, now: now) else {
            if let lastReport, now.since(lastReport) < .seconds(60) { return .refused }
            lastReport = now
            return .refusedAndReported
        }
        var entry = entry(mac)
        let isAdmitted = entry.bucket.take(rate: clientRate, now: now)
        young[mac] = entry
        return isAdmitted ? .admitted : .refused
    }

    /// Whether the machine was not reported in the last ten seconds.
    mutating func mayReport(_ mac: MACAddress, _ now: Timestamp) -> Bool {
        var entry = entry(mac)
        if let reported = entry.reported, now.since(reported) < .seconds(10) { return false }
        entry.reported = now
        young[mac] = entry
        return true
    }

    private mutating func entry(_ mac: MACAddress) -> Entry {
        if let entry = young[mac] { return entry }
        if young.count >= countMax / 2 {
            old = young
            young = [:]
        }
        return old.removeValue(forKey: mac) ?? Entry(bucket: Bucket(tokens: Int64(clientRate) * 4000))
    }
}
