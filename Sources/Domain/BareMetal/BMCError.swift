import Primitives

/// Why a BMC did not do what it was told.
public enum BMCError: UserFacingError, Hashable {
    /// User or password are wrong.
    case badCredentials
    /// No connection: nothing is known of the machine's power.
    case unreachable(cause: String)
    /// Connected, but no answer in time.
    case timeout(String)
    /// There is no such system; the systems there are.
    case notFound(system: String, available: [String])
    /// No system is named and the BMC has none, or more than one.
    case systemNotNamed(available: [String])
    /// The BMC understood and will not.
    case refused(String)
    /// The BMC asks to be left alone for a while.
    case busy(retryAfter: Duration?)
    /// The user may not do this.
    case privilege(String)
    /// The BMC does not speak this cipher suite of IPMI.
    case cipherRefused(suite: Int)
    /// The BMC does not know the command.
    case unsupported(String)
    /// A program that the conductor needs is not installed.
    case noProgram(String)
    /// The answer is not what the protocol says.
    case protocolViolation(String)
    /// The certificate is not the trusted one; the digest found, where it is known.
    case tlsUntrusted(found: Digest?)
    /// The account must get another password before the BMC does anything for it; the account's path, if it tells.
    case passwordChangeRequired(account: String?)
    /// It is being given another password, and which of the two it takes is not known yet.
    case passwordPending
    /// The conductor has not what it needs to speak to it; what is missing.
    case unusable(String)
    /// There is no BMC; what a person has to do.
    case manual(String)
    /// The caller gave up.
    case cancelled

    /// Whether the same call may succeed later without anybody changing anything.
    public var isTransient: Bool {
        switch self {
        case .unreachable, .timeout, .busy, .passwordPending: true
        case .badCredentials, .notFound, .systemNotNamed, .refused, .protocolViolation, .tlsUntrusted, .manual,
            .cancelled, .privilege, .cipherRefused, .unsupported, .noProgram, .passwordChangeRequired, .unusable:
            false
        }
    }

    public var publicMessage: String {
        switch self {
        case .badCredentials:
            "The BMC refuses the user or the password. Correct them in the BMC's entry of the site file and apply it."
        case .unreachable(let cause):
            """
            The BMC cannot be reached (\(cause)); whether the machine is on is not known. \
            Check the address in the site file, the cable, and that the BMC has power.
            """
        case .timeout(let what):
            "The BMC took too long: \(what). It is asked again; if this stays so, restart the BMC."
        case .notFound(let system, let available):
            "The BMC has no system '\(system)'; \(Self.list(available)). Correct 'system' in the site file."
        case .systemNotNamed(let available):
            "No system of the BMC is named and it is not clear which is meant; \(Self.list(available)). "
                + "Set 'system' in the site file."
        case .refused(let message):
            "The BMC refused: \(message). Look at the machine's own console or the BMC's log."
        case .busy(let retryAfter):
            "The BMC is busy. Try again \(retryAfter.map { "in \($0.milliseconds / 1000) s" } ?? "later")."
        case .privilege(let message):
            "The BMC's user may not do this (\(message)). Give the user the role Operator or Administrator at the BMC."
        case .cipherRefused(let suite):
            "The BMC does not speak cipher suite \(suite). Set 'cipherSuite' in the site file to one that it speaks, "
                + "17 if it can."
        case .unsupported(let message):
            "The BMC does not know this command: \(message)."
        case .noProgram(let program):
            "'\(program)' is not installed on the conductor's machine. Install the Debian package '\(program)'."
        case .protocolViolation(let message):
            "The BMC's answer cannot be understood: \(message). Check that the address is the BMC's."
        case .tlsUntrusted(let found):
            "The BMC's certificate" + (found.map { " (SHA-256 \($0.hex))" } ?? "")
                + " is not trusted, and nothing was sent to it. If it is the right BMC's: muster bmc approve, or "
                + "'certificateDigest' in the site file."
        case .passwordChangeRequired:
            "The BMC wants the password of its user changed before it does anything. Have the conductor make another: "
                + "muster bmc rotate-password NAME"
        case .passwordPending:
            "The BMC is being given another password, and which one it takes is not known yet. Wait; 'muster bmc show' "
                + "tells how far it is."
        case .unusable(let message): message
        case .manual(let instruction):
            "This machine has no BMC: \(instruction)"
        case .cancelled:
            "The call to the BMC was given up because the conductor stops or the order was withdrawn."
        }
    }

    private static func list(_ systems: [String]) -> String {
        systems.isEmpty ? "it has none" : "it has: " + systems.prefix(20).joined(separator: ", ").printable(limit: 400)
    }
}
