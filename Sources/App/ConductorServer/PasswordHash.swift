import CCrypt
import Glibc
import Primitives

/// Hashes of passwords as crypt(5) has them.
enum PasswordHash {
    /// libcrypt could not make one.
    struct Failure: UserFacingError, Hashable {
        var publicMessage: String {
            "A password cannot be hashed: libcrypt on the conductor's machine has no yescrypt. Install Debian's libcrypt1."
        }
    }

    /// The yescrypt hash of `password` with a salt of its own; takes some ten milliseconds. Throws `Failure`.
    static func make(_ password: SecretText) throws(Failure) -> String {
        guard let setting = crypt_gensalt_ra("$y$", 0, nil, 0) else { throw Failure() }
        defer { free(setting) }
        var space: UnsafeMutableRawPointer?
        var size: Int32 = 0
        defer {
            if let space { explicit_bzero(space, Int(size)) }
            free(space)
        }
        // SAFETY: crypt_ra allocates `space` and keeps the text that it returns in it.
        guard let text = crypt_ra(password.revealed, setting, &space, &size) else { throw Failure() }
        let hash = String(cString: text)
        guard hash.hasPrefix("$y$") else { throw Failure() }
        return hash
    }
}
