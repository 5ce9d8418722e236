import ControlPlane
import FoundationEssentials
import Identity
import Primitives

/// The file `moved` in a seed's state directory: there from the moment on at which the controllers' store may be open.
struct PivotNoteFile: Sendable {
    let path: String

    init(directory: String) { path = "\(directory)/moved" }

    /// The note; nil: there is none. Throws `PrivateFileError`, `.malformed` too.
    func load() throws(PrivateFileError) -> PivotNote? {
        guard let bytes = try PrivateFile.read(path) else { return nil }
        do { return try JSONDecoder().decode(PivotNote.self, from: Data(bytes)) } catch {
            throw .malformed(path, expected: "a note of where the site is being moved to, as this conductor wrote it")
        }
    }

    /// Puts `note` in the place of the one before, or takes that away; it is on the disk when this returns.
    func save(_ note: PivotNote?) throws {
        guard let note else { return try PrivateFile.remove(path) }
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .prettyPrinted, .withoutEscapingSlashes]
        try PrivateFile.replace(path, Array(try encoder.encode(note)))
    }
}
