/// Words for operations.
enum HistoryText {
    /// A span of time in milliseconds since `origin`.
    static func span(_ start: Int64, _ end: Int64?, since origin: Int64) -> String {
        "[\(milliseconds(start - origin)) … \(end.map { milliseconds($0 - origin) } ?? "?")]"
    }

    static func words(_ action: RegisterOperation.Action) -> String {
        switch action {
        case .read(let value): "read \(value)"
        case .write(let value): "write \(value)"
        case .swap(let old, let new): "change \(old) to \(new)"
        case .refusedSwap(let old): "refused, as it was not \(old)"
        }
    }

    static func words(_ action: SetOperation.Action) -> String {
        switch action {
        case .add(let element): "add \(element)"
        case .remove(let element): "remove \(element)"
        case .missed(let element): "could not remove \(element), as it was not there"
        case .list(let elements): "listed \(elements.count) elements"
        }
    }

    private static func milliseconds(_ nanoseconds: Int64) -> String {
        let tenths = nanoseconds / 100_000
        return "\(tenths / 10).\(abs(tenths % 10)) ms"
    }
}
