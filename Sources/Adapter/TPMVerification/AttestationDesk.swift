import AgentProtocol
import BareMetal
import Crypto
import FoundationEssentials
import Identity
import Primitives
import TPM
import WireCoding

/// What a site trusts TPMs by.
public struct TPMTrust: Sendable {
    /// The authorities whose endorsement certificates count.
    public var authorities: [EndorsementAuthority]
    /// Endorsement keys that count without a certificate, by `EndorsementKey.digest`.
    public var keys: Set<Primitives.Digest>

    /// Trust.
    public init(authorities: [EndorsementAuthority] = [], keys: Set<Primitives.Digest> = []) {
        self.authorities = authorities
        self.keys = keys
    }
}

/// Finds out whether a machine holds the TPM that it shows, and how it was measured to boot.
///
/// The conductor keeps nothing between challenge and evidence: what it has to remember goes with the machine, sealed
/// by a key that lives as long as the conductor does.
public struct AttestationDesk: Sendable {
    /// How long a challenge may be answered: slow TPMs take some seconds.
    public static let patience: Duration = .seconds(120)
    private static let secretLength = 32

    private let clock: any WallClock
    private let random: RandomBytes
    private let key: SymmetricKey

    /// A desk.
    public init(clock: any WallClock, random: RandomBytes = .system) {
        self.clock = clock
        self.random = random
        key = SymmetricKey(data: random(32))
    }

    /// What a challenge's ticket holds.
    private struct Ticket: Codable {
        var offer: Primitives.Digest
        var secret: Data
        var nonce: Data
        var ends: Timestamp
    }

    /// A challenge that only the TPM of `offer` can answer; throws `AttestationRefusal`.
    public func challenge(_ offer: AttestationOffer) throws(AttestationRefusal) -> AttestationChallenge {
        let keys = try Self.keys(of: offer)
        let secret = random(Self.secretLength)
        let nonce = random(Self.secretLength)
        let credential = try CredentialProtection.protect(secret, for: keys.endorsement, name: keys.attestationName)
        let ticket = Ticket(
            offer: try Self.digest(of: offer), secret: Data(secret), nonce: Data(nonce),
            ends: clock.now.advanced(by: Self.patience))
        return AttestationChallenge(
            ticket: try seal(ticket), credential: Data(credential.blob), secret: Data(credential.secret),
            nonce: Data(nonce))
    }

    /// What `evidence`, sent by the boot `bootID`, proves under `trust`; throws `AttestationRefusal` when it proves nothing.
    public func judge(
        _ evidence: AttestationEvidence, bootID: String, trust: TPMTrust
    ) throws(AttestationRefusal) -> Attestation {
        let keys = try Self.keys(of: evidence.offer)
        let ticket = try open(evidence.ticket)
        guard ticket.offer == (try Self.digest(of: evidence.offer)), evidence.offer.bootID == bootID else {
            throw .wrongTicket
        }
        guard ticket.ends > clock.now else { throw .tooLate }
        guard Self.isEqual(ticket.secret, evidence.secret) else { throw .wrongSecret }
        let pcrs = try Self.measurements(evidence, keys.attestation, nonce: ticket.nonce)
        var finding = Attestation(endorsementKey: keys.identity.digest, pcrs: pcrs)
        do throws(EndorsementError) {
            finding.voucher = try voucher(for: keys.identity, evidence.offer.certificate, trust)
        } catch {
            finding.doubt = error.why
        }
        return finding
    }

    /// What became of the evidence of a machine's post.
    public func finding(of post: InventoryPost, trust: TPMTrust) -> AttestationFinding {
        guard let evidence = post.evidence else { return .nothing }
        do throws(AttestationRefusal) {
            return .proven(try judge(evidence, bootID: post.bootID, trust: trust))
        } catch {
            return .failed(error.publicMessage)
        }
    }

    // MARK: The machine's keys

    private struct Keys {
        var endorsement: TPMPublic
        var identity: EndorsementKey
        var attestation: P256.Signing.PublicKey
        var attestationName: [UInt8]
    }

    private static func keys(of offer: AttestationOffer) throws(AttestationRefusal) -> Keys {
        guard offer.isBounded else { throw .badKey("too long") }
        let endorsement: TPMPublic
        let attestation: TPMPublic
        do throws(WireError) {
            endorsement = try TPMPublic(decoding: Array(offer.endorsementKey))
            attestation = try TPMPublic(decoding: Array(offer.attestationKey))
        } catch {
            throw .badKey(error.publicMessage)
        }
        // The TPM itself vouches for these attributes: it opens the credential for a key of this name only.
        guard EndorsementTemplate.allCases.contains(where: { $0.key.isSameKind(as: endorsement) }) else {
            throw .badKey("the endorsement key is by no template of the TCG's for elliptic curves")
        }
        guard attestation.isSameKind(as: .attestationTemplate) else {
            throw .badKey("the attestation key is not a restricted signing key")
        }
        guard let signer = try? P256.Signing.PublicKey(x963Representation: attestation.point) else {
            throw .badKey("the attestation key is not a point of its curve")
        }
        let name = [0x00, 0x0B] + Array(SHA256.hash(data: offer.attestationKey))
        do throws(EndorsementError) {
            return Keys(
                endorsement: endorsement, identity: try EndorsementKey(point: endorsement.point), attestation: signer,
                attestationName: name)
        } catch {
            throw .badKey(error.why)
        }
    }

    private func voucher(
        for key: EndorsementKey, _ certificate: Data?, _ trust: TPMTrust
    ) throws(EndorsementError) -> String {
        if trust.keys.contains(key.digest) { return "the site's list of endorsement keys" }
        guard let certificate else { throw EndorsementError.noCertificate }
        let endorsement = try EndorsementCertificate(der: Array(certificate))
        var last = EndorsementError.noAuthority
        for authority in trust.authorities {
            do throws(EndorsementError) {
                try authority.check(endorsement, key: key, at: clock.now)
                return authority.name
            } catch {
                last = error
            }
        }
        throw last
    }

    // MARK: The quote

    private static func measurements(
        _ evidence: AttestationEvidence, _ signer: P256.Signing.PublicKey, nonce: Data
    ) throws(AttestationRefusal) -> [Primitives.Digest] {
        let quote: TPMQuote
        let signature: [UInt8]
        do throws(WireError) {
            quote = try TPMQuote(decoding: Array(evidence.quote))
            signature = try TPMQuote.signature(decoding: Array(evidence.signature))
        } catch {
            throw .badQuote(error.publicMessage)
        }
        guard let signed = try? P256.Signing.ECDSASignature(rawRepresentation: signature),
            signer.isValidSignature(signed, for: evidence.quote)
        else { throw .badQuote("it is not signed by the attestation key") }
        guard quote.nonce == Array(nonce) else { throw .badQuote("it is not over the challenge's nonce") }
        guard evidence.pcrs.count == TPMQuote.pcrCount, evidence.pcrs.allSatisfy({ $0.count == 32 }) else {
            throw .badQuote("it has not eight PCRs of 32 bytes")
        }
        let digest = SHA256.hash(data: evidence.pcrs.reduce(Data(), +))
        guard Array(digest) == quote.pcrDigest else { throw .badQuote("the PCRs are not those that were signed") }
        return evidence.pcrs.map { Primitives.Digest(bytes: Array($0)) }
    }

    // MARK: Tickets

    private func seal(_ ticket: Ticket) throws(AttestationRefusal) -> Data {
        guard let plain = try? JSONEncoder().encode(ticket),
            let sealed = try? AES.GCM.seal(plain, using: key).combined
        else { throw .wrongTicket }
        return sealed
    }

    private func open(_ sealed: Data) throws(AttestationRefusal) -> Ticket {
        guard sealed.count <= AttestationOffer.sizeMax, let box = try? AES.GCM.SealedBox(combined: sealed),
            let plain = try? AES.GCM.open(box, using: key),
            let ticket = try? JSONDecoder().decode(Ticket.self, from: plain)
        else { throw .wrongTicket }
        return ticket
    }

    private static func digest(of offer: AttestationOffer) throws(AttestationRefusal) -> Primitives.Digest {
        let encoder = JSONEncoder()
        encoder.outputFormatting = .sortedKeys
        guard let bytes = try? encoder.encode(offer) else { throw .wrongTicket }
        return Primitives.Digest(bytes: Array(SHA256.hash(data: bytes)))
    }

    /// Whether both are equal, in a time that does not tell where they differ.
    private static func isEqual(_ left: Data, _ right: Data) -> Bool {
        let key = SymmetricKey(size: .bits256)
        return HMAC<SHA256>.isValidAuthenticationCode(
            HMAC<SHA256>.authenticationCode(for: left, using: key), authenticating: right, using: key)
    }
}

/// Why evidence proves nothing.
public enum AttestationRefusal: UserFacingError, Hashable {
    /// A key cannot be used.
    case badKey(String)
    /// The ticket is not one of this conductor's for this machine.
    case wrongTicket
    /// The challenge is too old.
    case tooLate
    /// The secret is not the challenge's: the machine does not hold the key that it shows.
    case wrongSecret
    /// The quote is not right.
    case badQuote(String)

    public var publicMessage: String {
        switch self {
        case .badKey(let why): "The TPM's keys cannot be used: \(why.printable(limit: 200))."
        case .wrongTicket: "The challenge is not one of this conductor's for this boot; ask for another."
        case .tooLate: "The challenge was answered too late; ask for another."
        case .wrongSecret: "The machine does not hold the endorsement key that it shows."
        case .badQuote(let why): "The quote is not right: \(why.printable(limit: 200))."
        }
    }
}
