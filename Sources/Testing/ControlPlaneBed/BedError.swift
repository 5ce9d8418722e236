import Primitives

/// What can go wrong with a bed of controllers; each text says what to do.
public enum BedError: UserFacingError, Hashable {
    /// Namespaces and bridges need root.
    case notRoot
    /// A program is not installed: what, and the Debian package that has it.
    case missing(String, package: String)
    /// There is no bed at this path.
    case notUp(String)
    /// Something that is left over after `down`.
    case leftOver([String])
    /// Anything else, as a full sentence or two.
    case failed(String)

    /// What is wrong and what to do.
    public var publicMessage: String {
        switch self {
        case .notRoot: "Controllers in network namespaces need root: run this as root."
        case .missing(let what, let package):
            "\(what) is not installed: run `apt-get install --no-install-recommends \(package)`."
        case .notUp(let path): "There is no bed at \(path): run `muster-bed up` first."
        case .leftOver(let things): "Left over from the bed: \(things.joined(separator: "; "))."
        case .failed(let text): text
        }
    }
}
