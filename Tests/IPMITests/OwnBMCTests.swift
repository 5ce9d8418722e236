import IPMI
import Primitives
import Testing

/// Answers as QEMU's ipmi-bmc-sim and boards' BMCs give them, by function, command and data.
@Suite struct OwnBMCTests {
    private static let controller: [UInt8] = [0, 0x20, 0x01, 0x89, 0x08, 0x02, 0x9F, 0, 0, 0, 0, 0]
    private static let guid: [UInt8] =
        [0, 0xC4, 0x91, 0x2A, 0x3F, 0xD8, 0x07, 0xE1, 0x4B, 0x9C, 0x35, 0xD1, 0xE6, 0xF0, 0xA7, 0xB8, 0x42]
    private static let lan: [UInt8] = [0, 0x01, 0x84, 0x01, 0, 0, 0, 0, 0, 0]
    private static let noLAN: [UInt8] = [0, 0x01, 0x8C, 0x05, 0, 0, 0, 0, 0, 0]

    private func ask(_ answers: [[UInt8]: [UInt8]]) -> (found: OwnBMC?, asked: Int) {
        var asked = 0
        let found = OwnBMC { request in
            asked += 1
            return answers[[request.function, request.command] + request.data].flatMap { OwnBMCAnswer($0) }
        }
        return (found, asked)
    }

    @Test func theFirstLANWithAnAddressCounts() throws {
        let (found, asked) = ask([
            [6, 1]: Self.controller, [6, 0x37]: Self.guid, [6, 0x42, 1]: Self.noLAN, [6, 0x42, 2]: Self.lan,
            [6, 0x42, 3]: Self.lan,
            [0x0C, 2, 3, 3, 0, 0]: [0, 0x11, 10, 9, 0, 7],
            [0x0C, 2, 3, 5, 0, 0]: [0, 0x11, 0x52, 0x54, 0, 0x99, 0, 1],
            [0x0C, 2, 2, 3, 0, 0]: [0, 0x11, 0, 0, 0, 0],
        ])
        let bmc = try #require(found)
        #expect(bmc.firmwareVersion == "9.08")
        #expect(bmc.guid == "3f2a91c4-07d8-4be1-9c35-d1e6f0a7b842")
        #expect(bmc.address?.description == "10.9.0.7" && bmc.mac?.description == "52:54:00:99:00:01")
        #expect(asked <= 2 + 8 * 3)
    }

    @Test func aBMCWithoutLANOrAnswersIsStillOne() {
        #expect(
            ask([[6, 1]: Self.controller]).found == OwnBMC { $0 == .controller ? OwnBMCAnswer(Self.controller) : nil })
        #expect(ask([[6, 1]: Self.controller]).found?.address == nil)
        #expect(ask([:]).found == nil)
        #expect(ask([[6, 1]: [0xC1]]).found == nil, "it does not know the command")
    }

    @Test func anyBytesAreAnAnswerOrNone() {
        #expect(OwnBMCAnswer([]) == nil)
        var random = SeededRandom(seed: 3)
        for _ in 0..<2000 {
            let count = Int.random(in: 0...40, using: &random)
            let bytes = (0..<count).map { _ in UInt8.random(in: 0...255, using: &random) }
            guard let answer = OwnBMCAnswer(bytes) else { continue }
            let texts = [answer.firmwareVersion, answer.guid, answer.address?.description, answer.mac?.description]
            if answer.completionCode != 0 { #expect(texts.allSatisfy { $0 == nil } && !answer.isLANChannel) }
        }
        let zeros = [UInt8](repeating: 0, count: 17)
        #expect(OwnBMCAnswer(zeros)?.guid == nil && OwnBMCAnswer(zeros)?.address == nil)
        #expect(OwnBMCAnswer(zeros)?.mac == nil)
    }
}
