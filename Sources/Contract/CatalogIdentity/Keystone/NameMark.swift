import Primitives

/// Keeps a name from being given twice: whoever makes or renames something writes or deletes its mark in the same commit.
public typealias NameMark = IdentityEntry<NameMarkSpec>

/// What has the name.
public struct NameMarkSpec: IdentitySpec {
    public static let kind = "identity.name"

    /// The identifier of what has it.
    public var id: String

    /// A mark of `id`.
    public init(id: String) { self.id = id }

    /// The mark's own name: of `name` among the things of one sort in one place.
    public static func name(sort: String, in place: String, _ name: String) -> String {
        "\(sort).\(CatalogName.digest(of: "\(place)\u{0}\(name)"))"
    }
}
