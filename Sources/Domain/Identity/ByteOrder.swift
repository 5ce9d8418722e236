extension String {
    /// Whether this comes first by its bytes, which is the order of code points.
    func isBefore(_ other: String) -> Bool { utf8.lexicographicallyPrecedes(other.utf8) }
}
