extension DiscoveryProgress {
    /// The most that a report holds; a machine that has merely booted is not trusted.
    public enum Limit {
        /// Chunks of an image, and of what is done of it.
        public static let chunks = 1_000_000
        /// Bytes of a disk's name.
        public static let disk = 80
        /// Bytes of an error's text.
        public static let message = 500
    }
}

extension DiscoveryProgress.Stage {
    /// The stage with its texts and counts brought within their limits.
    var bounded: Self {
        typealias Limit = DiscoveryProgress.Limit
        func count(_ number: Int, _ limit: Int) -> Int { min(max(number, 0), limit) }
        switch self {
        case .started(let disk): return .started(disk: disk.cut(to: Limit.disk))
        case .writing(let done, let total, let bytes):
            return .writing(done: count(done, Limit.chunks), total: count(total, Limit.chunks), bytes: bytes)
        case .cleaning(let disk, let index, let disks, let done, let total):
            return .cleaning(
                disk: disk.cut(to: Limit.disk), index: count(index, CleanOrder.diskCountMax),
                count: count(disks, CleanOrder.diskCountMax), done: done, total: total)
        case .cleaned(let disks): return .cleaned(disks.prefix(CleanOrder.diskCountMax).map(\.bounded))
        case .rescued(let access):
            return .rescued(
                RescueAccess(
                    addresses: access.addresses, hostKey: access.hostKey.cut(to: RescueAccess.keyLengthMax),
                    fingerprint: access.fingerprint.cut(to: 100)))
        case .login(let from): return .login(from: from.cut(to: Limit.disk))
        case .failed(let message, let retryable):
            return .failed(message: message.cut(to: Limit.message), retryable: retryable)
        case .finished: return .finished
        }
    }
}

extension CleanedDisk {
    fileprivate var bounded: Self {
        Self(
            path: path.cut(to: DiscoveryProgress.Limit.disk), serial: serial?.cut(to: DiscoveryProgress.Limit.disk),
            found: found.prefix(16).map { $0.cut(to: DiscoveryProgress.Limit.disk) }, isDiscarded: isDiscarded,
            readBack: readBack)
    }
}
