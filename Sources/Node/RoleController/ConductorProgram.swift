import AgentProtocol
import Glibc
import LinuxSystem
import Primitives

/// This node's conductor. It reads its options when it starts, so a change starts it anew; the others serve meanwhile. Never
/// when only the list of the store's members has changed, which it follows by itself: its next start reads the newest.
struct ConductorProgram: ControllerProgram {
    let title = "the conductor"
    let conditionType = "ConductorReady"
    var service: AdoptedService
    let directory: String
    let places: ServicePlaces

    init(places: ServicePlaces) {
        self.places = places
        directory = "\(places.directory)/conductor"
        service = AdoptedService(
            title: title, program: "/usr/lib/muster/conductor", arguments: [], sign: "--state-dir=\(directory)",
            runtime: "\(places.runtime)/conductor", unit: places.unit("conductor"), patience: .seconds(10))
    }

    /// The options, one a line; a unit gives them to the conductor as they are.
    var optionsPath: String { "\(directory)/options" }

    /// The site's master key, which the conductor opens the vault with.
    var masterKeyPath: String { "\(directory)/master.key" }

    var runningMark: String? { service.startedMark }

    func configuration(for item: ConductorItem) throws(SystemError) -> ServiceConfiguration {
        let files = try item.certificate.map { (reference) throws(SystemError) in try places.files(of: reference) }
        guard SystemFile.modificationTime(masterKeyPath) != nil else {
            throw SystemError(
                "start the conductor", errno: 0,
                detail: "\(masterKeyPath) is missing; it comes with the handing over of a control plane's secrets")
        }
        return Self.options(for: item, directory: directory, files: files)
    }

    /// The command line, a word a line, and the mark of all of it but the store's members; pure.
    static func options(
        for item: ConductorItem, directory: String, files: ServicePlaces.CertificateFiles?
    ) -> ServiceConfiguration {
        var words = [
            // A further name may be the shared address, at which the others are reached as well.
            "--state-dir=\(directory)", "--conductor-name=\(item.name)", "--advertise=\(item.address)",
            "--api-host=\(item.address)",
            "--api-port=\(item.ports.api)", "--boot-port=\(item.ports.boot)",
            "--provisioning-port=\(item.ports.provisioning)", "--agent-port=\(item.ports.agents)",
        ]
        let members = item.store.map { "--etcd=\(files == nil ? "http" : "https")://\($0)" }
        words += members
        if let files {
            words += ["--etcd-ca=\(files.authority)", "--etcd-cert=\(files.certificate)", "--etcd-key=\(files.key)"]
        }
        words += item.names.map { "--name=\($0)" }
        if let endpoint = item.endpoint { words.append("--endpoint=\(endpoint)") }
        let text = words.joined(separator: "\n") + "\n"
        let essence = words.filter { !members.contains($0) }.joined(separator: "\n")
        return ServiceConfiguration(text: text, mark: ServiceConfiguration.mark(of: essence))
    }

    private func words(_ configuration: ServiceConfiguration) -> [String] {
        configuration.text.split(separator: "\n").map(String.init)
    }

    func keep(_ configuration: ServiceConfiguration) throws(SystemError) {
        // A unit reads both from here, also when systemd starts the conductor without the agent.
        let options = words(configuration).joined(separator: " ")
        let unit = Array("\(AdoptedService.markVariable)=\(configuration.mark)\nMUSTER_OPTIONS=\(options)\n".utf8)
        guard SystemFile.bytes(optionsPath, limit: 1 << 20) != unit else { return }
        try SystemFile.replace(optionsPath, content: unit, mode: 0o600)
    }

    func use(_ configuration: ServiceConfiguration) throws(SystemError) {
        try service.makeFolders([directory])
        try keep(configuration)
        if service.unit == nil { try service.stop() }
        var marked = service.marked(configuration.mark)
        marked.arguments = words(configuration)
        try marked.startAndWatch()
    }

    func stop() throws(SystemError) {
        try service.stop()
        unlink(optionsPath)
    }

    func look(at item: ConductorItem) -> ServiceSight {
        let isServing = LocalQuestion.isListening(item.address, port: item.ports.api)
        var sight = ServiceSight(fine: "The conductor \(item.name) runs.")
        sight.conditions = [
            (
                "ConductorServing",
                isServing
                    ? nil
                    : "The conductor takes no connections at \(item.address):\(item.ports.api): "
                        + service.lastWords + ".", "The conductor takes connections."
            )
        ]
        sight.needed = ["ConductorServing"]
        sight.facts.controller = ControllerFacts(conductor: .init(isServing: isServing))
        return sight
    }

    func samples(of item: ConductorItem) -> [MetricsReport.Sample] {
        Self.samples(isRunning: service.process != nil)
    }

    static func samples(isRunning: Bool) -> [MetricsReport.Sample] {
        [MetricsReport.Sample(name: "muster_controller_conductor_up", value: isRunning ? 1 : 0)]
    }
}
