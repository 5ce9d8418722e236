import BMCDrivers
import BareMetal
import CatalogBareMetal
import Foundation
import Logging
import NIOHTTP1
import Primitives
import Redfish
import Synchronization
import Testing

/// A service with accounts, which lets in by sessions or by each request's password, and checks versions of its account.
private final class AccountBMC: Sendable {
    struct State {
        var password = "hunter2"
        var version = 1
        var hasSessions = true
        var mustChange = false
        /// Somebody else changes the account after it has been read so often more.
        var readsUntilChange: Int?
        var refusal: String?
        var tokens: Set<String> = []
        var loginCount = 0
        var limits = #""MinPasswordLength":8,"MaxPasswordLength":40,"#
    }

    let state: Mutex<State>

    init(_ change: (inout State) -> Void = { _ in }) {
        var state = State()
        change(&state)
        self.state = Mutex(state)
    }

    private static let root = "/redfish/v1"
    private static let account = "\(root)/AccountService/Accounts/3"
    private static let sessions = "\(root)/SessionService/Sessions"
    private static let changeIt = ##"""
        {"error":{"code":"Base.1.11.GeneralError","@Message.ExtendedInfo":[{"MessageId":"Base.1.11.PasswordChangeRequired",
        "MessageArgs":["\##(account)"],"Message":"The password must be changed."}]}}
        """##

    @Sendable func reply(_ request: StubRequest, _ number: Int) -> StubReply {
        state.withLock { state in
            if request.path == "\(Self.root)/" {
                let sessions = #","Links":{"Sessions":{"@odata.id":"\#(Self.sessions)"}}"#
                let more = #","AccountService":{"@odata.id":"\#(Self.root)/AccountService"}"#
                return .answer(200, Document.root.dropLast() + more + (state.hasSessions ? sessions : "") + "}")
            }
            if request.method == "POST", request.path == Self.sessions { return login(request, &state) }
            guard isLetIn(request, state) else { return .answer(401, Document.error("no")) }
            if request.method == "DELETE" {
                state.tokens.remove(request.headers["X-Auth-Token"].first ?? "")
                return .answer(204, "")
            }
            if state.mustChange, request.path != Self.account { return .answer(403, Self.changeIt) }
            return answer(request, number, &state)
        }
    }

    private func login(_ request: StubRequest, _ state: inout State) -> StubReply {
        guard request.body.contains(#""Password":"\#(state.password)""#) else {
            return .answer(401, Document.error("no"))
        }
        state.loginCount += 1
        let token = "token-\(state.loginCount)"
        state.tokens.insert(token)
        return .answer(
            201, state.mustChange ? Self.changeIt : "{}",
            ["X-Auth-Token": token, "Location": "\(Self.sessions)/\(state.loginCount)"])
    }

    private func isLetIn(_ request: StubRequest, _ state: State) -> Bool {
        if let token = request.headers["X-Auth-Token"].first { return state.tokens.contains(token) }
        let credentials = Data("admin:\(state.password)".utf8).base64EncodedString()
        return !state.hasSessions && request.headers["Authorization"] == ["Basic \(credentials)"]
    }

    private func answer(_ request: StubRequest, _ number: Int, _ state: inout State) -> StubReply {
        switch (request.method, request.path) {
        case ("GET", "\(Self.root)/AccountService"):
            let accounts = #""Accounts":{"@odata.id":"\#(Self.root)/AccountService/Accounts"}"#
            return .answer(
                200, ##"{"@odata.type":"#AccountService.v1_10_0.AccountService",\##(state.limits)\##(accounts)}"##)
        case ("GET", "\(Self.root)/AccountService/Accounts"):
            let members = [1, 2, 3].map { #"{"@odata.id":"\#(Self.root)/AccountService/Accounts/\#($0)"}"# }
            let kind = "#ManagerAccountCollection.ManagerAccountCollection"
            return .answer(200, #"{"@odata.type":"\#(kind)","Members":[\#(members.joined(separator: ","))]}"#)
        case ("GET", "\(Self.root)/AccountService/Accounts/1"): return .answer(404, Document.error("gone"))
        case ("GET", "\(Self.root)/AccountService/Accounts/2"): return .answer(200, Self.text("Admin"))
        case ("GET", Self.account):
            let tag = "W/\"\(state.version)\""
            if let left = state.readsUntilChange {
                state.readsUntilChange = left - 1
                if left == 1 { state.version += 1 }
            }
            return .answer(200, Self.text("admin"), ["ETag": tag])
        case ("PATCH", Self.account):
            guard request.headers["If-Match"].first?.hasSuffix("\"\(state.version)\"") == true else {
                return .answer(412, Document.error("changed"))
            }
            if let refusal = state.refusal { return .answer(400, Document.error(refusal)) }
            guard let match = request.body.firstMatch(of: /^\{"Password":"([^"]+)"\}$/) else {
                return .answer(400, Document.error("no password"))
            }
            (state.password, state.mustChange, state.version) = (String(match.1), false, state.version + 1)
            return .answer(204, "")
        default: return proper(request, number)
        }
    }

    private static func text(_ user: String) -> String {
        ##"{"@odata.type":"#ManagerAccount.v1_8_0.ManagerAccount","UserName":"\##(user)","Password":null}"##
    }
}

@Suite(.timeLimit(.minutes(2))) struct RedfishPasswordTests {
    private static let new = SecretText("Ab3-xyz.Q7_mnop9RsT2")

    private func driver(_ bmc: StubBMC, _ password: String, logins: LoginSessions? = nil) throws -> RedfishDriver {
        RedfishDriver(
            address: try BMCAddress("http://127.0.0.1:\(bmc.port)", system: "1", user: "admin"),
            password: SecretText(password), limits: patient, logins: logins, logger: Logger(label: "test"))
    }

    @Test(arguments: [true, false])
    func `the account's password is changed, and the one before lets nobody in`(hasSessions: Bool) async throws {
        let service = AccountBMC { $0.hasSessions = hasSessions }
        try await StubBMC.with(reply: service.reply) { bmc in
            let logins = LoginSessions()
            let old = try driver(bmc, "hunter2", logins: logins)
            #expect(try await old.powerState() == .on)
            #expect(try await old.passwordRule() == PasswordRule(lengthMin: 8, lengthMax: 40))
            try await old.proveLogin()
            try await old.setPassword(Self.new)
            let changes = bmc.requests.filter { $0.method == "PATCH" }
            #expect(changes.count == 1 && changes[0].path.hasSuffix("/Accounts/3"), "'Admin' is another account")
            #expect(changes[0].headers["If-Match"] == ["W/\"1\""])
            // A session that was made before is no proof.
            await #expect(throws: BMCError.badCredentials) { try await old.proveLogin() }
            let new = try driver(bmc, Self.new.revealed, logins: logins)
            try await new.proveLogin()
            #expect(try await new.powerState() == .on)
            #expect(service.state.withLock { $0.tokens.count } == (hasSessions ? 1 : 0), "no session is left over")
            #expect(bmc.requests.allSatisfy { !$0.path.contains("hunter2") && !$0.path.contains("Ab3") })
        }
    }

    @Test func `an account that somebody else has changed is read again, once`() async throws {
        let service = AccountBMC { $0.readsUntilChange = 2 }
        try await StubBMC.with(reply: service.reply) { bmc in
            try await driver(bmc, "hunter2", logins: LoginSessions()).setPassword(Self.new)
            let tags = bmc.requests.filter { $0.method == "PATCH" }.map { $0.headers["If-Match"] }
            #expect(tags == [["W/\"1\""], ["\"2\""]])
            #expect(service.state.withLock { $0.password } == Self.new.revealed)
        }
    }

    @Test(arguments: [true, false])
    func `an account whose password has to be changed gets in for that alone`(hasSessions: Bool) async throws {
        let service = AccountBMC { ($0.mustChange, $0.hasSessions) = (true, hasSessions) }
        try await StubBMC.with(reply: service.reply) { bmc in
            let old = try driver(bmc, "hunter2", logins: LoginSessions())
            let error = await #expect(throws: BMCError.self) { try await old.powerState() }
            #expect(error?.publicMessage.contains("muster bmc rotate-password") == true)
            try await old.proveLogin()
            #expect(try await old.passwordRule() == PasswordRule())
            try await old.setPassword(Self.new)
            #expect(try await driver(bmc, Self.new.revealed, logins: LoginSessions()).powerState() == .on)
        }
    }

    @Test func `what BMCs tell of their limits is believed as far as it can be`() async throws {
        for (limits, rule) in [
            ("", PasswordRule()), (#""MinPasswordLength":12.0,"#, PasswordRule(lengthMin: 12)),
            (#""MinPasswordLength":"8","MaxPasswordLength":1e400,"#, PasswordRule()),
            (#""MinPasswordLength":-3,"MaxPasswordLength":0,"#, PasswordRule()),
        ] {
            try await StubBMC.with(reply: AccountBMC { $0.limits = limits }.reply) { bmc in
                let told = try await driver(bmc, "hunter2", logins: LoginSessions()).passwordRule()
                #expect(told == rule, "\(limits)")
            }
        }
    }

    @Test func `a refusal is told, and a service without accounts changes nothing`() async throws {
        try await StubBMC.with(reply: AccountBMC { $0.refusal = "too short" }.reply) { bmc in
            await #expect(throws: BMCError.refused("too short")) {
                try await driver(bmc, "hunter2", logins: LoginSessions()).setPassword(Self.new)
            }
        }
        try await StubBMC.with(reply: proper) { bmc in
            let plain = try driver(bmc, "hunter2")
            await #expect(throws: BMCError.noPasswordControl) { try await plain.passwordRule() }
            await #expect(throws: BMCError.noPasswordControl) { try await plain.setPassword(Self.new) }
            #expect(!bmc.requests.contains { $0.method == "PATCH" })
        }
    }

    @Test(arguments: [
        "", "with space", "quote\"and\nline", "über-Alles-12", "nul\0nul", "\u{202E}",
        String(repeating: "x", count: 65),
    ])
    func `a password that cannot be one never leaves`(text: String) async throws {
        let service = AccountBMC()
        try await StubBMC.with(reply: service.reply) { bmc in
            let driver = try driver(bmc, "hunter2", logins: LoginSessions())
            let error = await #expect(throws: BMCError.self) { try await driver.setPassword(SecretText(text)) }
            #expect(text.isEmpty || error?.publicMessage.contains(text) == false)
            #expect(bmc.requests.isEmpty)
        }
    }
}
