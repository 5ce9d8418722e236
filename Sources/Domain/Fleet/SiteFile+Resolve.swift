import CatalogBareMetal
import FleetContract
import Primitives

extension SiteFile {
    /// What stands in the files and variables that a site file names.
    public struct Surroundings {
        /// The text of a file whose path is relative to the site file; throws what says why it cannot be read.
        public var file: (_ path: String) throws -> String
        /// The value of an environment variable; nil: it is not set.
        public var variable: (_ name: String) -> String?

        /// Surroundings.
        public init(
            file: @escaping (_ path: String) throws -> String, variable: @escaping (_ name: String) -> String?
        ) {
            self.file = file
            self.variable = variable
        }
    }

    /// The whole site, with the keys and passwords that are elsewhere; throws `SiteError`.
    ///
    /// A file may hold several keys, one a line, with empty lines and `#` comments between them. A newline at the end
    /// of a password's file is not part of the password.
    public func resolved(in surroundings: Surroundings) throws(SiteError) -> SiteDocument {
        var document = document
        var problems: [SiteProblem] = []
        func read(_ file: String, at path: String) -> String? {
            do { return try surroundings.file(file) } catch {
                let why = (error as? any UserFacingError)?.publicMessage ?? "\(error)".printable(limit: 200)
                problems.append(SiteProblem(path: path, line: line(of: path), message: why))
                return nil
            }
        }
        var keyFiles = sshKeyFiles.enumerated().map { (path: "site.sshKeyFiles[\($0.offset)]", file: $0.element) }
        if let more = sshKeyFilesVariable.flatMap(surroundings.variable) {
            keyFiles += more.split(separator: ":").map { ("site.sshKeyFilesEnv", String($0)) }
        }
        for (path, file) in keyFiles {
            guard let text = read(file, at: path) else { continue }
            let keys = text.split(whereSeparator: \.isNewline).map(String.init).filter { !$0.hasPrefix("#") }
            for key in keys {
                do { try SSHKeyForm.check(key) } catch {
                    let message = "\(file.printable(limit: 200)): \(error.publicMessage)"
                    problems.append(SiteProblem(path: path, line: line(of: path), message: message))
                }
            }
            document.site.sshKeys += keys.filter { !document.site.sshKeys.contains($0) }
        }
        for (index, bmc) in document.bmcs.enumerated() {
            let path = "bmcs[\(index)]"
            switch passwords[bmc.name] {
            case .file(let file):
                guard let text = read(file, at: "\(path).passwordFile") else { continue }
                let line = text.hasSuffix("\n") ? text.dropLast() : text[...]
                document.bmcs[index].password = Password(String(line))
            case .environment(let name):
                guard let text = surroundings.variable(name), !text.isEmpty else {
                    let message = "the environment variable \(name) is not set; set it to the password of '\(bmc.name)'"
                    problems.append(
                        SiteProblem(
                            path: "\(path).passwordEnv", line: line(of: "\(path).passwordEnv"), message: message))
                    continue
                }
                document.bmcs[index].password = Password(text)
            case nil:
                break
            }
        }
        for (index, authority) in (document.tpmAuthorities ?? []).enumerated() {
            guard let file = certificateFiles[authority.name] else { continue }
            document.tpmAuthorities?[index].certificate = read(file, at: "tpm.authorities[\(index)].certificateFile")
        }
        if problems.isEmpty {
            problems = document.problems().map {
                SiteProblem(path: $0.path, line: line(of: $0.path), message: $0.message)
            }
        }
        guard problems.isEmpty else { throw SiteError(problems) }
        return document
    }
}
