import Foundation
import Policy
import Primitives
import TestSupport
import Testing

@testable import ConductorServer

/// The operator's own rules.
@Suite struct PolicyFileTests {
    @Test func `a rule of the file takes the place of the cloud's own, and no other does`() throws {
        let directory = try TemporaryDirectory("policy")
        let path = directory.appending("policy.yaml")
        try Data(#""identity:list_users": "role:auditor""#.utf8).write(to: URL(fileURLWithPath: path))
        let auditor = PolicyCredentials(userID: "u", projectID: "p", roles: ["auditor"])
        let (usual, changed) = (try CloudIdentity.policy(nil), try CloudIdentity.policy(path))
        #expect(!usual.isAllowed("identity:list_users", auditor, PolicyTarget()))
        #expect(changed.isAllowed("identity:list_users", auditor, PolicyTarget()))
        #expect(!changed.isAllowed("identity:list_groups", auditor, PolicyTarget()))
    }

    @Test func `what is wrong in the file is told by its name`() throws {
        let directory = try TemporaryDirectory("policy")
        let path = directory.appending("policy.yaml")
        for text in [#""identity:no_such": "role:x""#, #""identity:list_users": "role:x and""#, "- 1"] {
            try Data(text.utf8).write(to: URL(fileURLWithPath: path))
            let error = #expect(throws: PolicyError.self) { try CloudIdentity.policy(path) }
            #expect(error?.publicMessage.contains(path) == true)
        }
        let error = #expect(throws: InvalidValue.self) { try CloudIdentity.policy(directory.appending("none")) }
        #expect(error?.publicMessage.contains("none") == true)
    }
}
