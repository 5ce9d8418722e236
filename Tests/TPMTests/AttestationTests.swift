import AgentProtocol
import BareMetal
@testable import Discovery
import FoundationEssentials
import Identity
import Primitives
import TPM
@testable import TPMVerification
import TestSupport
import Testing

/// Both sides of an attestation against TPMs of software, over their sockets.
@Suite struct AttestationTests {
    /// A minute ahead: certificates of TPMs that a test makes are valid from then on at the latest.
    private let clock = ManualWallClock(
        Timestamp(millisecondsSinceEpoch: Int64(Date().timeIntervalSince1970 * 1000) + 60_000))
    private let boot = "boot-0001"

    private func witness(_ tpm: SoftwareTPM) -> TPMWitness { TPMWitness { try tpm.open() } }

    private func evidence(_ tpm: SoftwareTPM, _ desk: AttestationDesk) throws -> AttestationEvidence {
        let offer = try #require(try witness(tpm).offer(bootID: boot))
        return try #require(try witness(tpm).answer(try desk.challenge(offer), to: offer))
    }

    @Test func `a TPM with its maker's certificate is vouched for by the authority that the site names`() async throws {
        let maker = try SoftwareTPMMaker()
        try await SoftwareTPM.running(by: maker) { tpm in
            let desk = AttestationDesk(clock: clock)
            let trust = TPMTrust(authorities: [try EndorsementAuthority(certificatePEM: try maker.certificate())])
            let first = try desk.judge(try evidence(tpm, desk), bootID: boot, trust: trust)
            #expect(first.voucher == "CN=swtpm-localca")
            #expect(first.pcrs.count == 8)
            try tpm.extend(pcr: 7)
            try tpm.extend(pcr: 4)
            let second = try desk.judge(try evidence(tpm, desk), bootID: boot, trust: trust)
            #expect(second.endorsementKey == first.endorsementKey)
            #expect(second.changedPCRs(since: first) == [4, 7])
            #expect(first.changedPCRs(since: first) == [])
            // Nothing of the TPM's memory is used up, however often it is asked.
            for _ in 0..<8 { _ = try evidence(tpm, desk) }
        }
    }

    @Test func `without a certificate only the site's list vouches`() async throws {
        let maker = try SoftwareTPMMaker()
        try await SoftwareTPM.running(by: maker, certificate: false) { tpm in
            let desk = AttestationDesk(clock: clock)
            let evidence = try evidence(tpm, desk)
            #expect(try TPMPublic(decoding: Array(evidence.offer.endorsementKey)).curve == .p256)
            let doubted = try desk.judge(evidence, bootID: boot, trust: TPMTrust())
            #expect(!doubted.isVouched)
            #expect(doubted.doubt == "it has no certificate for an elliptic-curve key")
            let listed = try desk.judge(evidence, bootID: boot, trust: TPMTrust(keys: [doubted.endorsementKey]))
            #expect(listed.voucher == "the site's list of endorsement keys")
        }
    }

    @Test func `an authority that the site does not name vouches for nobody`() async throws {
        let (maker, other) = (try SoftwareTPMMaker(), try SoftwareTPMMaker())
        let folder = try TemporaryDirectory("tpm-other")
        try await other.make(in: folder.path, certificate: true)
        try await SoftwareTPM.running(by: maker) { tpm in
            let desk = AttestationDesk(clock: clock)
            let evidence = try evidence(tpm, desk)
            let strangers = TPMTrust(authorities: [try EndorsementAuthority(certificatePEM: try other.certificate())])
            // Of the same name, but with another key.
            let finding = try desk.judge(evidence, bootID: boot, trust: strangers)
            #expect(finding.voucher == nil)
            #expect(finding.doubt == "its certificate is not signed by CN=swtpm-localca")
            #expect(
                try desk.judge(evidence, bootID: boot, trust: TPMTrust()).doubt?.contains("names no authority") == true)
            // A certificate that has not begun yet, as after a clock was set back by two years.
            let authority = try EndorsementAuthority(certificatePEM: try maker.certificate())
            let early = AttestationDesk(clock: ManualWallClock(clock.now.advanced(by: .seconds(-2 * 365 * 86_400))))
            let judged = try early.judge(
                try self.evidence(tpm, early), bootID: boot, trust: TPMTrust(authorities: [authority]))
            #expect(judged.doubt?.contains("is not valid now") == true)
        }
    }

    @Test func `what is copied, late or changed proves nothing`() async throws {
        let maker = try SoftwareTPMMaker()
        try await SoftwareTPM.running(by: maker) { tpm in
            let desk = AttestationDesk(clock: clock)
            let right = try evidence(tpm, desk)
            func refusal(_ change: (inout AttestationEvidence) -> Void, bootID: String? = nil) -> AttestationRefusal? {
                var wrong = right
                change(&wrong)
                do { _ = try desk.judge(wrong, bootID: bootID ?? boot, trust: TPMTrust()) } catch { return error }
                return nil
            }
            #expect(refusal { _ in } == nil)
            #expect(refusal({ _ in }, bootID: "boot-0002") == .wrongTicket)
            #expect(refusal { $0.offer.bootID = "boot-0002" } == .wrongTicket)
            #expect(refusal { $0.offer.certificate = nil } == .wrongTicket)
            #expect(refusal { $0.secret[0] ^= 1 } == .wrongSecret)
            #expect(refusal { $0.secret = Data() } == .wrongSecret)
            #expect(refusal { $0.ticket[20] ^= 1 } == .wrongTicket)
            #expect(refusal { $0.pcrs[7][0] ^= 1 } == .badQuote("the PCRs are not those that were signed"))
            #expect(refusal { $0.pcrs.removeLast() } == .badQuote("it has not eight PCRs of 32 bytes"))
            #expect(refusal { $0.quote[60] ^= 1 } != nil)
            #expect(refusal { $0.signature[20] ^= 1 } == .badQuote("it is not signed by the attestation key"))
            // A quote of an earlier challenge.
            let older = try evidence(tpm, desk)
            #expect(
                refusal {
                    $0.quote = older.quote
                    $0.signature = older.signature
                } == .badQuote("it is not over the challenge's nonce"))
            // Another conductor's ticket, and one of before a restart.
            #expect(throws: AttestationRefusal.wrongTicket) {
                try AttestationDesk(clock: clock).judge(right, bootID: boot, trust: TPMTrust())
            }
            clock.advance(by: AttestationDesk.patience)
            #expect(refusal { _ in } == .tooLate)
        }
    }

    @Test func `one TPM cannot answer for another's endorsement key`() async throws {
        let maker = try SoftwareTPMMaker()
        try await SoftwareTPM.running(by: maker) { tpm in
            try await SoftwareTPM.running(by: maker) { thief in
                let desk = AttestationDesk(clock: clock)
                let victim = try #require(try witness(tpm).offer(bootID: boot))
                let own = try #require(try witness(thief).offer(bootID: boot))
                // The thief shows the victim's endorsement key and certificate with an attestation key of its own.
                let stolen = AttestationOffer(
                    bootID: boot, certificate: victim.certificate, endorsementKey: victim.endorsementKey,
                    attestationKey: own.attestationKey)
                let challenge = try desk.challenge(stolen)
                #expect(throws: TPMError.self) { try witness(thief).answer(challenge, to: stolen) }
                // Nor does the victim's TPM open what was made for a key that it does not hold.
                #expect(throws: TPMError.self) { try witness(tpm).answer(challenge, to: stolen) }
            }
        }
    }

    @Test func `a recorded attestation is judged the same for ever`() async throws {
        let random = RandomBytes { count in
            var generator = SeededRandom(seed: UInt64(count))
            return (0..<count).map { _ in UInt8.random(in: .min ... .max, using: &generator) }
        }
        if ProcessInfo.processInfo.environment["MUSTER_REGENERATE_GOLDEN"] == "1" {
            let maker = try SoftwareTPMMaker()
            let recording = try await SoftwareTPM.running(by: maker) { tpm in
                Recording(
                    time: clock.now, authority: try maker.certificate(),
                    evidence: try evidence(tpm, AttestationDesk(clock: clock, random: random)))
            }
            let encoder = JSONEncoder()
            encoder.outputFormatting = [.sortedKeys, .prettyPrinted, .withoutEscapingSlashes]
            try GoldenFile.replace("tpm/attestation.json", Array(try encoder.encode(recording)))
        }
        let bytes = try GoldenFile.contents(of: "tpm/attestation.json")
        let recording = try JSONDecoder().decode(Recording.self, from: Data(bytes))
        let desk = AttestationDesk(clock: ManualWallClock(recording.time), random: random)
        let trust = TPMTrust(authorities: [try EndorsementAuthority(certificatePEM: recording.authority)])
        let finding = try desk.judge(recording.evidence, bootID: boot, trust: trust)
        #expect(finding.voucher == "CN=swtpm-localca")
        #expect(finding.pcrs.allSatisfy { $0.bytes == [UInt8](repeating: 0, count: 32) })
        // Whatever one byte of it is, nothing crashes, and nothing but the certificate may change without a refusal.
        var generator = SeededRandom(seed: 7)
        for _ in 0..<300 {
            var wrong = recording.evidence
            let places: [WritableKeyPath<AttestationEvidence, Data>] = [
                \.offer.endorsementKey, \.offer.attestationKey, \.ticket, \.secret, \.quote, \.signature,
            ]
            let place = places[Int.random(in: 0..<places.count, using: &generator)]
            let index = Int.random(in: 0..<wrong[keyPath: place].count, using: &generator)
            wrong[keyPath: place][index] ^= UInt8.random(in: 1...255, using: &generator)
            #expect(throws: AttestationRefusal.self) { try desk.judge(wrong, bootID: boot, trust: trust) }
        }
    }

    private struct Recording: Codable {
        var time: Timestamp
        var authority: String
        var evidence: AttestationEvidence
    }
}
