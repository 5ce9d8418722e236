import Crypto
import NodeTransport
import Primitives
import SwiftASN1
import X509

extension KnownAuthority {
    /// The certificate authorities of a PEM text, in its order.
    ///
    /// Throws `CertificateMismatch` when there is none, or one of them is no authority's certificate.
    static func read(_ pem: String) throws(CertificateMismatch) -> [KnownAuthority] {
        let documents: [PEMDocument]
        do { documents = try PEMDocument.parseMultiple(pemString: pem) } catch {
            throw CertificateMismatch(reason: "\(error)")
        }
        guard !documents.isEmpty else { throw CertificateMismatch(reason: "there is no authority in it") }
        var authorities: [KnownAuthority] = []
        for document in documents { authorities.append(try KnownAuthority(document)) }
        return authorities
    }

    private init(_ document: PEMDocument) throws(CertificateMismatch) {
        do {
            let certificate = try Certificate(pemDocument: document)
            guard case .isCertificateAuthority? = try certificate.extensions.basicConstraints else {
                throw CertificateMismatch(reason: "it is not an authority's")
            }
            fingerprint = Primitives.Digest(bytes: Array(SHA256.hash(data: document.derBytes)))
            key = (try certificate.extensions.subjectKeyIdentifier).map { Hex.encode(Array($0.keyIdentifier)) }
            pem = document.pemString + "\n"
        } catch let error as CertificateMismatch {
            throw error
        } catch {
            throw CertificateMismatch(reason: "\(error)")
        }
    }
}
