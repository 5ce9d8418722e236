import Primitives

/// The TPMs of a rack's machines: swtpm, run by libvirt, with endorsement keys that a maker of the rack's own certifies.
///
/// libvirt would have the host's authority certify RSA keys only; it leaves state alone that is there already.
struct SoftwareTPMs: Hashable, Sendable {
    private let layout: RackLayout
    /// The UUIDs of the machines that have one.
    private let machines: [String]

    /// The TPMs of `rack`; nil when no machine has one.
    init?(_ rack: RackFile, _ layout: RackLayout) {
        machines = rack.machines.filter { $0.tpm == .present }.map(\.uuid)
        guard !machines.isEmpty else { return nil }
        self.layout = layout
    }

    /// What has to be there before machines are defined.
    var directories: [String] { [layout.tpmMaker] + machines.map(state) }

    /// The configuration of the maker.
    var files: [RackPlan.File] {
        let maker = layout.tpmMaker
        return [
            RackPlan.File(
                path: "\(maker)/setup.conf",
                text: """
                    create_certs_tool = /usr/bin/swtpm_localca
                    create_certs_tool_config = \(maker)/localca.conf
                    create_certs_tool_options = \(maker)/localca.options
                    active_pcr_banks = sha256

                    """),
            RackPlan.File(
                path: "\(maker)/localca.conf",
                text: """
                    statedir = \(maker)
                    signingkey = \(maker)/signkey.pem
                    issuercert = \(maker)/issuercert.pem
                    certserial = \(maker)/certserial

                    """),
            RackPlan.File(
                path: "\(maker)/localca.options",
                text: """
                    --platform-manufacturer Muster
                    --platform-version 1
                    --platform-model Rack

                    """),
        ]
    }

    /// libvirt writes the logs of TPMs to /var/log/swtpm, which the host has not: the rack gets a /var/log of its own.
    static let mounts = [
        ["mount", "-t", "tmpfs", "tmpfs", "/var/log"],
        ["mkdir", "-p", "/var/log/libvirt", "/var/log/swtpm"],
    ]

    /// The commands that make the TPMs with their certificates; they leave those alone that are there.
    var commands: [[String]] {
        machines.map { uuid in
            [
                "swtpm_setup", "--tpm2", "--tpmstate", state(uuid), "--ecc", "--create-ek-cert", "--lock-nvram",
                "--not-overwrite", "--config", "\(layout.tpmMaker)/setup.conf",
            ]
        }
    }

    /// Where libvirt looks for the state of a machine's TPM 2.0.
    private func state(_ uuid: String) -> String { "\(layout.libvirt)/lib/swtpm/\(uuid)/tpm2" }
}
