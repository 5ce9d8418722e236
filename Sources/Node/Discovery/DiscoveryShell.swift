import AgentProtocol
import DiskImaging
import FoundationEssentials
import ImageChunks
import LinuxSystem
import NIOCore
import NodeTransport
import Primitives

/// Carries out what the session's steps ask for and brings back what came of it.
actor DiscoveryShell {
    private let parameters: DiscoveryParameters
    private let client: ConductorClient
    private let clock: any WallClock
    private let setClock: @Sendable (Timestamp) throws -> Void
    private let imager: Imager
    private let rescue: RescueDesk
    private let witness: TPMWitness
    private let log: DiscoveryLog
    private let bootID: String
    private let began = ContinuousClock.now

    private var session = DiscoverySession()
    private var random = SystemRandomNumberGenerator()
    private var security: TransportSecurity?
    private var lanes: (orders: ProvisioningConnection, posts: ProvisioningConnection)?
    private var clockSkew: Duration?
    private var wanted: [DiscoveryEffect] = []
    private var wake: AsyncStream<Void>.Continuation?

    init(_ program: DiscoveryProgram) throws(InvalidValue) {
        parameters = program.parameters
        client = try ConductorClient(program.parameters, limits: program.limits)
        clock = program.clock
        setClock = program.setClock
        imager = program.imager
        rescue = RescueDesk(places: program.rescuePlaces)
        bootID = program.bootID
        witness = program.witness
        log = DiscoveryLog(clock: program.clock)
    }

    /// Runs until its task is cancelled.
    func run() async {
        let (signals, continuation) = AsyncStream.makeStream(of: Void.self, bufferingPolicy: .bufferingNewest(1))
        wake = continuation
        handle(.started)
        await withDiscardingTaskGroup { group in
            group.addTask { await self.tickUntilCancelled() }
            for await _ in signals {
                let effects = takeWanted()
                for effect in effects { group.addTask { await self.perform(effect) } }
            }
            group.cancelAll()
        }
    }

    private func takeWanted() -> [DiscoveryEffect] {
        defer { wanted = [] }
        return wanted
    }

    private func handle(_ event: DiscoveryEvent) {
        let effects = session.step(event, at: ContinuousClock.now - began, random: &random)
        for effect in effects {
            switch effect {
            case .log(let level, let text): log.write(level, text)
            default: wanted.append(effect)
            }
        }
        if !wanted.isEmpty { wake?.yield() }
    }

    /// Steps are cheap and timers few: a look every 100 ms needs no timer that must be moved.
    private func tickUntilCancelled() async {
        while !Task.isCancelled {
            try? await Task.sleep(for: .milliseconds(100))
            let now = ContinuousClock.now - began
            if let due = session.nextTick, now >= due { handle(.tick) }
        }
        wake?.finish()
    }

    private func perform(_ effect: DiscoveryEffect) async {
        switch effect {
        case .fetchAuthority: await fetchAuthority()
        case .register: await register()
        case .poll(let token, let after): await poll(token, after)
        case .post(let token, let report): await post(token, report)
        case .postLogs(let token): await postLogs(token)
        case .prepare(let token, let number, let order): await prepare(token, number, order)
        case .stream(let number, let order): await stream(number, order)
        case .finish(let number, let order): await finish(number, order)
        case .clean(let number, let order): await clean(number, order)
        case .openRescue(let number, let order): await openRescue(number, order)
        case .closeRescue(let number):
            await rescue.close()
            handle(.rescueClosed(order: number))
        case .abandon(let number):
            imager.withdraw(order: number)
            await imager.abandon(order: number)
        case .log: break
        }
    }

    // MARK: The conductor

    private func fetchAuthority() async {
        do throws(RequestFailure) {
            let (authority, time) = try await client.authority(fingerprint: parameters.authority)
            compareClock(time)
            security = try self.security(authority)
            if let orders = connection(), let posts = connection() { lanes = (orders, posts) }
            handle(.authorityTrusted)
        } catch {
            handle(.authorityFailed(error))
        }
    }

    private func connection() -> ProvisioningConnection? {
        security.map { ProvisioningConnection(client.provisioning, security: $0, limits: client.limits) }
    }

    private func security(_ authority: Authority) throws(RequestFailure) -> TransportSecurity {
        do throws(CredentialsError) {
            return try TransportSecurity.tls(trustRootsPEM: authority.pem)
        } catch {
            throw RequestFailure(message: "\(error)")
        }
    }

    /// Sets the clock to the conductor's when it is more than 5 s away from it: a certificate is only valid in its time.
    private func compareClock(_ answered: Timestamp?) {
        guard clockSkew == nil, let time = answered ?? parameters.bootTime?.advanced(by: Self.uptime) else { return }
        let skew = clock.now.since(time)
        clockSkew = skew
        guard skew.milliseconds.magnitude > 5000 else { return }
        do {
            try setClock(time)
            log.write("warning", "the clock was \(skew.milliseconds / 1000) s off and has been set")
        } catch {
            log.write("warning", "the clock is \(skew.milliseconds / 1000) s off and could not be set: \(error)")
        }
    }

    /// The time since the kernel was started.
    private static var uptime: Duration {
        let words = SystemFile.text("/proc/uptime", limit: 64)?.split(separator: " ").first
        return .seconds(words.flatMap { Double($0) } ?? 0)
    }

    private func register() async {
        guard let connection = connection() else { return }
        var report = await imager.inventory(now: clock.now)
        report = report.seen(skew: clockSkew)
        log.write("info", "found \(report.disks.count) disks and \(report.nics.count) interfaces")
        do throws(RequestFailure) {
            let post = InventoryPost(bootID: bootID, inventory: report, evidence: await evidence(over: connection))
            let reply = try await connection.ask(InventoryReply.self, DiscoveryPath.inventory, body: post)
            handle(.registered(reply))
        } catch {
            handle(.registrationFailed(error))
        }
    }

    /// What the TPM proves to the conductor; a TPM that does not work keeps nobody from being registered.
    private func evidence(over connection: ProvisioningConnection) async -> AttestationEvidence? {
        do {
            guard let offer = try await imager.offer(by: witness, bootID: bootID) else { return nil }
            let challenge = try await connection.ask(
                AttestationChallenge.self, DiscoveryPath.attestation, body: offer)
            let evidence = try await imager.answer(challenge, to: offer, by: witness)
            if evidence != nil { log.write("info", "the TPM has signed how this machine booted") }
            return evidence
        } catch {
            let why =
                (error as? RequestFailure)?.message ?? (error as? any UserFacingError)?.publicMessage ?? "\(error)"
            log.write("warning", "the TPM proves nothing: \(why.printable(limit: 300))")
            return nil
        }
    }

    private func poll(_ token: String, _ after: UInt64?) async {
        guard let lanes else { return }
        let query = after.map { "?after=\($0)&wait=25" } ?? ""
        do throws(RequestFailure) {
            let order = try await lanes.orders.ask(
                DiscoveryOrder.self, DiscoveryPath.orders + query, session: token)
            handle(.ordered(order))
        } catch {
            handle(.orderFailed(error))
        }
    }

    private func post(_ token: String, _ report: DiscoveryProgress) async {
        guard let lanes else { return }
        do throws(RequestFailure) {
            _ = try await lanes.posts.send(DiscoveryPath.progress, session: token, body: report)
            handle(.posted)
        } catch {
            handle(.postFailed(error))
        }
    }

    /// Lines that do not arrive are sent again with the next batch; that is not worth a line of its own.
    private func postLogs(_ token: String) async {
        if let lanes, let batch = log.batch() {
            do throws(RequestFailure) {
                _ = try await lanes.posts.send(DiscoveryPath.logs, session: token, body: batch)
                log.drop(batch)
            } catch {
                if error.isRefusal { log.drop(batch) }
            }
        }
        handle(.logsPosted)
    }

    // MARK: The deployment

    private func prepare(_ token: String, _ number: UInt64, _ order: DeployOrder) async {
        guard let connection = connection() else { return }
        do {
            let disk = try await imager.choose(order: number, hint: order.rootDisk, now: clock.now)
            let bytes = try await connection.send(
                "\(DiscoveryPath.manifests)/\(order.manifest)", session: token, limit: ChunkManifest.encodedLengthMax)
            let manifest = try ChunkManifest(decoding: Array(bytes.readableBytesView), named: order.manifest)
            try await imager.open(order: number, manifest: manifest)
            handle(.prepared(order: number, disk: disk.path, chunks: manifest.chunks.count))
        } catch {
            handle(await outcome(of: error, number))
        }
    }

    private func stream(_ number: UInt64, _ order: DeployOrder) async {
        do {
            guard let first = try await imager.resume(order: number) else { return handle(.complete(order: number)) }
            let (connection, body) = try await client.chunks(order.manifest, from: first)
            do {
                for try await piece in body {
                    let (done, isComplete) = try await imager.feed(order: number, piece)
                    handle(.wrote(order: number, done: done, bytes: UInt64(piece.readableBytes)))
                    if isComplete { break }
                }
            } catch {
                await connection.close()
                throw error
            }
            await connection.close()
            guard try await imager.resume(order: number) == nil else {
                throw RequestFailure(message: "the chunk stream ended too early")
            }
            handle(.complete(order: number))
        } catch {
            handle(await outcome(of: error, number))
        }
    }

    private func finish(_ number: UInt64, _ order: DeployOrder) async {
        do {
            try await imager.finish(order: number, files: order.stateFiles)
            handle(.finished(order: number))
        } catch {
            handle(await outcome(of: error, number))
        }
    }

    /// Has the disks of `order` emptied; the newest progress is passed on, what came between is dropped.
    private func clean(_ number: UInt64, _ order: CleanOrder) async {
        let (stages, feed) = AsyncStream.makeStream(
            of: DiscoveryProgress.Stage.self, bufferingPolicy: .bufferingNewest(1))
        async let outcome: Result<[CleanedDisk], any Error> = {
            defer { feed.finish() }
            do {
                return .success(try await imager.clean(order: number, order, now: clock.now) { feed.yield($0) })
            } catch {
                return .failure(error)
            }
        }()
        for await stage in stages { handle(.cleaning(order: number, stage)) }
        switch await outcome {
        case .success(let disks):
            handle(.cleaned(order: number, disks))
        case .failure(let error):
            guard !(error is CancellationError) else { return }
            let message = (error as? any UserFacingError)?.publicMessage ?? "\(error)".printable(limit: 300)
            handle(.failed(order: number, message: message, isRetryable: true))
        }
    }

    /// Lets an operator in and tells of the login until the rescue is closed or another is opened.
    private func openRescue(_ number: UInt64, _ order: RescueOrder) async {
        do throws(RescueError) {
            let access = try await rescue.open(order)
            handle(.rescueOpened(order: number, access))
            while true {
                switch try await rescue.look() {
                case .nothing: break
                case .login(let from): handle(.rescueLogin(order: number, from: from))
                case .closed: return
                }
                do { try await Task.sleep(for: .milliseconds(100)) } catch { return }
                guard session.rescue == number else { return }
            }
        } catch {
            handle(.failed(order: number, message: error.publicMessage, isRetryable: true))
        }
    }

    /// What an error means for the order: an interruption that may pass, or its end.
    private func outcome(of error: any Error, _ number: UInt64) async -> DiscoveryEvent {
        let isHopeless = await imager.isHopeless
        switch error {
        case let error as RequestFailure where !error.isRefusal:
            return .interrupted(order: number, error)
        case let error as RequestFailure:
            return .failed(order: number, message: error.message, isRetryable: true)
        case let error as ChunkError:
            return failed(DiskError.chunk(error), number, isHopeless)
        case let error as DiskError:
            return failed(error, number, isHopeless)
        case let error as RootDiskError:
            return .failed(order: number, message: error.publicMessage, isRetryable: false)
        case let error as TransportError:
            return .interrupted(order: number, RequestFailure(error))
        default:
            return .interrupted(order: number, RequestFailure(message: "\(error)"))
        }
    }

    private func failed(_ error: DiskError, _ number: UInt64, _ isHopeless: Bool) -> DiscoveryEvent {
        if error.isRetryable, !isHopeless {
            return .interrupted(order: number, RequestFailure(message: error.publicMessage))
        }
        return .failed(order: number, message: error.publicMessage, isRetryable: error.isRetryable)
    }
}

extension InventoryReport {
    /// This report with what was found of the clock.
    func seen(skew: Duration?) -> InventoryReport {
        var report = self
        report.clockSkewMilliseconds = skew?.milliseconds
        return report
    }
}
