import HTTPTypes
import Primitives

/// A version of an API's form, such as `1.81`, that callers choose with each request.
public struct Microversion: Sendable, Hashable, Comparable, CustomStringConvertible {
    /// Before the point.
    public let major: Int
    /// After it.
    public let minor: Int

    /// `major.minor`.
    public init(_ major: Int, _ minor: Int) {
        self.major = major
        self.minor = minor
    }

    /// Parses `1.81`; nil when it is not written so.
    public init?(_ text: some StringProtocol) {
        let parts = text.split(separator: ".", omittingEmptySubsequences: false)
        guard parts.count == 2,
            parts.allSatisfy({ (1...5).contains($0.utf8.count) && $0.utf8.allSatisfy { (0x30...0x39).contains($0) } }),
            let major = Int(parts[0]), let minor = Int(parts[1])
        else { return nil }
        self.init(major, minor)
    }

    public static func < (left: Microversion, right: Microversion) -> Bool {
        (left.major, left.minor) < (right.major, right.minor)
    }

    public var description: String { "\(major).\(minor)" }
}

/// How a service lets callers choose a microversion (OpenStack API-SIG, "Microversion Specification").
public struct MicroversionRules: Sendable {
    /// The name in `OpenStack-API-Version: NAME 1.81`.
    public var serviceName: String
    /// The header of the service's own, older than that one.
    public var header: HTTPField.Name
    /// The oldest and the newest.
    public var range: ClosedRange<Microversion>
    /// What one gets who asks for none.
    public var unasked: Microversion

    /// Rules of a service.
    public init(
        serviceName: String, header: HTTPField.Name, range: ClosedRange<Microversion>, unasked: Microversion
    ) {
        self.serviceName = serviceName
        self.header = header
        self.range = range
        self.unasked = unasked
    }

    /// The version that a request asks for.
    ///
    /// Throws `APIError` 400 for one that is not written so, and 406 with the range in its headers for one that is not known.
    public func version(asked headers: HTTPFields) throws(APIError) -> Microversion {
        let standard = headers[.openStackAPIVersion].flatMap(asked)
        guard let text = standard ?? headers[header] else { return unasked }
        if text.lowercased() == "latest" { return range.upperBound }
        guard let version = Microversion(text) else {
            throw .badRequest(
                "'\(text.printable(limit: 40))' is no version; it is written such as \(range.upperBound).")
        }
        guard range.contains(version) else {
            throw APIError(
                .notAcceptable, "version_not_supported",
                "Version \(version) is not supported by the API. Minimum is \(range.lowerBound) and maximum is "
                    + "\(range.upperBound).", headers: bounds)
        }
        return version
    }

    /// The version that `OpenStack-API-Version` has for this service; it may have one for each of several.
    private func asked(in header: String) -> String? {
        for part in header.split(separator: ",") {
            let words = part.split(separator: " ")
            if words.count == 2, words[0].lowercased() == serviceName { return String(words[1]) }
        }
        return nil
    }

    /// The headers of each answer in `version`.
    public func headers(of version: Microversion) -> HTTPFields {
        var fields = bounds
        fields[header] = "\(version)"
        fields[.openStackAPIVersion] = "\(serviceName) \(version)"
        return fields
    }

    private var bounds: HTTPFields {
        var fields = HTTPFields()
        if let name = HTTPField.Name(header.rawName.replacing("-Version", with: "-Minimum-Version")) {
            fields[name] = "\(range.lowerBound)"
        }
        if let name = HTTPField.Name(header.rawName.replacing("-Version", with: "-Maximum-Version")) {
            fields[name] = "\(range.upperBound)"
        }
        return fields
    }
}

extension HTTPField.Name {
    static let openStackAPIVersion = HTTPField.Name("OpenStack-API-Version")!
    static let authToken = HTTPField.Name("X-Auth-Token")!
    static let openStackRequestID = HTTPField.Name("X-Openstack-Request-Id")!
}
