import CatalogBareMetal
import FleetContract
import Primitives

extension SiteFile {
    /// What TPMs are trusted by: `{authorities: [{name: N, certificateFile: F}], keys: [DIGEST], requiredPCRs: [0, 7]}`.
    static func readTPM(
        _ fields: FieldReader
    ) -> (TPMPolicy, authorities: [SiteDocument.TPMAuthorityEntry], files: [String: String]) {
        var files: [String: String] = [:]
        let authorities = fields.list("authorities", countMax: SiteLimit.tpmAuthorityCount).compactMap { entry in
            FieldReader(entry.node, path: entry.path, reading: fields.reading).map { authority in
                let name = authority.requiredText("name")
                files[name] = authority.requiredText("certificateFile")
                authority.finish()
                return SiteDocument.TPMAuthorityEntry(name: name, certificate: nil)
            }
        }
        var policy = TPMPolicy()
        policy.keys = fields.texts("keys", countMax: TPMPolicy.keyCountMax).enumerated().compactMap { index, text in
            do throws(InvalidValue) { return try Digest(hex: text.lowercased()) } catch {
                fields.reading.report("\(fields.path(of: "keys"))[\(index)]", nil, error.publicMessage)
                return nil
            }
        }
        if fields.has("requiredPCRs") {
            policy.requiredPCRs = fields.texts("requiredPCRs", countMax: 8).enumerated().compactMap { index, text in
                if let number = Int(text), (0...7).contains(number) { return number }
                fields.reading.report(
                    "\(fields.path(of: "requiredPCRs"))[\(index)]", nil,
                    "'\(text.printable(limit: 20))' is not one of 0 to 7")
                return nil
            }
        }
        fields.finish()
        return (policy, authorities, files)
    }
}

extension SiteCheck {
    mutating func tpm(_ document: SiteDocument) {
        let authorities = document.tpmAuthorities ?? []
        count("tpm.authorities", authorities.count, SiteLimit.tpmAuthorityCount)
        names("tpm.authorities", authorities.map(\.name))
        for (index, entry) in authorities.enumerated() {
            guard let certificate = entry.certificate else { continue }
            let path = "tpm.authorities[\(index)].certificateFile"
            let begin = "-----BEGIN CERTIFICATE-----"
            let isOne = certificate.ranges(of: begin).count == 1
            if !isOne || certificate.utf8.count > SiteLimit.tpmCertificateSize {
                report(path, "it is not one certificate in PEM of at most \(SiteLimit.tpmCertificateSize) bytes")
            }
        }
        if let policy = document.site.tpm {
            count("tpm.keys", policy.keys.count, TPMPolicy.keyCountMax)
            for pcr in policy.requiredPCRs ?? [] where !(0...7).contains(pcr) {
                report("tpm.requiredPCRs", "\(pcr) is not one of 0 to 7")
            }
        }
    }
}
