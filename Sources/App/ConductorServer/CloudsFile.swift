import Identity
import IdentityAPI
import Primitives
import Yams

/// `clouds.yaml` (OpenStack SDK, "Configuring OpenStack SDK Applications"), with which clients find the cloud: as its first
/// administrator, and as one of its services.
struct CloudsFile {
    private let configuration: ConductorConfiguration

    init(_ configuration: ConductorConfiguration) { self.configuration = configuration }

    /// Somebody as whom clients sign in.
    struct Entry {
        let cloud: String
        let user: String
        let project: String
        let password: SecretText

        static func administrator(password: SecretText) -> Entry {
            Entry(cloud: "muster", user: "admin", project: IdentityBootstrap.adminProject, password: password)
        }

        static func service(_ name: String, password: SecretText) -> Entry {
            Entry(cloud: "muster-\(name)", user: name, project: IdentityBootstrap.serviceProject, password: password)
        }
    }

    var path: String { "\(configuration.stateDirectory)/clouds.yaml" }

    /// Writes a file with this entry only.
    func write(_ entry: Entry) throws { try PrivateFile.replace(path, Array(text(entry).utf8)) }

    /// Adds an entry to the file, which keeps all that is in it; to a file of its own when there is none, it is not as it
    /// was made, or has such an entry. Returns the file.
    func add(_ entry: Entry) throws -> String {
        let old = (try? PrivateFile.read(path)).flatMap { String(validating: $0, as: UTF8.self) }
        if let old, let new = Self.joined(old, text(entry), entry.cloud) {
            try PrivateFile.replace(path, Array(new.utf8))
            return path
        }
        let own = "\(configuration.stateDirectory)/clouds-\(entry.user).yaml"
        try PrivateFile.replace(own, Array(text(entry).utf8))
        return own
    }

    /// Both texts as one; nil when that would not be a file with the clouds of the old one and `cloud`.
    static func joined(_ old: String, _ new: String, _ cloud: String) -> String? {
        guard let before = clouds(in: old), !before.contains(cloud) else { return nil }
        let text = (old.hasSuffix("\n") ? old : old + "\n") + new.drop { $0 != "\n" }.dropFirst()
        return clouds(in: text) == before + [cloud] ? text : nil
    }

    private static func clouds(in text: String) -> [String]? {
        guard case .mapping(let root) = try? Yams.compose(yaml: text), case .mapping(let clouds) = root["clouds"] else {
            return nil
        }
        return clouds.map { $0.key.string ?? "" }
    }

    private func text(_ entry: Entry) -> String {
        """
        clouds:
          \(entry.cloud):
            auth:
              auth_url: \(configuration.publicURL)\(KeystoneAPI.path)/v3
              username: \(entry.user)
              password: '\(entry.password.revealed)'
              project_name: \(entry.project)
              user_domain_name: Default
              project_domain_name: Default
            region_name: '\(configuration.region)'
            interface: public
            identity_api_version: 3
            cacert: \(configuration.stateDirectory)/ca.pem

        """
    }
}
