import ArgumentParser
import StoreEtcd

/// The cluster that several conductors keep the catalog in.
struct EtcdOptions: ParsableArguments {
    @Option(
        help: ArgumentHelp(
            "A member of the etcd cluster that several conductors keep the catalog in, such as https://10.0.0.1:2379; may be "
                + "given again, this machine's own first. Without it the catalog is a file in the state directory. All "
                + "conductors of a site need the same master.key.", valueName: "url"))
    var etcd: [String] = []

    @Option(
        name: .customLong("etcd-ca"),
        help: ArgumentHelp("The authorities that etcd's members are believed by, PEM.", valueName: "file"))
    var etcdCA: String?

    @Option(help: ArgumentHelp("A certificate for etcd, PEM.", valueName: "file"))
    var etcdCert: String?

    @Option(help: ArgumentHelp("The key of that certificate, PEM.", valueName: "file"))
    var etcdKey: String?

    func validate() throws {
        let certificates = [etcdCA, etcdCert, etcdKey].count { $0 != nil }
        guard certificates == 0 || certificates == 3 && !etcd.isEmpty else {
            throw ValidationError("--etcd-ca, --etcd-cert and --etcd-key go together, with --etcd.")
        }
    }

    /// nil: the catalog is in the state directory.
    var configuration: EtcdConfiguration? {
        guard !etcd.isEmpty else { return nil }
        guard let etcdCA, let etcdCert, let etcdKey else { return EtcdConfiguration(endpoints: etcd, tls: nil) }
        return EtcdConfiguration(
            endpoints: etcd, tls: EtcdTLS(authority: etcdCA, certificate: etcdCert, key: etcdKey))
    }
}
