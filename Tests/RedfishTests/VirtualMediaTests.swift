import BMCDrivers
import BareMetal
import NIOHTTP1
import Primitives
import Redfish
import Synchronization
import Testing

/// A BMC with a floppy and a CD drive, at the system or, as older ones, at the manager.
private final class MediaBMC: Sendable {
    private struct State {
        var image: String?
        var boot = ("None", "Disabled")
    }

    private let state = Mutex(State())
    private let isAtManager: Bool
    private let takesAllParameters: Bool
    private let keepsMedia: Bool

    init(atManager: Bool = false, takesAllParameters: Bool = true, keepsMedia: Bool = true, inserted: String? = nil) {
        isAtManager = atManager
        self.takesAllParameters = takesAllParameters
        self.keepsMedia = keepsMedia
        state.withLock { $0.image = inserted }
    }

    var image: String? { state.withLock { $0.image } }
    var boot: (target: String, enabled: String) { state.withLock { $0.boot } }

    @Sendable func reply(_ request: StubRequest, _ number: Int) -> StubReply {
        let base = isAtManager ? "/redfish/v1/Managers/1" : "/redfish/v1/Systems/1"
        let media = "\(base)/VirtualMedia"
        return state.withLock { state in
            switch (request.method, request.path) {
            case ("GET", "/redfish/v1/Systems/1"):
                let link = isAtManager ? "" : #","VirtualMedia":{"@odata.id":"\#(media)"}"#
                let links = #","Links":{"ManagedBy":[{"@odata.id":"/redfish/v1/Managers/1"}]}"#
                let boot =
                    #"{"BootSourceOverrideTarget":"\#(state.boot.0)","BootSourceOverrideEnabled":"\#(state.boot.1)""#
                    + #","BootSourceOverrideTarget@Redfish.AllowableValues":["Pxe","Cd","Hdd","UefiHttp"]}"#
                let document = Document.system(more: link + links).replacing(
                    #"{"BootSourceOverrideTarget@Redfish.AllowableValues":["Pxe","Hdd"]}"#, with: boot)
                return .answer(200, document, ["ETag": "\"e1\""])
            case ("GET", "/redfish/v1/Managers/1"):
                return .answer(200, #"{"Id":"1","VirtualMedia":{"@odata.id":"\#(media)"}}"#)
            case ("GET", media):
                return .answer(
                    200, #"{"Members":[{"@odata.id":"\#(media)/Floppy"},{"@odata.id":"\#(media)/Cd"}]}"#)
            case ("GET", "\(media)/Floppy"):
                return .answer(200, #"{"Id":"Floppy","MediaTypes":["Floppy"],"Inserted":false}"#)
            case ("GET", "\(media)/Cd"):
                let image = state.image.map { #""\#($0)""# } ?? "null"
                let actions = ["InsertMedia", "EjectMedia"].map {
                    ##""#VirtualMedia.\##($0)":{"target":"\##(media)/Cd/Actions/VirtualMedia.\##($0)"}"##
                }.joined(separator: ",")
                return .answer(
                    200,
                    #"{"Id":"Cd","MediaTypes":["CD","DVD"],"Inserted":\#(state.image != nil),"Image":\#(image),"Actions":{\#(actions)}}"#
                )
            case ("POST", "\(media)/Cd/Actions/VirtualMedia.InsertMedia"):
                guard state.image == nil else { return .answer(409, Document.error("there is a medium")) }
                guard takesAllParameters || !request.body.contains("WriteProtected") else {
                    return .answer(400, Document.error("WriteProtected is not known"))
                }
                if keepsMedia { state.image = request.body.firstMatch(of: /"Image":"([^"]+)"/).map { String($0.1) } }
                return .answer(204, "")
            case ("POST", "\(media)/Cd/Actions/VirtualMedia.EjectMedia"):
                state.image = nil
                return .answer(204, "")
            case ("PATCH", "/redfish/v1/Systems/1"):
                let target = request.body.firstMatch(of: /"BootSourceOverrideTarget":"(\w+)"/).map { String($0.1) }
                let enabled = request.body.firstMatch(of: /"BootSourceOverrideEnabled":"(\w+)"/).map { String($0.1) }
                state.boot = (target ?? "", enabled ?? "")
                return .answer(204, "")
            default: return proper(request, number)
            }
        }
    }
}

@Suite(.timeLimit(.minutes(2))) struct VirtualMediaTests {
    private static let url = "http://10.77.0.1:8080/boot/media/0123/boot.iso"

    private func posts(_ bmc: StubBMC) -> [StubRequest] { bmc.requests.filter { $0.method == "POST" } }

    @Test(arguments: [false, true]) func theCDIsInsertedAndBootedOnce(atManager: Bool) async throws {
        let service = MediaBMC(atManager: atManager)
        try await StubBMC.with(reply: service.reply) { bmc in
            try await redfish(port: bmc.port).boot(medium: Self.url)
            #expect(service.image == Self.url)
            #expect(service.boot.target == "Cd" && service.boot.enabled == "Once")
            #expect(posts(bmc).map(\.body) == [#"{"Image":"\#(Self.url)","Inserted":true,"WriteProtected":true}"#])
            let patch = try #require(bmc.requests.first { $0.method == "PATCH" })
            #expect(patch.headers["If-Match"] == ["\"e1\""])
            // Afterwards it is taken out, and another's medium is not.
            try await redfish(port: bmc.port).eject(medium: "http://10.77.0.1:8080/other.iso")
            #expect(service.image == Self.url)
            try await redfish(port: bmc.port).eject(medium: Self.url)
            #expect(service.image == nil)
            try await redfish(port: bmc.port).eject(medium: Self.url)
        }
    }

    @Test func whatIsInTheDriveIsTakenOutFirst() async throws {
        let service = MediaBMC(takesAllParameters: false, inserted: "http://somewhere/else.iso")
        try await StubBMC.with(reply: service.reply) { bmc in
            try await redfish(port: bmc.port).boot(medium: Self.url)
            #expect(service.image == Self.url)
            #expect(posts(bmc).count == 3, "one to eject, one that was refused for its parameters, one without them")
        }
    }

    @Test func anInsertionThatDidNothingIsAnError() async throws {
        let service = MediaBMC(keepsMedia: false)
        try await StubBMC.with(reply: service.reply) { bmc in
            let error = await #expect(throws: BMCError.self) {
                try await redfish(port: bmc.port).boot(medium: Self.url)
            }
            guard case .refused(let message) = error else { return #expect(Bool(false), "\(error!)") }
            #expect(message.contains("none is in it"))
            #expect(service.boot.target == "None", "the machine would boot an empty drive")
        }
    }

    @Test func aBMCWithoutDrivesSaysWhatToDo() async throws {
        try await StubBMC.with(reply: proper) { bmc in
            let error = await #expect(throws: BMCError.self) {
                try await redfish(port: bmc.port).boot(medium: Self.url)
            }
            #expect(error?.publicMessage.contains("boot: network") == true)
            try await redfish(port: bmc.port).eject(medium: Self.url)
        }
    }

    @Test func firmwareIsGivenTheURIToBoot() async throws {
        let service = MediaBMC()
        try await StubBMC.with(reply: service.reply) { bmc in
            try await redfish(port: bmc.port).boot(http: Self.url)
            let patch = try #require(bmc.requests.last { $0.method == "PATCH" })
            #expect(
                patch.body
                    == #"{"Boot":{"BootSourceOverrideEnabled":"Once","BootSourceOverrideTarget":"UefiHttp","HttpBootUri":"\#(Self.url)"}}"#
            )
        }
        try await StubBMC.with(reply: proper) { bmc in
            let error = await #expect(throws: BMCError.self) { try await redfish(port: bmc.port).boot(http: Self.url) }
            guard case .refused(let message) = error else { return #expect(Bool(false), "\(error!)") }
            #expect(message.contains("UefiHttp") && message.contains("Pxe, Hdd"), "not in AllowableValues")
        }
    }
}
