import Foundation
import Identity
import Primitives
import TestSupport
import Testing

@testable import ConductorServer

/// The file with which clients find the cloud.
@Suite struct OwnCloudsFileTests {
    private static let ironic = CloudsFile.Entry.service("ironic", password: SecretText("secret-2"))

    private static func text(_ path: String) throws -> String {
        String(decoding: try #require(try PrivateFile.read(path)), as: UTF8.self)
    }

    @Test func `a service's entry comes after the administrator's, and the file stays private`() throws {
        let directory = try TemporaryDirectory("clouds")
        let file = CloudsFile(ConductorConfiguration(stateDirectory: directory.path))
        try file.write(.administrator(password: SecretText("secret-1")))
        let before = try Self.text(file.path)
        #expect(try file.add(Self.ironic) == file.path)
        let after = try Self.text(file.path)
        #expect(after.hasPrefix(before) && after.contains("\n  muster-ironic:\n"))
        #expect(after.contains("project_name: service") && after.contains("password: 'secret-2'"))
        #expect(after.ranges(of: "clouds:").count == 1)
    }

    @Test func `what an operator has written stays, and an entry that does not fit gets a file of its own`() throws {
        let directory = try TemporaryDirectory("clouds")
        let file = CloudsFile(ConductorConfiguration(stateDirectory: directory.path))
        let own = directory.appending("clouds-ironic.yaml")
        for edited in [
            nil, "clouds:\n  other: {auth: {username: x}}\nmore:\n  a: 1\n", "clouds: {a: {}}\n", "not: [yaml",
            "clouds:\n  muster-ironic:\n    auth: {}\n", "clouds:\n    deeper:\n        auth: {}\n",
        ] {
            try? FileManager.default.removeItem(atPath: own)
            if let edited { try PrivateFile.replace(file.path, Array(edited.utf8)) }
            #expect(try file.add(Self.ironic) == own, "\(edited ?? "none")")
            if let edited { #expect(try Self.text(file.path) == edited) }
            #expect(try Self.text(own).hasPrefix("clouds:\n  muster-ironic:\n"))
        }
        let kept = "# mine\nclouds:\n  other:\n    auth: {username: x}"
        try PrivateFile.replace(file.path, Array(kept.utf8))
        #expect(try file.add(Self.ironic) == file.path)
        #expect(try Self.text(file.path).hasPrefix(kept + "\n  muster-ironic:\n"))
    }
}
