import Primitives

/// What can go wrong with a virtual rack; each text says what to do.
public enum RackError: UserFacingError, Hashable {
    /// The rack file is not as it must be: file, path of the key, and what is wrong there.
    case invalidFile(file: String, path: String, problem: String)
    /// Namespaces, bridges and taps need root.
    case notRoot
    /// A program or file is not installed: what, and the Debian package that has it.
    case missing(String, package: String)
    /// A program ended with an error: its command line, exit status and last output.
    case commandFailed(command: String, status: String, output: String)
    /// Something did not happen in time: what, after how long, and where to look.
    case timedOut(what: String, after: Duration, hint: String)
    /// The rack is not up.
    case notUp(name: String)
    /// There is no machine of this name; the names there are.
    case unknownMachine(String, known: [String])
    /// The BMC answered with an error: request, HTTP status (0: no answer) and body.
    case redfish(request: String, status: Int, body: String)
    /// Something that is left over after `down`.
    case leftOver([String])
    /// Anything else, as a full sentence or two.
    case failed(String)

    /// What is wrong and what to do.
    public var publicMessage: String {
        switch self {
        case .invalidFile(let file, let path, let problem):
            path.isEmpty ? "\(file): \(problem)" : "\(file): \(path): \(problem)"
        case .notRoot:
            "A virtual rack needs network namespaces, bridges and taps, and so needs root: run this as root."
        case .missing(let what, let package):
            "\(what) is not installed: run `apt-get install --no-install-recommends \(package)`."
        case .commandFailed(let command, let status, let output):
            "`\(command)` ended with \(status)\(output.isEmpty ? "." : ": \(output)")"
        case .timedOut(let what, let limit, let hint):
            "\(what) did not happen within \(limit.milliseconds / 1000) s. \(hint)"
        case .notUp(let name):
            "The rack '\(name)' is not up: run `muster-rack up` first."
        case .unknownMachine(let name, let known):
            "There is no machine '\(name.printable(limit: 80))' in this rack; there is \(known.joined(separator: ", "))."
        case .redfish(let request, let status, let body):
            status == 0
                ? "\(request): the BMC did not answer: \(body) `muster-rack up` restarts a dead one."
                : "\(request): the BMC answered \(status): \(body)"
        case .leftOver(let things):
            "Left over from the rack: \(things.joined(separator: "; "))."
        case .failed(let text):
            text
        }
    }
}
