import BMCDrivers
import BareMetal
import CatalogBareMetal
import Logging
import NIOHTTP1
import Primitives
import Redfish
import Synchronization
import Testing

/// A BMC that has sessions: it takes the password at the login only, and knows the newest token until `lose` is called.
private final class SessionBMC: Sendable {
    private struct State {
        var token: String?
        var count = 0
    }

    private let state = Mutex(State())

    func lose() { state.withLock { $0.token = nil } }

    @Sendable func reply(_ request: StubRequest, _ number: Int) -> StubReply {
        let sessions = "/redfish/v1/SessionService/Sessions"
        if request.path == "/redfish/v1/" {
            let links = #""Links":{"Sessions":{"@odata.id":"\#(sessions)"}}"#
            return .answer(200, Document.root.dropLast() + "," + links + "}")
        }
        return state.withLock { state in
            if request.method == "POST", request.path == sessions {
                guard request.body.contains(#""Password":"hunter2""#), request.body.contains(#""UserName":"admin""#)
                else {
                    return .answer(401, Document.error("wrong"))
                }
                state.count += 1
                state.token = "token-\(state.count)"
                return .answer(
                    201, "{}", ["X-Auth-Token": "token-\(state.count)", "Location": "\(sessions)/\(state.count)"])
            }
            guard let token = state.token, request.headers["X-Auth-Token"] == [token] else {
                return .answer(401, Document.error("no session"))
            }
            if request.method == "DELETE" {
                state.token = nil
                return .answer(204, "")
            }
            return proper(request, number)
        }
    }
}

@Suite(.timeLimit(.minutes(2))) struct RedfishSessionTests {
    private static let login = "POST /redfish/v1/SessionService/Sessions"

    private func lines(_ bmc: StubBMC) -> [String] { bmc.requests.map { "\($0.method) \($0.path)" } }

    @Test func oneSessionServesAllCallsAndThePasswordIsSentOnce() async throws {
        let service = SessionBMC()
        try await StubBMC.with(reply: service.reply) { bmc in
            let logins = LoginSessions()
            for _ in 0..<3 {
                let power = try await redfish(port: bmc.port, logins: logins).powerState()
                #expect(power == .on)
            }
            try await redfish(port: bmc.port, logins: logins).setPower(.reset)
            #expect(lines(bmc).filter { $0 == Self.login }.count == 1)
            #expect(bmc.requests.allSatisfy { $0.headers["Authorization"].isEmpty })
            #expect(bmc.requests.filter { $0.body.contains("hunter2") }.count == 1)
            #expect(bmc.requests[0].headers["X-Auth-Token"].isEmpty && bmc.requests[0].path == "/redfish/v1/")
        }
    }

    @Test func aSessionThatTheServiceHasForgottenIsMadeAnew() async throws {
        let service = SessionBMC()
        try await StubBMC.with(reply: service.reply) { bmc in
            let logins = LoginSessions()
            let driver = redfish(port: bmc.port, logins: logins)
            _ = try await driver.powerState()
            service.lose()
            try await driver.setPower(.reset)
            #expect(lines(bmc).filter { $0 == Self.login }.count == 2)
            #expect(bmc.requests.filter { $0.path.hasSuffix("ComputerSystem.Reset") }.count == 1)
        }
    }

    @Test func aWrongPasswordIsTriedOnce() async throws {
        let service = SessionBMC()
        try await StubBMC.with(reply: service.reply) { bmc in
            let driver = RedfishDriver(
                address: try BMCAddress("http://127.0.0.1:\(bmc.port)", system: "1", user: "admin"),
                password: SecretText("wrong"), logins: LoginSessions(), logger: Logger(label: "test"))
            await #expect(throws: BMCError.badCredentials) { try await driver.powerState() }
            #expect(lines(bmc) == ["GET /redfish/v1/", Self.login])
        }
    }

    @Test func aSessionOfAnEarlierPasswordIsEndedOnceTheNewOneIsGood() async throws {
        let tokens = Mutex<[String: String]>([:])
        let sessions = "/redfish/v1/SessionService/Sessions"
        try await StubBMC.with { request, number in
            if request.path == "/redfish/v1/" {
                return .answer(
                    200, Document.root.dropLast() + #","Links":{"Sessions":{"@odata.id":"\#(sessions)"}}}"#)
            }
            if request.method == "POST" {
                let password = request.body.firstMatch(of: /"Password":"(\w+)"/).map { String($0.1) } ?? ""
                guard password != "wrong" else { return .answer(401, Document.error("no")) }
                tokens.withLock { $0[password] = "\(sessions)/\(password)" }
                return .answer(201, "{}", ["X-Auth-Token": password, "Location": "\(sessions)/\(password)"])
            }
            let token = request.headers["X-Auth-Token"].first ?? ""
            guard tokens.withLock({ $0[token] != nil }) else { return .answer(401, Document.error("no session")) }
            if request.method == "DELETE" {
                tokens.withLock { $0 = $0.filter { $0.value != request.path } }
                return .answer(204, "")
            }
            return proper(request, number)
        } _: { bmc in
            let logins = LoginSessions()
            func ask(_ password: String) async throws -> PowerState {
                try await RedfishDriver(
                    address: try! BMCAddress("http://127.0.0.1:\(bmc.port)", system: "1", user: "admin"),
                    password: SecretText(password), logins: logins, logger: Logger(label: "test")
                ).powerState()
            }
            let first = try await ask("first")
            #expect(first == .on)
            // A password that the service does not take ends nothing.
            await #expect(throws: BMCError.badCredentials) { try await ask("wrong") }
            #expect(tokens.withLock { Set($0.keys) } == ["first"])
            let second = try await ask("second")
            #expect(second == .on)
            #expect(tokens.withLock { Set($0.keys) } == ["second"])
            #expect(lines(bmc).contains("DELETE \(sessions)/first"))
        }
    }

    @Test func aServiceWithoutSessionsGetsThePasswordEachTime() async throws {
        try await StubBMC.with(reply: proper) { bmc in
            let logins = LoginSessions()
            for _ in 0..<2 { _ = try await redfish(port: bmc.port, logins: logins).powerState() }
            #expect(lines(bmc) == ["GET /redfish/v1/", "GET /redfish/v1/Systems/1", "GET /redfish/v1/Systems/1"])
            #expect(bmc.requests.dropFirst().allSatisfy { $0.headers["Authorization"].count == 1 })
        }
    }

    @Test func aServiceThatHasNoRoomForASessionIsUsedAllTheSame() async throws {
        let service = SessionBMC()
        try await StubBMC.with { request, number in
            if request.method == "POST" { return .answer(503, Document.error("too many sessions")) }
            return request.path == "/redfish/v1/" ? service.reply(request, number) : proper(request, number)
        } _: { bmc in
            let power = try await redfish(port: bmc.port, logins: LoginSessions()).powerState()
            #expect(power == .on)
        }
    }

    @Test func theConductorsEndEndsItsSessions() async throws {
        let service = SessionBMC()
        try await StubBMC.with(reply: service.reply) { bmc in
            let opener = BMCOpener(logger: Logger(label: "test"))
            let driver = try opener.driver(
                of: BMC.Spec(
                    address: "http://127.0.0.1:\(bmc.port)", system: "1", username: "admin", passwordSecret: "bmc.x"),
                password: SecretText("hunter2"))
            _ = try await driver.powerState()
            await opener.close()
            #expect(lines(bmc).last == "DELETE /redfish/v1/SessionService/Sessions/1")
            _ = try await driver.powerState()
            #expect(lines(bmc).filter { $0 == Self.login }.count == 2)
        }
    }
}

@Suite(.timeLimit(.minutes(2))) struct RedfishTaskTests {
    private static let monitor = "/redfish/v1/TaskService/TaskMonitors/7"

    /// A service that does each order after its answer; `reply` answers the questions after it, counted from 1.
    private func with(
        limits: BMCLimits = patient, reply: @escaping @Sendable (Int) -> StubReply,
        _ body: (RedfishDriver, StubBMC) async throws -> Void
    ) async throws {
        let asked = Mutex(0)
        try await StubBMC.with { request, number in
            if request.path == Self.monitor {
                return reply(
                    asked.withLock { count in
                        count += 1
                        return count
                    })
            }
            guard request.method == "GET" else {
                return .answer(202, "{}", ["Location": Self.monitor, "Retry-After": "0"])
            }
            return proper(request, number)
        } _: { bmc in
            try await body(redfish(port: bmc.port, limits: limits), bmc)
        }
    }

    private static func task(_ state: String, _ more: String = "") -> String {
        ##"{"@odata.type":"#Task.v1_4_3.Task","Id":"7","TaskState":"\##(state)"\##(more)}"##
    }

    @Test func workIsFollowedToItsEnd() async throws {
        try await with { count in
            switch count {
            case 1: .answer(202, "{}", ["Retry-After": "0"])
            case 2: .answer(200, Self.task("Running"), ["Retry-After": "0"])
            default: .answer(200, Self.task("Completed"))
            }
        } _: { driver, bmc in
            try await driver.setPower(.reset)
            #expect(bmc.requests.filter { $0.path == Self.monitor }.count == 3)
            try await driver.setBoot(.disk, once: false, firmware: nil)
        }
    }

    @Test func workThatFailsIsAnErrorWithItsMessages() async throws {
        try await with { _ in
            .answer(200, Self.task("Exception", #","Messages":[{"Message":"Fans are missing."}]"#))
        } _: { driver, _ in
            await #expect(throws: BMCError.refused("Fans are missing.")) { try await driver.setPower(.reset) }
        }
    }

    @Test func aMonitorThatIsGoneIsTheEnd() async throws {
        try await with { _ in
            .answer(404, "")
        } _: { driver, _ in
            try await driver.setPower(.reset)
        }
    }

    @Test func workWithoutEndEndsInTime() async throws {
        var limits = patient
        limits.task = .milliseconds(200)
        try await with(limits: limits) { _ in
            .answer(202, "{}", ["Retry-After": "0"])
        } _: { driver, _ in
            let error = await #expect(throws: BMCError.self) { try await driver.setPower(.reset) }
            guard case .timeout(let what) = error else { return #expect(Bool(false), "\(error!)") }
            #expect(what.contains(Self.monitor))
        }
    }

    @Test func aBootOverrideThatIsNotTakenIsAnError() async throws {
        for target in ["None", "Hdd"] {
            try await StubBMC.with { request, number in
                let boot =
                    #"{"Id":"1","Boot":{"BootSourceOverrideTarget":"\#(target)","BootSourceOverrideEnabled":"Once"}}"#
                return request.method == "GET" ? .answer(200, boot) : proper(request, number)
            } _: { bmc in
                let driver = redfish(port: bmc.port)
                if target == "Hdd" {
                    try await driver.setBoot(.disk, once: true, firmware: nil)
                } else {
                    let error = await #expect(throws: BMCError.self) {
                        try await driver.setBoot(.disk, once: true, firmware: nil)
                    }
                    guard case .refused(let message) = error else { return #expect(Bool(false), "\(error!)") }
                    #expect(message.contains("'Hdd'") && message.contains("None"))
                }
            }
        }
    }
}

@Suite(.timeLimit(.minutes(2))) struct RedfishSensorTests {
    private static let chassis = "/redfish/v1/Chassis/1"

    private static func system(_ request: StubRequest, _ number: Int) -> StubReply {
        guard request.path == "/redfish/v1/Systems/1" else { return proper(request, number) }
        let links =
            #","Links":{"Chassis":[{"@odata.id":"\#(chassis)"}],"ManagedBy":[{"@odata.id":"/redfish/v1/Managers/1"}]}"#
        return .answer(200, Document.system(more: links))
    }

    @Test func olderServicesTellByThermalAndPower() async throws {
        try await StubBMC.with { request, number in
            switch request.path {
            case Self.chassis:
                .answer(
                    200,
                    ##"{"@odata.type":"#Chassis.v1_0_0.Chassis","Id":"1","Thermal":{"@odata.id":"\##(Self.chassis)/Thermal"},"Power":{"@odata.id":"\##(Self.chassis)/Power"}}"##
                )
            case Self.chassis + "/Thermal":
                .answer(
                    200,
                    #"""
                    {"Temperatures":[{"Name":"CPU 1","ReadingCelsius":47.5,"Status":{"State":"Enabled","Health":"Critical"}},
                    {"Name":"CPU 2","ReadingCelsius":null,"Status":{"State":"Absent"}},7],
                    "Fans":[{"Name":"Fan 1","Reading":5500,"ReadingUnits":"RPM"},{"MemberId":"f2","Reading":40,"ReadingUnits":"Percent"}]}
                    """#)
            case Self.chassis + "/Power":
                .answer(200, #"{"PowerControl":[{"Name":"Input","PowerConsumedWatts":312}]}"#)
            case "/redfish/v1/Managers/1":
                .answer(200, ##"{"@odata.type":"#Manager.v1_0_0.Manager","FirmwareVersion":"6.10.30"}"##)
            default: Self.system(request, number)
            }
        } _: { bmc in
            let driver = redfish(port: bmc.port)
            let found = try await driver.sensors()
            #expect(
                found == [
                    SensorReading(name: "CPU 1", value: 47.5, unit: .celsius, isGood: false),
                    SensorReading(name: "Fan 1", value: 5500, unit: .rpm, isGood: true),
                    SensorReading(name: "f2", value: 40, unit: .percent, isGood: true),
                    SensorReading(name: "Input", value: 312, unit: .watts, isGood: true),
                ])
            let identity = try await driver.identify()
            #expect(identity.firmwareVersion == "6.10.30")
        }
    }

    @Test func newerServicesTellBySensorsAndAreAskedForSixtyFour() async throws {
        try await StubBMC.with { request, number in
            let sensors = Self.chassis + "/Sensors"
            if request.path == Self.chassis {
                return .answer(200, #"{"Id":"1","Sensors":{"@odata.id":"\#(sensors)"}}"#)
            }
            if request.path == sensors {
                let links = (0..<500).map { #"{"@odata.id":"\#(sensors)/\#($0)"}"# }.joined(separator: ",")
                return .answer(200, #"{"Members":[\#(links)]}"#)
            }
            if request.path == sensors + "/0" { return .answer(500, "") }
            if request.path.hasPrefix(sensors) {
                return .answer(
                    200, ##"{"@odata.type":"#Sensor.v1_2_0.Sensor","Name":"S","Reading":12.1,"ReadingUnits":"V"}"##)
            }
            return Self.system(request, number)
        } _: { bmc in
            let found = try await redfish(port: bmc.port).sensors()
            #expect(found.count == 63, "one of 64 does not answer")
            #expect(found.first == SensorReading(name: "S", value: 12.1, unit: .volts, isGood: true))
        }
    }
}
