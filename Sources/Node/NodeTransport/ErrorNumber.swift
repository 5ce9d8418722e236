import Glibc

/// The `errno` values that mean different things to whoever connects (connect(2)).
enum ErrorNumber {
    static let connectionRefused = ECONNREFUSED
    static let timedOut = ETIMEDOUT
    static let networkUnreachable = ENETUNREACH
    static let hostUnreachable = EHOSTUNREACH
}
